package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/lab"
)

// Whatever is done to a file while it is in use: it is said once, nothing is
// written over a good backup, nobody waits, and the next one has all that was
// in the backup.
func TestDamageWhileInUse(t *testing.T) {
	cut := func(size int64) func(string) error {
		return func(path string) error { return os.Truncate(path, size) }
	}
	over := func(step int, with func(byte) byte) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			for at := 2 * os.Getpagesize(); at < len(data); at += step {
				data[at] = with(data[at])
			}
			f, ferr := os.OpenFile(path, os.O_WRONLY, 0) // the same file, not another
			if err = errors.Join(err, ferr); err != nil {
				return err
			}
			_, err = f.Write(data)
			return errors.Join(err, f.Close())
		}
	}
	for name, harm := range map[string]func(path string) error{
		"cut to nothing":   cut(0),
		"cut in a head":    cut(100),
		"cut to the heads": cut(int64(2 * os.Getpagesize())),
		"cut in a page":    cut(int64(2*os.Getpagesize() + 808)),
		"bits turned":      over(97, func(b byte) byte { return b ^ 1 }),
		"zeros":            over(1, func(byte) byte { return 0 }),
		"removed":          os.Remove,
		"replaced": func(path string) error {
			if err := os.WriteFile(path+".new", []byte("another"), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			told := 0
			s, err := Open(path, Options{NoSync: true, Lost: func(error) { told++ }})
			if err != nil {
				t.Fatal(err)
			}
			must(t, s, func(tx *Tx) error {
				err := tx.PutLab(Lab{Name: "l"})
				for i := range 60 {
					err = errors.Join(err, tx.PutNode(node(fmt.Sprint("n", i), lab.NodeUndeployed)))
				}
				return err
			})
			if err := s.BackUp(1); err != nil {
				t.Fatal(err)
			}
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			if name == "removed" { // is no damage: it is written once more, and used
				for i := range 2 {
					must(t, s, func(tx *Tx) error { return tx.PutNode(node(fmt.Sprint("late", i), lab.NodeUndeployed)) })
				}
				_ = s.Close()
				must(t, open(t, path), func(tx *Tx) error {
					if all, err := tx.Nodes("l"); len(all) != 62 || told != 0 {
						t.Errorf("%d nodes, %v", len(all), err)
					}
					return tx.Check()
				})
				return
			}
			var said error
			for i := range 5 {
				_ = s.View(func(tx *Tx) error { _, err := tx.Nodes("l"); return err })
				if said = s.Update(func(tx *Tx) error { return tx.PutNode(node(fmt.Sprint("late", i), lab.NodeUndeployed)) }); said != nil {
					break
				}
				if said = s.BackUp(1); said != nil {
					break
				}
			}
			if !errors.Is(said, ErrCorrupt) || told != 1 {
				t.Errorf("told %d times: %v", told, said)
			}
			if err := s.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrCorrupt) {
				t.Errorf("afterwards: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("at its end: %v", err)
			}
			r, err := Repair(path)
			if err != nil {
				t.Fatal(err)
			}
			if r.Backup == "" && !r.Whole {
				t.Errorf("repaired: %+v", r)
			}
			must(t, open(t, path), func(tx *Tx) error {
				all, err := tx.Nodes("l")
				if len(all) != 60 {
					t.Errorf("%d nodes", len(all))
				}
				return errors.Join(err, tx.Check())
			})
		})
	}
}

// A mistake of who writes is no damage, and nobody hides it.
func TestMistakesAreNoDamage(t *testing.T) {
	s := fresh(t)
	defer func() {
		if v := recover(); v != "a mistake" {
			t.Errorf("recovered: %v", v)
		}
		must(t, s, func(tx *Tx) error { return tx.PutLab(Lab{Name: "l"}) })
	}()
	_ = s.Update(func(*Tx) error { panic("a mistake") })
}

