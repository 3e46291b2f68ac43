package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// idleTime is how long nothing is done while CPU time is counted.
const idleTime = 10 * time.Second

// running measures the program over a lab that runs as a whole: what the
// screen takes to appear and to answer, and what is used while nothing happens.
func (b *bench) running() error {
	if _, err := b.timed("deploy", b.file()); err != nil {
		return err
	}
	cold, err := b.bare()
	if err != nil {
		return err
	}
	s, first, err := b.openScreen(b.file(), b.lab())
	if err != nil {
		return err
	}
	defer s.close()
	b.row(fmt.Sprintf("start to first frame with all %d nodes", b.nodes), ms(first), ms(cold)+" --version", ratio(first, cold), "")
	s.quiet(500 * time.Millisecond)
	if err := b.keys(s); err != nil {
		return err
	}
	if err := b.change(s); err != nil {
		return err
	}
	return b.idle(s)
}

// bare is the least a start of the program can take.
func (b *bench) bare() (best time.Duration, err error) {
	for range 5 {
		took, err := b.timed("--version")
		if err != nil {
			return 0, err
		}
		if best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// keys moves the selection and waits for the first byte of the answer.
func (b *bench) keys(s *screen) error {
	if _, err := s.answer("2"); err != nil { // to the list of nodes
		return err
	}
	var all []time.Duration
	for i := range 40 {
		took, err := s.answer(string("jk"[i/20]))
		if err != nil {
			return err
		}
		all = append(all, took)
	}
	b.row(fmt.Sprintf("key to first byte of the frame, %d nodes, typical", b.nodes), ms(median(all)), "16.7 ms a frame at 60 Hz",
		ratio(median(all), time.Second/60), goal("at most 1", median(all) <= time.Second/60))
	return nil
}

// change counts what the screen writes when one node stops and starts.
func (b *bench) change(s *screen) error {
	s.quiet(500 * time.Millisecond)
	before := s.bytes()
	if _, err := b.timed("restart", b.lab(), "n2"); err != nil {
		return err
	}
	s.quiet(time.Second)
	wrote := s.bytes() - before
	b.row("bytes written for one node's restart", fmt.Sprint(wrote), fmt.Sprintf("%d a whole screen", s.cells()),
		fmt.Sprintf("%.2f", float64(wrote)/float64(s.cells())), "")
	return nil
}

// idle counts CPU time and memory while nobody does anything.
func (b *bench) idle(s *screen) error {
	// Young nodes' ages are shown to the second: wait until none is young.
	select {
	case <-time.After(61 * time.Second):
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	family, err := b.family(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	before, wrote := family.cpu(), s.bytes()
	time.Sleep(idleTime)
	after := family.cpu()
	var total time.Duration
	for _, what := range []string{"workbench", "engine", "holder", "nodes"} {
		used := after[what] - before[what]
		total += used
		b.row(fmt.Sprintf("CPU in %s of nothing, %s", idleTime, what), ms(used), ms(idleTime), fmt.Sprintf("%.4f", float64(used)/float64(idleTime)), "")
	}
	b.row(fmt.Sprintf("CPU in %s of nothing, all", idleTime), ms(total), ms(idleTime), fmt.Sprintf("%.4f", float64(total)/float64(idleTime)),
		goal("none", total <= 10*time.Millisecond)) // one tick of the kernel's count
	b.row("bytes written to the screen meanwhile", fmt.Sprint(s.bytes()-wrote), "", "", goal("none", s.bytes() == wrote))
	var sum float64
	for _, what := range []string{"workbench", "engine", "holder", "nodes"} {
		pss, err := family.memory(what)
		if err != nil {
			return err
		}
		if what != "nodes" {
			sum += pss
		} else {
			b.row("memory of the program: workbench, engine and holder", fmt.Sprintf("%.1f MiB", sum), "", "", "")
			b.row(fmt.Sprintf("memory of a node's first process, of %d", len(family["nodes"])),
				fmt.Sprintf("%.0f KiB", pss*1024/float64(max(1, len(family["nodes"])))), "", "", "")
			continue
		}
		b.row("memory at work, "+what, fmt.Sprintf("%.1f MiB", pss), "", "", "")
	}
	return nil
}

// family are the processes by what they are.
type family map[string][]int

func (b *bench) family(workbench int) (family, error) {
	f := family{"workbench": {workbench}}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	holder := 0
	kinds := map[int]string{}
	for _, p := range procs {
		var pid int
		line, err := os.ReadFile(p)
		if _, serr := fmt.Sscanf(p, "/proc/%d/", &pid); serr != nil || err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		if len(args) < 3 {
			continue
		}
		kinds[pid] = args[1]
		if args[1] == "holder" && strings.HasPrefix(args[2], b.home()) {
			holder = pid
		}
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		var ppid int
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		_, _ = fmt.Sscan(rest, &state, &ppid)
		parents[pid] = ppid
	}
	if holder == 0 {
		return nil, fmt.Errorf("the holder of %s is not found", b.home())
	}
	f["holder"] = []int{holder}
	for pid, parent := range parents {
		switch {
		case parent != holder:
		case kinds[pid] == "engine":
			f["engine"] = append(f["engine"], pid)
		default:
			f["nodes"] = append(f["nodes"], pid)
		}
	}
	return f, nil
}

// cpu is the time each has used, from the scheduler's own count.
func (f family) cpu() map[string]time.Duration {
	out := map[string]time.Duration{}
	for what, pids := range f {
		for _, pid := range pids {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
			for _, t := range threads {
				var ns int64
				if text, err := os.ReadFile(t); err == nil {
					_, _ = fmt.Sscan(string(text), &ns)
					out[what] += time.Duration(ns)
				}
			}
		}
	}
	return out
}

// memory is the proportional share, in MiB.
func (f family) memory(what string) (float64, error) {
	var kib float64
	for _, pid := range f[what] {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for _, line := range strings.Split(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				var n float64
				_, _ = fmt.Sscan(rest, &n)
				kib += n
			}
		}
	}
	return kib / 1024, nil
}

// frames runs the benchmarks of the screen's own package.
func (b *bench) frames() error {
	out, err := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "KeyToFrame|StateToFrame", "-benchmem", "./ui").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		var name string
		var times int
		var ns, bytes, allocs float64
		if _, err := fmt.Sscanf(line, "%s %d %f ns/op %f B/op %f allocs/op", &name, &times, &ns, &bytes, &allocs); err != nil {
			continue
		}
		took := time.Duration(ns)
		name = strings.TrimPrefix(name, "Benchmark")
		b.row(fmt.Sprintf("%s, drawn in memory (%.0f allocations)", name, allocs), ms(took), "16.7 ms a frame at 60 Hz",
			ratio(took, time.Second/60), goal("at most 1", took <= time.Second/60))
	}
	return nil
}
