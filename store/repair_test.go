package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"archetype/lab"
)

// damaged is a file in which something has gone wrong, at random, and what.
func damaged(rng *rand.Rand, good, older []byte, size int) (bad []byte, what string) {
	bad = bytes.Clone(good)
	pages := len(bad) / size
	page := func(b []byte, i int) []byte { return b[i*size : (i+1)*size] }
	noise := func(b []byte) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	}
	i, j := rng.IntN(pages), rng.IntN(pages)
	switch rng.IntN(9) {
	case 0, 1:
		n := rng.IntN(len(bad))
		return bad[:n], fmt.Sprintf("cut to %d bytes", n)
	case 2:
		copy(page(bad, i), page(good, j))
		copy(page(bad, j), page(good, i))
		return bad, fmt.Sprintf("pages %d and %d swapped", i, j)
	case 3:
		clear(page(bad, i))
		return bad, fmt.Sprintf("page %d emptied", i)
	case 4:
		i = rng.IntN(min(pages, len(older)/size))
		copy(page(bad, i), page(older, i))
		return bad, fmt.Sprintf("page %d as it was", i)
	case 5:
		for range 1 + rng.IntN(4) {
			bad[rng.IntN(2)*size+pageHeader+rng.IntN(headSummed+8)] = byte(rng.Uint32())
		}
		return bad, "heads written over"
	case 6:
		from := rng.IntN(len(bad))
		noise(bad[from:min(len(bad), from+rng.IntN(2*size))])
		return bad, fmt.Sprintf("noise from byte %d on", from)
	case 7:
		bad = bad[:rng.IntN(len(bad))]
		noise(bad)
		return bad, "nothing but noise"
	}
	for range 1 + rng.IntN(8) {
		at := rng.IntN(len(bad))
		bad[at] ^= 1 << rng.IntN(8)
		what += fmt.Sprintf("bit of byte %d turned; ", at)
	}
	return bad, what
}

