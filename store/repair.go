package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"archetype/internal/ownfile"
	"archetype/internal/replace"

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
func salvage(damaged, path string) error {
	return reading(damaged, false, func(db *bolt.DB) error {
		return replace.File(path, func(f *os.File) error {
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
	})
}

// Repair puts the newest good one of the backups beside a damaged database in
// its place or, when there is none, an empty one: what runs is then taken up
// from what it carries. The damaged file is kept. One that is away, though
// there are backups, counts as damaged. Whenever it is killed, it can be begun
// again. ErrLocked: the database is in use; ErrNewer: it is not for this
// program to repair.
func Repair(path string) (*Repaired, error) {
	r := &Repaired{}
	switch _, r.Damage = Verify(path); {
	case r.Damage == nil || errors.Is(r.Damage, os.ErrNotExist):
		r.Damage = nil
		return r, nil
	case !damage(r.Damage) || errors.Is(r.Damage, ErrNewer):
		return nil, r.Damage
	}
	backups := backupsOf(path)
	slices.SortFunc(backups, func(a, b string) int { return strings.Compare(stampOf(b), stampOf(a)) })
	if _, err := os.Lstat(path); err == nil {
		kept := path + ".damaged-" + time.Now().Format(stamp)
		if err := keep(path, kept); err != nil {
			return nil, err
		}
		r.Kept = kept
		if err := salvage(kept, path); err == nil || !damage(err) {
			r.Whole = err == nil
			return r.unless(err, path)
		}
	}
	for _, b := range backups {
		if ownfile.Check(b) != nil { // a link, or no file at all
			r.Unusable = append(r.Unusable, b)
			continue
		}
		if err := restore(b, path, func() error { return nil }); err == nil || !damage(err) {
			r.Backup = b
			return r.unless(err, path)
		}
		r.Unusable = append(r.Unusable, b)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is in the way: %w", path, err)
	}
	s, err := Open(path, Options{anew: true})
	if err != nil {
		return nil, err
	}
	return r, s.Close()
}

// damage reports whether an error says that a file is not what it should be,
// and not that the machine lacks room, files or permission, which passes.
func damage(err error) bool {
	var refused *ConstraintError
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNewer) || errors.As(err, &refused)
}

// unless gives a repair up that could not be made: the damaged file is where it
// was, and the next one tries again.
func (r *Repaired) unless(err error, path string) (*Repaired, error) {
	if err == nil {
		return r, nil
	}
	if _, serr := os.Lstat(path); serr == nil && r.Kept != "" {
		_ = os.Remove(r.Kept)
	} else if r.Kept != "" {
		_ = os.Rename(r.Kept, path)
	}
	return nil, fmt.Errorf("%w; and it cannot be repaired now: %w", r.Damage, err)
}
