package nodeinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/stub"
	"archetype/internal/reap"
	"archetype/internal/unixsock"
)

// node is the running init.
type node struct {
	cfg    *Config
	reaper *reap.Reaper
	built  chan struct{} // closed once the node looks as it should
	ending chan struct{} // closed when it is to end
}

// say prints a line of the boot log. The texts are relied on by the kinds'
// data files.
func say(format string, a ...any) { fmt.Printf("archetype-init: "+format+"\n", a...) }

// Main is the program of a node's first process; it returns its exit code.
func Main() int {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this is the init of a node: it is started by the holder")
		return 2
	}
	data, err := readAll(configFD)
	var cfg Config
	if err == nil {
		err = json.Unmarshal(data, &cfg)
	}
	if err != nil {
		say("cannot read the configuration: %v", err)
		return 1
	}
	control, err := unixsock.Conn(os.NewFile(controlFD, "control"))
	if err != nil {
		say("cannot serve: %v", err)
		return 1
	}
	_ = unix.Close(signalsFD)
	_ = unix.Close(programFD)
	_ = unix.Close(machineFD)
	n := &node{cfg: &cfg, reaper: reap.New(), built: make(chan struct{}), ending: make(chan struct{})}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM, unix.SIGINT)
	// Caught and not ignored: what is ignored stays so in all that is started.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGPIPE)
	go n.serve(control)
	booted := make(chan error, 1)
	go func() { booted <- n.boot() }()
	for {
		select {
		case err := <-booted:
			if err != nil {
				say("failed: %v", err)
				return 1
			}
		case <-term:
			n.end()
			return 0
		}
	}
}

func readAll(fd uintptr) ([]byte, error) {
	f := os.NewFile(fd, "config")
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, st.Size())
	_, err = f.ReadAt(data, 0)
	return data, err
}

func (n *node) boot() error {
	if !n.cfg.Built {
		if err := (&view{cfg: n.cfg}).build(); err != nil {
			return err
		}
	}
	if !n.cfg.Stepped {
		if err := stub.Run(steps(n.cfg)); err != nil {
			return err
		}
	}
	if n.cfg.Booted {
		close(n.built)
		return nil
	}
	n.sysctls()
	say("namespaces ready")
	if err := n.interfaces(); err != nil {
		return err
	}
	close(n.built)
	for _, p := range n.cfg.Processes {
		if err := n.process(p); err != nil {
			return err
		}
	}
	n.execs()
	say("ready")
	return nil
}

func (n *node) sysctls() {
	for key, value := range n.cfg.Sysctls {
		file := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			say("sysctl %s=%s: %v", key, value, errors.Unwrap(err))
		}
	}
}

// interfaces waits until the node has all its interfaces and, when it is a
// switch, makes them its ports.
func (n *node) interfaces() error {
	want := map[string]bool{}
	for _, name := range n.cfg.Interfaces {
		want[name] = true
	}
	var br *netlink.Bridge
	if n.cfg.Bridge != "" {
		br = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: n.cfg.Bridge}}
		off := false
		br.MulticastSnooping = &off
		// One that ended as it booted may have left it.
		if err := netlink.LinkAdd(br); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("bridge %s: %w", n.cfg.Bridge, err)
		}
		if err := netlink.LinkSetUp(br); err != nil {
			return fmt.Errorf("bridge %s: %w", n.cfg.Bridge, err)
		}
	}
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true}); err != nil {
		return err
	}
	have := map[string]bool{}
	if len(want) == 0 {
		say("interfaces 0/0")
	}
	take := func(u netlink.LinkUpdate) {
		name := u.Attrs().Name
		if u.Header.Type == unix.RTM_DELLINK {
			return
		}
		if br != nil && u.Type() != "bridge" && u.Attrs().Flags&net.FlagLoopback == 0 && u.Attrs().MasterIndex == 0 {
			if err := netlink.LinkSetMaster(u.Link, br); err != nil {
				say("port %s: %v", name, err)
			}
		}
		if want[name] && !have[name] {
			have[name] = true
			say("interfaces %d/%d", len(have), len(want))
		}
	}
	for len(have) < len(want) {
		select {
		case u := <-updates:
			take(u)
		case <-n.ending:
			close(done)
			return nil
		}
	}
	if br == nil {
		close(done)
		return nil
	}
	go func() { // ports may come later
		for u := range updates {
			take(u)
		}
	}()
	return nil
}

