// Package folder removes folders that others may have mounted something in.
package folder

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Remove removes a folder with all that is in it, unless something is mounted
// there: that is somebody's, and would lose all that it has.
func Remove(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if at := unescape.Replace(f[1]); at == dir || strings.HasPrefix(at, dir+"/") {
			return fmt.Errorf("%s is left: something is mounted on %s; unmount it", dir, at)
		}
	}
	return os.RemoveAll(dir)
}

// unescape turns what the kernel writes for letters that would part a line.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
