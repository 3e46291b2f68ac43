// Package replace puts files in place whole or not at all.
package replace

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// File has write fill a new file, which only its owner reads, and puts it in
// the place of path in one step. With an error, path is as it was. What an
// earlier process left that was killed in the middle is removed.
func File(path string, write func(*os.File) error) error {
	Sweep(path)
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // what was renamed is there no more
	_ = hold(f)
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// With is File for what is at hand.
func With(path string, data []byte) error {
	return File(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// rest is what follows a path's name in that of a file which is to take its
// place, or that of one whose name goes on after a dot.
var rest = regexp.MustCompile(`^(\..*)?-[0-9]+$`)

// Sweep removes what was to take the place of path, or of a file whose name
// begins with it and a dot, and whose process was killed before it could.
func Sweep(path string) {
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		if more, ok := strings.CutPrefix(e.Name(), "."+name); ok && e.Type().IsRegular() && rest.MatchString(more) {
			if f, err := os.OpenFile(dir+e.Name(), os.O_RDWR, 0); err == nil {
				if hold(f) == nil {
					_ = os.Remove(f.Name())
				}
				_ = f.Close()
			}
		}
	}
}

// hold takes a lock that goes with the process, and is none of those that a
// database takes on its own file. It fails where another one has it.
func hold(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}
