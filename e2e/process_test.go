package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// process is one that belongs to the world.
type process struct {
	pid, parent int
	command     string
	environment string
}

// processes are all that belong to the world: its holder and what descends
// from it, its engine, and whatever carries its folder's name.
func (w *world) processes() []process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	ours := map[int]bool{}
	for pid, p := range all {
		if strings.Contains(p.command, w.dir) || strings.Contains(p.environment, w.dir) {
			ours[pid] = true
		}
	}
	for more := true; more; {
		more = false
		for pid, p := range all {
			if !ours[pid] && ours[p.parent] {
				ours[pid], more = true, true
			}
		}
	}
	var out []process
	for pid := range ours {
		out = append(out, all[pid])
	}
	slices.SortFunc(out, func(a, b process) int { return a.pid - b.pid })
	return out
}

func readProcess(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" {
		return process{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
	return process{pid: pid, parent: parent, command: strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")),
		environment: string(environ)}, true
}

// find returns those that are so. A child that has not become another program
// yet still bears its parent's words and is not counted.
func (w *world) find(what string, is func(process) bool) []process {
	var out []process
	bears := map[int]bool{}
	for _, p := range w.processes() {
		if is(p) {
			out = append(out, p)
			bears[p.pid] = true
		}
	}
	out = slices.DeleteFunc(out, func(p process) bool { return bears[p.parent] })
	if len(out) > 1 && what != "" {
		w.Errorf("%s runs %d times: %v", what, len(out), out)
	}
	return out
}

func (p process) holds() bool  { return strings.Contains(p.command, "archetype holder ") }
func (p process) serves() bool { return strings.HasSuffix(p.command, " engine --serve") }

func (w *world) holder() int {
	return pidOf(w.find("the holder", process.holds))
}

func (w *world) engine() int {
	return pidOf(w.find("the engine", process.serves))
}

func pidOf(ps []process) int {
	if len(ps) == 0 {
		return 0
	}
	return ps[0].pid
}

// inits are the first processes of a lab's nodes, by node.
func (w *world) inits(lab string) map[string][]int {
	out := map[string][]int{}
	for _, p := range w.find("", func(p process) bool { return strings.HasPrefix(p.command, "archetype init "+lab+"/") }) {
		_, node, _ := strings.Cut(p.command, "/")
		out[node] = append(out[node], p.pid)
	}
	return out
}

func (w *world) kill(pid int) {
	w.Helper()
	if pid == 0 {
		w.Fatal("the process to kill does not run")
	}
	w.strike(pid)
	w.await("the killed process to end", func() bool { return !w.has(pid) })
}

// strike kills a process of this world.
func (w *world) strike(pid int) { w.signal(pid, syscall.SIGKILL) }

// signal sends a signal to a process of this world, and to none that has got
// its number since: the handle is to the very process that is looked at.
func (w *world) signal(pid int, s syscall.Signal) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if w.has(pid) {
		_ = p.Signal(s)
	}
}

func (w *world) has(pid int) bool {
	return slices.ContainsFunc(w.processes(), func(p process) bool { return p.pid == pid })
}
