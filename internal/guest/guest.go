// Package guest gives tests a machine with another kernel: it builds a small
// initramfs around busybox and boots Debian's cloud kernel with it, in QEMU's
// own emulation of a processor.
//
// It fetches nothing: scripts/test-setup does, and Find looks for it there.
package guest

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"archetype/internal/fetched"
)

// Kernel is an unpacked package of Debian's cloud kernel.
type Kernel struct {
	Image   string // path of its vmlinuz
	modules string // folder of its modules
	builtin map[string]bool

	once  sync.Once
	paths map[string]string // by name, with _ for -
	err   error
}

var found struct {
	once   sync.Once
	kernel *Kernel
	err    error
}

// Find returns the kernel and skips the test where that, QEMU or a static
// busybox is not there.
func Find(t testing.TB) *Kernel {
	t.Helper()
	for _, program := range []string{QEMU, "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no guest: ", err)
		}
	}
	found.once.Do(func() { found.kernel, found.err = find() })
	if found.err != nil {
		t.Skip("no kernel for a guest (scripts/test-setup fetches one): ", found.err)
	}
	return found.kernel
}

func find() (*Kernel, error) {
	dir, err := fetched.Dir("guest")
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s: %w", dir, fs.ErrNotExist))
	}
	k := &Kernel{Image: images[len(images)-1], builtin: map[string]bool{}}
	version := strings.TrimPrefix(filepath.Base(k.Image), "vmlinuz-")
	k.modules = filepath.Join(dir, "lib", "modules", version)
	list, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	for path := range strings.FieldsSeq(string(list)) {
		k.builtin[module(path)] = true
	}
	return k, err
}

// module is the name of a module in a file.
func module(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// index finds every module's file, once.
func (k *Kernel) index() error {
	k.once.Do(func() {
		k.paths = map[string]string{}
		k.err = filepath.WalkDir(k.modules, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".ko") {
				k.paths[module(path)] = path
			}
			return err
		})
	})
	return k.err
}

// Modules returns the files of modules and of all that they need, in the order
// in which they can be loaded. Those that are in the kernel itself need none.
func (k *Kernel) Modules(names ...string) ([]string, error) {
	if err := k.index(); err != nil {
		return nil, err
	}
	var out []string
	var add func(name string, trail []string) error
	add = func(name string, trail []string) error {
		name = strings.ReplaceAll(name, "-", "_")
		path, ok := k.paths[name]
		switch {
		case !ok && k.builtin[name]:
			return nil
		case !ok:
			return fmt.Errorf("module %s: %w", name, fs.ErrNotExist)
		case slices.Contains(out, path):
			return nil
		case slices.Contains(trail, name):
			return fmt.Errorf("module %s needs itself", name)
		}
		needs, err := depends(path)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := add(n, append(trail, name)); err != nil {
				return err
			}
		}
		out = append(out, path)
		return nil
	}
	for _, n := range names {
		if err := add(n, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// depends reads what a module needs out of its own file.
func depends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo in it")
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
