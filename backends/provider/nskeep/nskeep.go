// Package nskeep keeps the interfaces of a node whose own network namespace
// comes and goes with its container: there is always one place where they are,
// under one path that stays the same.
package nskeep

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"archetype/internal/fail"
	"archetype/internal/osthread"
)

// Place is where the interfaces of one node are at the moment: a namespace
// held by a mount. Its methods may be called from any goroutine.
type Place struct {
	dir    string
	mu     sync.Mutex
	tenant *os.Process // whose namespace it is, where this program brought them there
}

// At is the place that lives in the folder, whether it exists yet or not.
func At(dir string) *Place { return &Place{dir: dir} }

// Path names the namespace; it stays the same when the interfaces move.
func (p *Place) Path() string { return filepath.Join(p.dir, "net") }

// Interface is what a node's interface must have that a move takes from it.
type Interface struct {
	Name      string
	Addresses []netip.Prefix
}

// Exists reports whether there is a namespace.
func (p *Place) Exists() bool { return mounted(p.Path()) }

// mounted reports whether the path leads to a namespace, not to the empty
// file under a mount that is gone.
func mounted(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Settled is the path once no move is under way, and false when there is no
// namespace.
func (p *Place) Settled() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Path(), p.Exists()
}

// Make makes an empty namespace unless there is one.
func (p *Place) Make() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Exists() {
		return nil
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	return p.hold(func(target string) error {
		return fresh(func() error { return bind("/proc/thread-self/ns/net", target) })
	})
}

// Release gives up the namespace and whatever is in it, and the folder.
func (p *Place) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fail.Around("keep.release", func() error {
		return errors.Join(remove(p.Path()), p.sweep(""), remove(p.dir))
	})
}

// remove removes a file or an empty folder, which may be gone before.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// hold mounts a namespace by the function given and makes it the current one.
func (p *Place) hold(mount func(target string) error) error {
	f, err := os.CreateTemp(p.dir, "ns-*")
	if err != nil {
		return err
	}
	_ = f.Close()
	err = fail.Around("keep.mount", func() error {
		err := mount(f.Name())
		if err != nil {
			_ = remove(f.Name())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("hold a network namespace: %w", err)
	}
	link := f.Name() + ".new"
	err = fail.Around("keep.current", func() error {
		if err := os.Symlink(filepath.Base(f.Name()), link); err != nil {
			return err
		}
		return os.Rename(link, p.Path()) // in one step: who opens it meets the old or the new
	})
	if err != nil {
		_ = drop(f.Name())
		return err
	}
	return nil
}

// Tidy drops what an interrupted move has left beside the current mount.
func (p *Place) Tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if current := p.current(); current != "" {
		_ = p.sweep(current) // else the next move does
	}
}

// sweep drops all mounts but the one given.
func (p *Place) sweep(keep string) error {
	files, err := filepath.Glob(filepath.Join(p.dir, "ns-*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if filepath.Base(f) != keep {
			err = errors.Join(err, drop(f))
		}
	}
	return err
}

// current is the file name of the mount in use, or empty.
func (p *Place) current() string {
	name, err := os.Readlink(p.Path())
	if err != nil {
		return ""
	}
	return name
}

func bind(from, to string) error { return unix.Mount(from, to, "", unix.MS_BIND, "") }

func drop(file string) error {
	for { // a mount may lie on a mount
		err := fail.Around("keep.unmount", func() error { return unix.Unmount(file, unix.MNT_DETACH) })
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", file, err)
		}
	}
	return fail.Around("keep.forget", func() error { return remove(file) })
}

// fresh runs f on a thread in a network namespace of its own.
func fresh(f func() error) error {
	return osthread.Discard(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return f()
	})
}

// Same reports whether the process is in the namespace where the interfaces
// are.
func (p *Place) Same(pid int) bool {
	var a, b unix.Stat_t
	if unix.Stat(p.Path(), &a) != nil || unix.Stat(netnsOf(pid), &b) != nil {
		return false
	}
	return a.Ino == b.Ino && a.Dev == b.Dev
}

func netnsOf(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// mark begins the alias of every interface that a network of ours made.
const mark = "archetype"

// ours reports whether an interface moves with the node: what a network made
// for it, by its alias or, before that was set, by its name.
func ours(name, alias string, wanted map[string]Interface) bool {
	_, ok := wanted[name]
	return ok || strings.HasPrefix(alias, mark)
}
