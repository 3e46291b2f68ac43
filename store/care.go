package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Backup writes the database as it is at this moment to a file, while it is
// in use. The file appears whole or not at all, readable by its owner only.
// It returns its size in bytes.
func (s *Store) Backup(path string) (size int64, err error) {
	err = replace(path, func(f *os.File) error {
		return s.db.View(func(tx *bolt.Tx) error {
			size, err = tx.WriteTo(f)
			return err
		})
	})
	return size, err
}

// How backups are called that are made by themselves, beside the database.
const (
	backupInfix = ".backup-"
	autoInfix   = backupInfix + "auto-"
	stamp       = "20060102-150405.000"
)

// BackupName is what a backup beside the database is called by default.
func BackupName(path string) string { return path + backupInfix + nextStamp(path) }

// nextStamp is the present time as names tell it, or a moment after the newest
// backup's: the clock may have been set back, and theirs is the order.
func nextStamp(path string) string {
	now := time.Now().Format(stamp)
	all, _ := filepath.Glob(path + backupInfix + "*")
	for _, b := range all {
		if s := stampOf(b); s >= now {
			if at, err := time.Parse(stamp, s); err == nil {
				now = at.Add(time.Millisecond).Format(stamp)
			}
		}
	}
	return now
}

// stampOf is when a backup was made, as names tell it.
func stampOf(file string) string {
	if s := file[max(0, len(file)-len(stamp)):]; s != "" {
		if _, err := time.Parse(stamp, s); err == nil {
			return s
		}
	}
	if st, err := os.Stat(file); err == nil {
		return st.ModTime().Format(stamp)
	}
	return ""
}

// BackUp writes a backup beside the database and forgets all but the newest
// keep of those that were written so.
func (s *Store) BackUp(keep int) error {
	path := s.db.Path()
	if _, err := s.Backup(path + autoInfix + nextStamp(path)); err != nil {
		return err
	}
	all, err := filepath.Glob(path + autoInfix + "*") // the oldest first, by their names
	if err != nil {
		return err
	}
	for _, old := range all[:max(0, len(all)-keep)] {
		err = errors.Join(err, os.Remove(old))
	}
	return err
}

// backupBefore keeps a file as it was before it is brought to another schema.
func (s *Store) backupBefore(path string, from uint64) (string, error) {
	to := fmt.Sprintf("%s%sschema-%d-%s", path, backupInfix, from, nextStamp(path))
	_, err := s.Backup(to)
	return to, err
}

// Restore puts a backup in a database's place, once it has been read and
// checked. What was there is kept beside it, under the name that is returned,
// empty when there was nothing. ErrLocked: the database is in use.
func Restore(backup, path string) (kept string, err error) {
	switch s, err := Open(path, Options{}); {
	case err == nil:
		_ = s.Close()
	case errors.Is(err, ErrCorrupt): // which is why it is restored
	default:
		return "", err
	}
	err = replace(path, func(f *os.File) error {
		in, err := os.Open(backup)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		if _, err := io.Copy(f, in); err != nil {
			return err
		}
		if _, err := verify(f.Name(), Options{scratch: true}); err != nil {
			return fmt.Errorf("%s: %w", backup, err)
		}
		if _, err := os.Lstat(path); err == nil {
			kept = path + ".before-" + time.Now().Format(stamp)
			return os.Link(path, kept)
		}
		return nil
	})
	return kept, err
}

// Verify opens a database that nobody uses, which brings it to the present
// schema, and checks all that is in it.
//
// The notices say what was wrong with the file and is mended.
func Verify(path string) (notices []string, err error) { return verify(path, Options{}) }

func verify(path string, opt Options) ([]string, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	s, err := Open(path, opt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Notices(), s.View(func(tx *Tx) error { return tx.Check() })
}

// Compact rewrites a database that nobody uses without what it has freed, and
// returns its size before and after, in bytes.
func Compact(path string) (before, after int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, 0, err
	}
	s, err := Open(path, Options{})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = s.Close() }()
	if st, err := os.Stat(path); err == nil {
		before = st.Size()
	}
	err = replace(path, func(f *os.File) error {
		out, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout})
		if err != nil {
			return err
		}
		if err := bolt.Compact(out, s.db, 64<<10); err != nil {
			_ = out.Close()
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
		st, err := os.Stat(f.Name())
		if err != nil {
			return err
		}
		if after = st.Size(); after >= before {
			return errNoGain
		}
		return nil
	})
	if errors.Is(err, errNoGain) {
		return before, before, nil
	}
	return before, after, err
}

var errNoGain = errors.New("it would not be smaller")

// replace has write fill a new file and puts it in the place of path.
func replace(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
