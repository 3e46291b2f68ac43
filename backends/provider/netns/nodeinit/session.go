package nodeinit

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal; its master can be closed while it is read.
func openTerminal() (master, tty *os.File, err error) {
	blocking, tty, err := pty.Open() // package pty leaves it so
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = blocking.Close() }()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = tty.Close()
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), blocking.Name()), tty, nil
}

// hangUp tells all of a session that its terminal is gone. A shell passes that
// on to its jobs, but not to one that it is just starting: so all are told
// until the shell has ended. What is to outlive its terminal ignores it.
func (n *node) hangUp(leader int, over <-chan struct{}) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for range 60 {
		for _, pid := range session(leader) {
			_ = unix.Kill(pid, unix.SIGHUP)
		}
		select {
		case <-over:
			return
		case <-t.C:
		}
	}
	n.reaper.Signal(leader, unix.SIGKILL, false)
}

// session lists the processes of a session, its leader among them.
func session(leader int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	var out []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", name, "stat"))
		if err != nil {
			continue
		}
		// The name may contain anything; the rest begins after its last ')':
		// state, parent, process group, session.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 3 && string(fields[3]) == strconv.Itoa(leader) {
			out = append(out, pid)
		}
	}
	return out
}
