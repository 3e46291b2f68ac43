package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Repaired says how a damaged database was dealt with.
type Repaired struct {
	Damage error  // what was wrong; nil: nothing, and nothing was done
	Backup string // what it was restored from; empty: no backup could be used
	Kept   string // where the damaged file is kept
	// Unusable are backups that were found and are damaged themselves.
	Unusable []string
}

// Repair puts the newest good one of the backups beside a damaged database in
// its place or, when there is none, leaves the place empty: what runs is then
// taken up from what it carries. The damaged file is kept. ErrLocked: the
// database is in use; ErrNewer: it is not for this program to repair.
func Repair(path string) (*Repaired, error) {
	r := &Repaired{}
	switch r.Damage = Verify(path); {
	case r.Damage == nil || errors.Is(r.Damage, os.ErrNotExist):
		r.Damage = nil
		return r, nil
	case errors.Is(r.Damage, ErrLocked), errors.Is(r.Damage, ErrNewer):
		return nil, r.Damage
	}
	backups, err := filepath.Glob(path + ".backup-*")
	if err != nil {
		return nil, err
	}
	age := map[string]time.Time{}
	for _, b := range backups {
		if st, err := os.Stat(b); err == nil {
			age[b] = st.ModTime()
		}
	}
	slices.SortFunc(backups, func(a, b string) int { return age[b].Compare(age[a]) })
	r.Kept = path + ".damaged-" + time.Now().Format("20060102-150405.000")
	if err := os.Rename(path, r.Kept); err != nil {
		return nil, err
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
