// Package osthread runs what changes the thread that it runs on.
package osthread

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Discard runs f on a thread that ends with it, so that nobody else finds
// itself in the namespaces where f went. It is never the process's first
// thread: that one cannot end, and what it is in is what others see as the
// process's own, in /proc/self.
func Discard(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			done <- f() // still locked: the thread ends
			return
		}
		// As long as this goroutine waits here, no other gets the thread.
		other := make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			other <- f()
		}()
		err := <-other
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

var lasting = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread() // for good
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// Start starts a command from a thread that lasts as long as the process. What
// is told to end with its parent (Pdeathsig) ends with the thread that started
// it, and any other may be one that ends with what it runs.
func Start(cmd *exec.Cmd) error {
	err := make(chan error)
	lasting() <- func() { err <- cmd.Start() }
	return <-err
}

// InNetwork runs f on a thread inside a network namespace, given by its
// descriptor, and comes back. Nor is that the process's first thread.
func InNetwork(ns int, f func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		other := make(chan error, 1)
		go func() { other <- InNetwork(ns, f) }()
		err := <-other // until here no other goroutine gets this thread
		runtime.UnlockOSThread()
		return err
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	if err = unix.Setns(ns, unix.CLONE_NEWNET); err == nil {
		err = f()
	}
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, so nobody else gets it
	}
	runtime.UnlockOSThread()
	return err
}
