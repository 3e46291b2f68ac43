package osthread_test

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
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

// What is to end with its parent outlives the threads that end before.
func TestStartedOutlivesOtherThreads(t *testing.T) {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			cmd := exec.Command("cat")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Error(err)
				return
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			if err := osthread.Start(cmd); err != nil {
				t.Error(err)
				return
			}
			for range 64 {
				if err := osthread.Discard(func() error { return nil }); err != nil {
					t.Error(err)
				}
			}
			_, _ = io.WriteString(in, "alive")
			_ = in.Close()
			if said, _ := io.ReadAll(out); string(said) != "alive" {
				t.Errorf("it said %q", said)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
