package osthread_test

import (
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/internal/osthread"
)

func TestNobodyElseFindsItselfElsewhere(t *testing.T) {
	where := func() string {
		s, err := os.Readlink("/proc/thread-self/ns/uts")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	home := where()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			err := osthread.Discard(func() error {
				if unix.Gettid() == os.Getpid() {
					t.Error("it ran on the process's first thread")
				}
				return unix.Unshare(unix.CLONE_NEWUTS)
			})
			if err != nil && os.Geteuid() == 0 {
				t.Error(err)
			}
			for range 10 {
				runtime.Gosched()
				if got := where(); got != home {
					t.Errorf("it is in %s, not in %s", got, home)
				}
			}
		})
	}
	all.Wait()
	if process, _ := os.Readlink("/proc/self/ns/uts"); process != home {
		t.Errorf("the process is seen in %s, not in %s", process, home)
	}
}
