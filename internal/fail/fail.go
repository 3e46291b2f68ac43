// Package fail has places in the program at which a test can end it, as a
// power cut would: the real program, at its own speed, without being built
// anew for that. Where no test asks, a place costs one comparison.
//
// ARCHETYPE_FAIL names a place; the process kills itself when it comes there.
// ARCHETYPE_FAIL_LOG names a file to which every place is added that the
// process comes by.
package fail

import (
	"fmt"
	"os"
	"syscall"
)

// The environment that is heeded.
const (
	EnvAt  = "ARCHETYPE_FAIL"
	EnvLog = "ARCHETYPE_FAIL_LOG"
)

var at, log = os.Getenv(EnvAt), os.Getenv(EnvLog)

// Point is a place of that name.
func Point(name string) {
	if at == "" && log == "" {
		return
	}
	hit(name)
}

func hit(name string) {
	if log != "" {
		if f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, name)
			_ = f.Close()
		}
	}
	if name == at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it takes effect at any moment now
	}
}
