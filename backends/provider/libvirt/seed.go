package libvirt

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"archetype/vendors"
)

const (
	fatSize = 16 << 20 // bytes; what is written to it is small
	isoBlob = 2048     // bytes in a block
)

// seed makes the disk from which a device takes its first configuration. It
// is made anew whenever the node is, since what it says may have changed.
func seed(to string, s vendors.Seed, fill func(string) string) error {
	var names []string
	for name := range s.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	tmp := to + ".new"
	_ = os.Remove(tmp)
	var err error
	if s.Format == "vfat" {
		err = fat(tmp, s, names, fill)
	} else {
		err = iso(tmp, s, names, fill)
	}
	if err == nil {
		err = os.Rename(tmp, to)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

func iso(to string, s vendors.Seed, names []string, fill func(string) string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(to), "seed")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var size int64 = 1 << 20
	for _, name := range names {
		text := fill(s.Files[name])
		at := filepath.Join(dir, filepath.FromSlash(path.Clean("/"+name)))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil { //nolint:gosec // the device reads it, whoever it is there
			return err
		}
		size += int64(len(text)+isoBlob-1) / isoBlob * isoBlob
	}
	disk, err := file.CreateFromPath(to, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close(), os.Chmod(to, 0o600)) }()
	fs, err := iso9660.Create(disk, size, 0, isoBlob, dir)
	if err != nil {
		return err
	}
	return fs.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: s.Label})
}

func fat(to string, s vendors.Seed, names []string, fill func(string) string) (err error) {
	disk, err := file.CreateFromPath(to, fatSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close(), os.Chmod(to, 0o600)) }()
	fs, err := fat16.Create(disk, fatSize, 0, 512, s.Label, true)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := put(fs, path.Clean("/"+name), fill(s.Files[name])); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func put(fs filesystem.FileSystem, name, text string) error {
	if dir := path.Dir(name); dir != "/" {
		if err := fs.Mkdir(strings.TrimPrefix(dir, "/")); err != nil {
			return err
		}
	}
	f, err := fs.OpenFile(strings.TrimPrefix(name, "/"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}
