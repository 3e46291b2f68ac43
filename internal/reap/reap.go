// Package reap waits for every child of a process that adopts orphans, and
// tells whoever started one how it ended.
package reap

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Reaper collects the children of this process, its own and those it adopts.
// A process has at most one, and nothing else in it may wait for children.
type Reaper struct {
	mu      sync.Mutex
	waiters map[int]chan unix.WaitStatus
}

// New starts reaping.
func New() *Reaper {
	r := &Reaper{waiters: map[int]chan unix.WaitStatus{}}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGCHLD)
	go func() {
		for range ch {
			r.Reap()
		}
	}()
	return r
}

// Reap collects what has ended by now.
func (r *Reaper) Reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ch := r.waiters[pid]; ch != nil {
			delete(r.waiters, pid)
			ch <- ws
		}
	}
}

// Start runs a program; the channel gives its end.
func (r *Reaper) Start(path string, argv []string, attr *os.ProcAttr) (int, <-chan unix.WaitStatus, error) {
	r.mu.Lock() // so that it cannot be reaped before it is known
	defer r.mu.Unlock()
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	ch := make(chan unix.WaitStatus, 1)
	pid := p.Pid
	r.waiters[pid] = ch
	_ = p.Release()
	return pid, ch, nil
}

// Signal sends a signal to a process that Start started, or with group to all
// of the process group that it leads. One that has been reaped gets none: its
// number may be another's by now.
func (r *Reaper) Signal(pid int, sig unix.Signal, group bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiters[pid] == nil {
		return
	}
	if group {
		pid = -pid
	}
	_ = unix.Kill(pid, sig)
}

// ExitCode is the code a shell would give.
func ExitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// Ended says in words how a process ended.
func Ended(ws unix.WaitStatus) string {
	if ws.Signaled() {
		return "ended by signal " + unix.SignalName(ws.Signal())
	}
	return fmt.Sprintf("ended with code %d", ws.ExitStatus())
}
