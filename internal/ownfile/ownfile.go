// Package ownfile opens files that the program keeps for itself. What somebody
// has put in the place of one, a link to a file elsewhere, a folder, a pipe or a
// device, is neither followed nor opened.
package ownfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Check says what is wrong with what is in a file's place; nothing where there
// is none.
func Check(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return regular(path, st.Mode())
}

func regular(path string, mode fs.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link, which is not followed: put the file itself there, or move the link away", path)
	case mode.IsDir():
		return fmt.Errorf("%s is no regular file but a folder: move it away", path)
	}
	return fmt.Errorf("%s is no regular file: move it away", path)
}

// Open is os.OpenFile for such a file, with the mode 0600 where it is made. To
// open a pipe does not wait.
func Open(path string, flag int) (*os.File, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = regular(path, st.Mode())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
