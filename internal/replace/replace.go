// Package replace puts files in place whole or not at all.
package replace

import (
	"errors"
	"os"
	"path/filepath"
)

// File has write fill a new file, which only its owner reads, and puts it in
// the place of path in one step. With an error, path is as it was.
func File(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // what was renamed is there no more
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
