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
	work chan func(home *os.File)
}

func newSpawner(threads int) (*spawner, error) {
	s := &spawner{work: make(chan func(*os.File))}
	ready := make(chan error, threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			home, err := os.Open("/proc/thread-self/ns/net")
			ready <- err
			if err != nil {
				return
			}
			for f := range s.work {
				f(home)
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

// do runs f on one of the threads and waits for it.
func (s *spawner) do(f func(home *os.File) error) error {
	done := make(chan error, 1)
	s.work <- func(home *os.File) { done <- f(home) }
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
	err = s.do(func(home *os.File) error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		if back := enter(home); back != nil {
			// This thread can do no more good; others must not get it.
			panic(back)
		}
		return err
	})
	return ns, err
}

// in runs f on a thread that is inside the namespace.
func (s *spawner) in(ns *os.File, f func() error) error {
	return s.do(func(home *os.File) error {
		if err := enter(ns); err != nil {
			return err
		}
		err := f()
		if back := enter(home); back != nil {
			panic(back)
		}
		return err
	})
}
