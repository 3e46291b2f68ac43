package diskimage

import (
	"fmt"
	"syscall"
)

// room checks that a folder's disk has place for so many bytes.
func room(dir string, bytes int64) error {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return nil // it will be seen
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes {
		return fmt.Errorf("%s has %d MiB free, and the image needs %d", dir, free>>20, bytes>>20)
	}
	return nil
}
