// Package frozen tells whether a signal has stopped a process, and has it go on.
package frozen

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Is reports whether a signal has stopped the process, such as SIGSTOP does.
func Is(pid int) bool {
	if pid <= 0 {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false // it has just ended
	}
	// The name is in parentheses and may hold anything.
	at := bytes.LastIndexByte(stat, ')')
	return at >= 0 && len(stat) > at+2 && stat[at+2] == 'T'
}

// Thaw has a process go on that a signal has stopped.
func Thaw(pid int) error {
	if !Is(pid) {
		return nil
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d cannot be continued: %w", pid, err)
	}
	return nil
}
