package fail_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"archetype/internal/fail"
)

// TestPlaceEndsTheProcess: it is killed where the file says, once, and what it
// came by before is noted.
func TestPlaceEndsTheProcess(t *testing.T) {
	if os.Getenv(fail.Env) != "" {
		_ = fail.Around("one", func() error { return nil })
		fail.Point("two")
		return
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func() *os.ProcessState {
		t.Helper()
		write(fail.Passed, "")
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestPlaceEndsTheProcess$")
		cmd.Env = append(os.Environ(), fail.Env+"="+dir)
		_ = cmd.Run()
		return cmd.ProcessState
	}
	passed := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, fail.Passed))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(data)), " ")
	}
	write(fail.At, "one.after\n")
	if ws := run().Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("at the place it ended with %v", ws)
	}
	if got := passed(); got != "one.before one.after" {
		t.Errorf("it has passed %s", got)
	}
	if s := run(); !s.Success() {
		t.Errorf("the second time it ended with %v", s)
	}
	if got := passed(); got != "one.before one.after two" {
		t.Errorf("the second time it has passed %s", got)
	}
}
