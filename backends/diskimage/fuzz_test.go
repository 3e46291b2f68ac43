package diskimage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever a file begins with: it is a disk, or is refused as none.
func FuzzBootable(f *testing.F) {
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xaa
	f.Add(mbr)
	f.Add([]byte("QFI\xfb\x00\x00\x00\x03"))
	f.Add(append(make([]byte, 512), "EFI PART"...))
	f.Add([]byte("\x89PNG\r\n"))
	file := filepath.Join(f.TempDir(), "disk")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := bootable(file); err != nil && !errors.Is(err, ErrBad) {
			t.Fatal(err)
		}
	})
}
