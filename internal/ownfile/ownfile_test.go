package ownfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"archetype/internal/ownfile"
)

// A file is made for its owner alone; what is in its place and is none is not
// opened, and where a link leads nothing is made.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	f, err := ownfile.Open(in("new"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("it is %v, %v", st, err)
	}
	_ = f.Close()
	for _, err := range []error{os.Symlink(in("nowhere"), in("dangling")), os.Symlink(in("loop"), in("loop")), os.Symlink(in("new"), in("link")),
		os.Mkdir(in("folder"), 0o700), syscall.Mkfifo(in("pipe"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dangling", "loop", "link", "folder", "pipe"} {
		f, err := ownfile.Open(in(name), os.O_CREATE|os.O_RDWR)
		if err == nil || !strings.Contains(err.Error(), in(name)+" is ") || !strings.Contains(err.Error(), "move") {
			t.Errorf("%s: %v", name, err)
		}
		if f != nil {
			_ = f.Close()
		}
	}
	if _, err := os.Lstat(in("nowhere")); err == nil {
		t.Error("where the link leads, a file was made")
	}
}
