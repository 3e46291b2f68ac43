package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"archetype/internal/ownfile"
	"archetype/internal/replace"

	bolt "go.etcd.io/bbolt"
)

// Backup writes the database as it is at this moment to a file, while it is
// in use. The file appears whole or not at all, readable by its owner only, and
// is read once more first: a damaged one takes no good one's place. It returns
// its size in bytes.
func (s *Store) Backup(path string) (size int64, err error) {
	err = replace.File(path, func(f *os.File) error {
		return s.guarded(func() error {
			s.using.RLock()
			defer s.using.RUnlock()
			err := s.db.View(func(tx *bolt.Tx) error {
				if st, err := s.file.Stat(); err == nil && st.Size() < tx.Size() {
					return fmt.Errorf("%w: %s: it is cut short", ErrCorrupt, s.path)
				}
				size, err = tx.WriteTo(f)
				return err
			})
			if err != nil {
				return err
			}
			return sound(f.Name())
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

// backupsOf are those beside a database, of whatever sort, by name.
func backupsOf(path string) []string { return beside(path, backupInfix) }

// beside are files whose names are a database's and go on with infix, by name.
func beside(path, infix string) (out []string) {
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name+infix) {
			out = append(out, dir+e.Name())
		}
	}
	return out
}

// nextStamp is the present time as names tell it, or a moment after the newest
// backup's: the clock may have been set back, and theirs is the order.
func nextStamp(path string) string {
	now := time.Now().Format(stamp)
	for _, b := range backupsOf(path) {
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
	path := s.path
	if _, err := s.Backup(path + autoInfix + nextStamp(path)); err != nil {
		return err
	}
	all := beside(path, autoInfix) // the oldest first
	var err error
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
	if _, err := os.Lstat(path); err == nil {
		switch s, err := Open(path, Options{}); {
		case err == nil:
			_ = s.Close()
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNewer): // which is why it is restored
		default:
			return "", err
		}
	}
	err = restore(backup, path, func() error {
		if _, err := os.Lstat(path); err == nil {
			kept = path + ".before-" + time.Now().Format(stamp)
			return keep(path, kept)
		}
		return nil
	})
	return kept, err
}

// restore puts a backup that is good in a database's place, before which it
// calls last.
func restore(backup, path string, last func() error) error {
	return replace.File(path, func(f *os.File) error {
		st, err := os.Stat(backup)
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() { // to open a pipe may wait for ever
			return fmt.Errorf("%w: %s is no regular file", ErrCorrupt, backup)
		}
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
		return last()
	})
}

// keep has a file stay under another name, whatever takes its place: there is
// one in its place at any moment, where the file system can do that.
func keep(path, as string) error {
	if err := os.Link(path, as); err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Rename(path, as)
}

// Verify opens a database that nobody uses, which brings it to the present
// schema, and checks all that is in it.
//
// The notices say what was wrong with the file and is mended.
func Verify(path string) (notices []string, err error) { return verify(path, Options{}) }

func verify(path string, opt Options) ([]string, error) {
	if err := ownfile.Check(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil && !gone(path) {
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
	if err := ownfile.Check(path); err != nil {
		return 0, 0, err
	}
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
	err = replace.File(path, func(f *os.File) error {
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