func (n *node) environment() []string {
	env := []string{"PATH=" + nodePath, "HOME=/root", "TERM=xterm-256color", "HOSTNAME=" + n.cfg.Hostname, "USER=root",
		"LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8", `PS1=` + n.cfg.Hostname + `:\w# `}
	return append(env, n.cfg.Env...)
}

// process starts one program and waits until it serves.
func (n *node) process(p Process) error {
	pid, end, err := n.spawn(p)
	if err != nil {
		return fmt.Errorf("process %s: %w", p.Name, err)
	}
	if p.Ready != "" {
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for n.missing(p.Ready) {
			select {
			case <-t.C:
			case ws := <-end:
				return fmt.Errorf("process %s %s before it served", p.Name, reap.Ended(ws))
			case <-n.ending:
				return nil
			}
		}
	}
	say("process %s started", p.Name)
	go n.keep(p, pid, end)
	return nil
}

func (n *node) missing(file string) bool {
	_, err := os.Stat(file)
	return err != nil
}

func (n *node) spawn(p Process) (int, <-chan unix.WaitStatus, error) {
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = null.Close() }()
	return n.start(p.Command, n.environment(), "/", []*os.File{null, os.Stdout, os.Stderr}, &syscall.SysProcAttr{Setsid: true})
}

// keep watches over a program and starts it again where its kind says so,
// later each time.
func (n *node) keep(p Process, _ int, end <-chan unix.WaitStatus) {
	wait := 100 * time.Millisecond
	for {
		began := time.Now()
		ws := <-end
		select {
		case <-n.ending:
			return
		default:
		}
		say("process %s %s", p.Name, reap.Ended(ws))
		for {
			if !p.Restart {
				return
			}
			if time.Since(began) > time.Minute {
				wait = 100 * time.Millisecond
			}
			time.Sleep(wait)
			wait = min(2*wait, 10*time.Second)
			var err error
			if _, end, err = n.spawn(p); err == nil {
				say("process %s started again", p.Name)
				break
			}
			say("process %s: %v", p.Name, err)
		}
	}
}

// execs runs the topology's commands. One that fails does not stop the boot:
// it is said, and the node is as the user has made it.
func (n *node) execs() {
	for i, c := range n.cfg.Exec {
		say("exec %d/%d: %s", i+1, len(n.cfg.Exec), c)
		var out tail
		code, err := n.command([]string{"/bin/sh", "-c", c}, &out)
		switch {
		case err != nil:
			fmt.Println(execFailed + onOneLine(strings.TrimSpace(c)+": "+err.Error()))
		case code != 0:
			fmt.Println(execFailed + onOneLine(fmt.Sprintf("%s: exit code %d: %s", strings.TrimSpace(c), code, out.String())))
		case out.Len() > 0:
			fmt.Println(strings.TrimRight(out.String(), "\n"))
		}
	}
}

// execFailed begins what is said of a command that failed.
const execFailed = "archetype-init: exec failed: "

// FailedCommand is what a line of a node's log says of a command that failed.
func FailedCommand(line string) (string, bool) { return strings.CutPrefix(line, execFailed) }

// onOneLine shortens what a command is and said to what fits on a line.
func onOneLine(text string) string {
	const most = 400
	if len(text) > 4*most {
		text = text[:4*most]
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// tail keeps the first part of an output.
type tail struct{ strings.Builder }

func (t *tail) Write(p []byte) (int, error) {
	if room := 1<<16 - t.Len(); room > 0 {
		t.Builder.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (n *node) command(argv []string, out *tail) (int, error) {
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	_, end, err := n.start(argv, n.environment(), "/", []*os.File{null, w, w}, &syscall.SysProcAttr{Setsid: true})
	_ = w.Close()
	if err != nil {
		return 0, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 4096)
		for {
			k, err := r.Read(buf)
			_, _ = out.Write(buf[:k])
			if err != nil {
				return
			}
		}
	}()
	ws := <-end
	select { // a process it left in the background may hold the pipe
	case <-copied:
	case <-time.After(200 * time.Millisecond):
		_ = r.Close()
		<-copied
	}
	return reap.ExitCode(ws), nil
}

// end asks all processes to end; the kernel ends those that do not when the
// init does. The holder's grace bounds how long this may take.
func (n *node) end() {
	close(n.ending)
	say("stopping")
	_ = unix.Kill(-1, unix.SIGTERM)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		n.reaper.Reap()
		if alone() {
			return
		}
	}
}

// alone reports whether the init is the only process of the node.
func alone() bool {
	f, err := os.Open("/proc")
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		if name != "1" && name[0] >= '0' && name[0] <= '9' {
			return false
		}
	}
	return true
}
