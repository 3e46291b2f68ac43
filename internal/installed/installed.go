// Package installed knows whether a program is on this machine.
package installed

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Program reports whether a program is there, by its path or by its name in
// PATH or a folder for administrators, which an ordinary user's PATH lacks.
func Program(program string) bool {
	if filepath.IsAbs(program) {
		st, err := os.Stat(program)
		return err == nil && !st.IsDir()
	}
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if st, err := os.Stat(filepath.Join(dir, program)); err == nil && !st.IsDir() {
			return true
		}
	}
	return false
}
