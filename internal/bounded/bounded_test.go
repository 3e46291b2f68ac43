package bounded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyFilesThatEndAreRead(t *testing.T) {
	dir := t.TempDir()
	pipe, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(file, make([]byte, 2048), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe, "/dev/zero"} {
		if _, err := ReadFile(path, 1024); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, err := ReadFile(file, 2048); err != nil || len(data) != 2048 {
		t.Errorf("%d bytes: %v", len(data), err)
	}
	if _, err := ReadFile(file, 2047); err == nil || !strings.Contains(err.Error(), "1 KiB") {
		t.Errorf("a larger file: %v", err)
	}
}