// A file that is away, as after a repair that was killed in its middle or a
// hand that removed it, is not taken for one that never was.
func TestFileThatIsAwayIsRestored(t *testing.T) {
	path := backedUp(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Verify(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("checked: %v", err)
	}
	r, err := Repair(path)
	if err != nil || r.Backup == "" || r.Kept != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	must(t, open(t, path), func(tx *Tx) error {
		if _, ok, err := tx.Lab("l"); !ok || err != nil {
			t.Errorf("the lab is lost: %v", err)
		}
		return nil
	})
}

// What is no file, and a link, wherever it leads, is refused at once by whatever
// would use it, and stays where it is with all that it leads to.
func TestNoFile(t *testing.T) {
	places := map[string]struct {
		put  func(path, elsewhere string) error
		says string
	}{
		"a pipe":          {func(path, _ string) error { return syscall.Mkfifo(path, 0o600) }, " is no regular file"},
		"a folder":        {func(path, _ string) error { return os.Mkdir(path, 0o700) }, " is no regular file but a folder"},
		"a link":          {func(path, elsewhere string) error { return os.Symlink(elsewhere, path) }, " is a symbolic link"},
		"a dangling link": {func(path, elsewhere string) error { return os.Symlink(elsewhere+"-", path) }, " is a symbolic link"},
		"a loop":          {func(path, _ string) error { return os.Symlink(path, path) }, " is a symbolic link"},
		"a device":        {func(path, _ string) error { return os.Symlink("/dev/zero", path) }, " is a symbolic link"},
	}
	for what, place := range places {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path, elsewhere := filepath.Join(dir, "db"), filepath.Join(dir, "elsewhere")
			s := open(t, elsewhere)
			good := filepath.Join(dir, "good")
			if _, err := s.Backup(good); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(elsewhere)
			if err == nil {
				err = place.put(path, elsewhere)
			}
			if err != nil {
				t.Fatal(err)
			}
			for how, f := range map[string]func() error{
				"opened":        func() error { _, err := Open(path, Options{}); return err },
				"checked":       func() error { _, err := Verify(path); return err },
				"repaired":      func() error { _, err := Repair(path); return err },
				"compacted":     func() error { _, _, err := Compact(path); return err },
				"restored over": func() error { _, err := Restore(good, path); return err },
			} {
				if err := inTime(t, f); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path+place.says) {
					t.Errorf("%s: %v", how, err)
				}
			}
			if st, err := os.Lstat(path); err != nil || st.Mode().IsRegular() {
				t.Errorf("it is %v, %v", st, err)
			}
			if now, err := os.ReadFile(elsewhere); err != nil || !bytes.Equal(now, before) {
				t.Errorf("what is elsewhere was changed: %v", err)
			}
			if _, err := os.Lstat(elsewhere + "-"); err == nil {
				t.Error("where it leads, a file was made")
			}
		})
	}
}

// What only looks like a backup does not hold a repair up, and is no way out of
// the folder: the next good one is taken.
func TestNoBackup(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	s := open(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good := path + backupInfix + "20200101-000000.000"
	for _, err := range []error{
		os.Rename(path, good),
		os.WriteFile(path, []byte("damaged"), 0o600),
		syscall.Mkfifo(path+backupInfix+"20300101-000000.000", 0o600),
		os.Mkdir(path+backupInfix+"20300102-000000.000", 0o700),
		os.Symlink(good, path+backupInfix+"20300103-000000.000"),
		os.Symlink("/dev/zero", path+backupInfix+"20300104-000000.000"),
		os.Symlink("nowhere", path+backupInfix+"20300105-000000.000"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	err := inTime(t, func() error {
		r, err := Repair(path)
		if err == nil && (r.Backup != good || len(r.Unusable) != 5) {
			t.Errorf("repaired as %+v", r)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := inTime(t, func() error { _, err := Restore(path+backupInfix+"20300101-000000.000", path); return err }); err == nil {
		t.Error("a pipe was restored from")
	}
}

// inTime is what f returns, which does not wait for anybody.
func inTime(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it waits")
		return nil
	}
}
