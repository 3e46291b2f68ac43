// Package osthread runs what changes the thread that it runs on for good.
package osthread

import (
	"os"
	"runtime"

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
