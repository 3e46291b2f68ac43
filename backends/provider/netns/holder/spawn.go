package holder

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// spawner is a set of threads that never end: a node's init is killed when
// the thread that started it ends, so that none outlives the holder, and such
// a thread must not come and go with the Go scheduler.
type spawner struct {
	work chan func(*home)
}

// home is where a thread belongs.
type home struct{ net, mnt *os.File }

// newSpawner starts the threads. What prepare does to one is true for all
// that it will start.
func newSpawner(threads int, prepare func() error) (*spawner, error) {
	s := &spawner{work: make(chan func(*home))}
	ready := make(chan error, threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			h, err := settle()
			if err == nil {
				err = prepare()
			}
			ready <- err
			if err != nil {
				return
			}
			for f := range s.work {
				f(h)
			}
		}()
	}
	for range threads {
		if err := <-ready; err != nil {
			return nil, err
		}
	}
	return s, nil
}

// settle makes the calling thread one that can enter mount namespaces.
func settle() (h *home, err error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, err
	}
	h = &home{}
	if h.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, err
	}
	h.mnt, err = os.Open("/proc/thread-self/ns/mnt")
	return h, err
}

// do runs f on one of the threads and waits for it.
func (s *spawner) do(f func(*home) error) error {
	done := make(chan error, 1)
	s.work <- func(h *home) { done <- f(h) }
	return <-done
}

func enter(ns *os.File) error {
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// newNetns makes a network namespace; it lives as long as the file is open.
func (s *spawner) newNetns() (ns *os.File, err error) {
	err = s.do(func(h *home) error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		if back := enter(h.net); back != nil {
			// This thread can do no more good; others must not get it.
			panic(back)
		}
		return err
	})
	return ns, err
}

// apart runs f on a thread that is inside the network namespace and in a
// mount namespace of its own, which lives on with what f starts. It is given
// the mount namespace of all others, in which the thread is during before: a
// file that is open keeps its mount from becoming read-only.
func (s *spawner) apart(ns *os.File, before func() error, f func(machine *os.File) error) error {
	return s.do(func(h *home) error {
		if err := enter(ns); err != nil {
			return err
		}
		defer func() {
			if back := enter(h.net); back != nil {
				panic(back)
			}
		}()
		if err := before(); err != nil {
			return err
		}
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		defer func() {
			if back := unix.Setns(int(h.mnt.Fd()), unix.CLONE_NEWNS); back != nil {
				panic(back)
			}
		}()
		return f(h.mnt)
	})
}
