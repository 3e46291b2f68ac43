package folder

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What somebody has mounted in a folder keeps it, and stays whole.
func TestWhatIsMountedStays(t *testing.T) {
	runtime.LockOSThread() // and never given back: it has mounts of its own
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Skip("needs root: ", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "node")
	theirs, at := t.TempDir(), filepath.Join(dir, "a place")
	kept := filepath.Join(theirs, "kept")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(theirs, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err == nil || !strings.Contains(err.Error(), "mounted on "+at) {
		t.Errorf("with something mounted: %v", err)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "mine" {
		t.Errorf("what was mounted has %q, %v", text, err)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("once more: %v", err)
	}
}
