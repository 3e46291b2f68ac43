package netns_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// waitEnd waits until the process that the pidfd stands for has ended.
func waitEnd(t *testing.T, pidfd *os.File) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, 10_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("the process did not end: %v", err)
		}
		return
	}
}
