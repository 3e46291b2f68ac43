package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Repaired says how a damaged database was dealt with.
type Repaired struct {
	Damage error  // what was wrong; nil: nothing, and nothing was done
	Whole  bool   // every record could be read, and was written anew
	Backup string // what it was restored from; empty: no backup was needed, or none could be used
	Kept   string // where the damaged file is kept
	// Unusable are backups that were found and are damaged themselves.
	Unusable []string
}

// salvage writes a database anew from one whose records are all there, though
// what the file says of its free pages may be wrong.
func salvage(damaged, path string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var file *os.File
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrCorrupt, damaged, r)
			release(file)
		}
	}()
	db, err := bolt.Open(damaged, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true,
		OpenFile: func(name string, flag int, perm os.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, perm)
			return file, err
		}})
	if err != nil {
		release(file)
		return err
	}
	size := db.Info().PageSize
	if headDamaged(file, size) { // the last change may be missing
		_ = db.Close()
		return ErrCorrupt
	}
	if err := checkPages(file, size, false); err != nil {
		_ = db.Close()
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		sum, err := readAll(tx)
		if err != nil {
			return err
		}
		if is, err := storedSum(tx); err != nil || is != sum {
			return ErrCorrupt
		}
		return nil
	})
	if err == nil {
		err = replace(path, func(f *os.File) error {
			out, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout})
			if err != nil {
				return err
			}
			if err := errors.Join(bolt.Compact(out, db, 64<<10), out.Close()); err != nil {
				return err
			}
			_, err = verify(f.Name(), Options{scratch: true})
			return err
		})
	}
	return errors.Join(err, db.Close())
}

// Repair puts the newest good one of the backups beside a damaged database in
// its place or, when there is none, leaves the place empty: what runs is then
// taken up from what it carries. The damaged file is kept. ErrLocked: the
// database is in use; ErrNewer: it is not for this program to repair.
func Repair(path string) (*Repaired, error) {
	r := &Repaired{}
	switch _, r.Damage = Verify(path); {
	case r.Damage == nil || errors.Is(r.Damage, os.ErrNotExist):
		r.Damage = nil
		return r, nil
	case errors.Is(r.Damage, ErrLocked), errors.Is(r.Damage, ErrNewer):
		return nil, r.Damage
	}
	backups, err := filepath.Glob(path + backupInfix + "*")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(backups, func(a, b string) int { return strings.Compare(stampOf(b), stampOf(a)) })
	r.Kept = path + ".damaged-" + time.Now().Format(stamp)
	if err := os.Rename(path, r.Kept); err != nil {
		return nil, err
	}
	if r.Whole = salvage(r.Kept, path) == nil; r.Whole {
		return r, nil
	}
	for _, b := range backups {
		if _, err := Restore(b, path); err == nil {
			r.Backup = b
			return r, nil
		}
		r.Unusable = append(r.Unusable, b)
	}
	// Restore has made an empty one to see that nobody uses it.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is in the way: %w", path, err)
	}
	return r, nil
}