// Whatever becomes of a file, be it cut, have bits turned or pages lost: it is the truth, or it is said
// to be damaged and repaired from the backup, with the damaged one kept.
func TestAnyDamageIsSaidAndRepaired(t *testing.T) {
	dir := t.TempDir()
	whole, backup := filepath.Join(dir, "whole"), filepath.Join(dir, "db.backup-1")
	s := open(t, whole)
	must(t, s, func(tx *Tx) error {
		if err := tx.PutLab(Lab{Name: "l"}); err != nil {
			return err
		}
		for i := range 150 {
			if err := tx.PutNode(node(fmt.Sprint("n", i), lab.NodeUndeployed)); err != nil {
				return err
			}
		}
		return tx.PutJob(Job{ID: "j1", Lab: "l", Verb: lab.JobDeploy, State: lab.JobRunning})
	})
	size := s.db.Info().PageSize
	older, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	// Twice, so that the head that a damaged one is replaced by knows it all.
	must(t, s, func(tx *Tx) error { return tx.PutNode(node("last", lab.NodeUndeployed)) })
	must(t, s, func(tx *Tx) error { return tx.PutNode(node("last", lab.NodeUndeployed)) })
	if _, err := s.Backup(backup); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	rng, repaired, path := rand.New(rand.NewPCG(seed, 1)), 0, filepath.Join(dir, "db")
	for i := range rounds(t) {
		bad, what := damaged(rng, good, older, size)
		what = fmt.Sprintf("seed %d, number %d: %s", seed, i, what)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Repair(path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if r.Damage != nil {
			repaired++
			kept, err := os.ReadFile(r.Kept)
			if (r.Backup != backup) != r.Whole || err != nil || len(kept) < len(bad) && !bytes.HasPrefix(bad, kept) {
				t.Errorf("%s: %+v, kept %d of %d bytes: %v", what, r, len(kept), len(bad), err)
			}
			_ = os.Remove(r.Kept)
		}
		again, err := Open(path, Options{NoSync: true})
		if err != nil {
			t.Fatalf("%s: does not open after the repair: %v", what, err)
		}
		if err := again.View(func(tx *Tx) error {
			nodes, err := tx.Nodes("l")
			if len(nodes) != 151 {
				t.Errorf("%s: %d nodes are left of 151, and nobody said so", what, len(nodes))
			}
			return errors.Join(err, tx.Check())
		}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		_ = again.Close()
	}
	if repaired == 0 {
		t.Error("no damage was noticed")
	}
}

// rounds is how much damage is tried: more, where STORE_DAMAGE says so.
func rounds(t *testing.T) int {
	n := 60
	if v := os.Getenv("STORE_DAMAGE"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Records that are whole are all kept, though the file forgets which of its
// pages are free; and a head that is bad is told.
func TestNothingIsLostThatCanBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	must(t, s, func(tx *Tx) error { return tx.PutLab(Lab{Name: "l"}) })
	must(t, s, func(tx *Tx) error { return tx.PutNode(node("a", lab.NodeUndeployed)) })
	size := s.db.Info().PageSize
	_ = s.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const freelist = 0x10 // a page's sort, in its flags
	for at := 2 * size; at < len(good); at += size {
		if good[at+8] != freelist {
			continue
		}
		bad := bytes.Clone(good)
		bad[at+pageHeader] ^= 7
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Repair(path)
		if err != nil || r.Damage != nil && !r.Whole {
			t.Fatalf("free pages at %d: %+v, %v", at, r, err)
		}
	}
	again := open(t, path)
	must(t, again, func(tx *Tx) error {
		if _, ok, err := tx.Node("l", "a"); !ok || err != nil {
			t.Errorf("the node is lost: %v", err)
		}
		return tx.Check()
	})
	_ = again.Close()
	for head := range 2 {
		bad := bytes.Clone(good)
		bad[head*size+pageHeader+20] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if notices, err := Verify(path); err != nil || len(notices) != 1 {
			t.Errorf("head %d: %q, %v", head, notices, err)
		}
		if notices, err := Verify(path); err != nil || len(notices) != 0 {
			t.Errorf("head %d, once more: %q, %v", head, notices, err)
		}
	}
}

// A record that is missing, or one of an earlier time in the place of a
// later, is noticed, though each record by itself is whole.
func TestMissingAndOldRecordsAreNoticed(t *testing.T) {
	for name, harm := range map[string]func(*Tx) error{
		"missing": func(tx *Tx) error { return tx.nodes().Bucket.Delete(key("l", "a")) },
		"old": func(tx *Tx) error {
			old := node("a", lab.NodeUndeployed)
			old.Progress = 7
			data, err := json.Marshal(old)
			return errors.Join(err, tx.nodes().Bucket.Put(key("l", "a"), seal(key("l", "a"), data)))
		},
		"a lab's": func(tx *Tx) error { return tx.labs().Bucket.Delete(key("empty")) },
	} {
		path := filepath.Join(t.TempDir(), "db")
		s := open(t, path)
		must(t, s, func(tx *Tx) error {
			return errors.Join(tx.PutLab(Lab{Name: "l"}), tx.PutLab(Lab{Name: "empty"}), tx.PutNode(node("a", lab.NodeUndeployed)))
		})
		must(t, s, harm)
		_ = s.Close()
		if _, err := Open(path, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of the backups that are made by themselves as many are kept as are wanted,
// and a file is kept as it was before it is brought to another schema.
func TestBackupsByThemselves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	old, err := os.ReadFile("testdata/schema-2.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	before, _ := filepath.Glob(path + ".backup-schema-2-*")
	if len(before) != 1 || len(s.Notices()) != 1 || !strings.Contains(s.Notices()[0], before[0]) {
		t.Errorf("before the migration: %v, %q", before, s.Notices())
	}
	if b, ok := s.db.Path(), len(before) == 1; ok {
		kept, err := bolt.Open(before[0], 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		_ = kept.View(func(tx *bolt.Tx) error {
			if v := tx.Bucket(bucketMeta).Get(keySchema); !bytes.Equal(v[sealSize:], number(2)) {
				t.Errorf("%s is kept as schema %x", b, v)
			}
			return nil
		})
		_ = kept.Close()
	}
	// The clock was ahead when one was made, and has been set back since.
	ahead := path + autoInfix + time.Now().Add(365*24*time.Hour).Format(stamp)
	if _, err := s.Backup(ahead); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := s.BackUp(3); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(ahead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is kept before those that were made later: %v", err)
	}
	_ = s.Close()
	autos, _ := filepath.Glob(path + ".backup-auto-*")
	if len(autos) > 3 || len(autos) == 0 {
		t.Errorf("backups: %v", autos)
	}
	for _, b := range autos {
		if st, err := os.Stat(b); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", b, st.Mode(), err)
		}
	}
}

// backedUp is a database with a lab l, that nobody uses, and a backup beside it.
func backedUp(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	must(t, s, func(tx *Tx) error { return tx.PutLab(Lab{Name: "l"}) })
	if err := errors.Join(s.BackUp(1), s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// A machine that lacks room is no damage: nothing is given up for it, and the
// next repair has all that there was.
func TestRepairWithoutRoom(t *testing.T) {
	path := backedUp(t)
	if err := os.Truncate(path, 9000); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	less := was
	less.Cur = 4096
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &less); err != nil {
		t.Fatal(err)
	}
	r, err := Repair(path)
	if rerr := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil {
		t.Errorf("repaired without room: %+v", r)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != 9000 {
		t.Errorf("the damaged file is not where it was: %v", err)
	}
	if kept, _ := filepath.Glob(path + ".damaged-*"); len(kept) > 0 {
		t.Errorf("kept twice: %v", kept)
	}
	if r, err := Repair(path); err != nil || r.Backup == "" {
		t.Errorf("with room: %+v, %v", r, err)
	}
}

// Without a backup that can be used, it begins anew.
func TestRepairWithoutABackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for _, name := range []string{path, path + ".backup-1"} {
		if err := os.WriteFile(name, []byte("not a database"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Repair(path)
	if err != nil || r.Damage == nil || r.Backup != "" || len(r.Unusable) != 1 {
		t.Fatalf("%+v: %v", r, err)
	}
	s := open(t, path)
	must(t, s, func(tx *Tx) error {
		labs, err := tx.Labs()
		if len(labs) > 0 {
			t.Errorf("from nowhere: %v", labs)
		}
		return err
	})
	_ = s.Close()
	if r, err = Repair(path); err != nil || r.Damage != nil {
		t.Errorf("once more: %+v, %v", r, err)
	}
}
