package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"archetype/lab"
)

// Wherever a file is cut or has bits turned: it is the truth, or it is said
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
	for i := range 60 {
		bad := bytes.Clone(good)
		what := ""
		if rng.IntN(3) == 0 {
			n := rng.IntN(len(bad))
			bad, what = bad[:n], fmt.Sprintf("cut to %d bytes", n)
		} else {
			for range 1 + rng.IntN(8) {
				at := rng.IntN(len(bad))
				bad[at] ^= 1 << rng.IntN(8)
				what += fmt.Sprintf("bit of byte %d turned; ", at)
			}
		}
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
			if r.Backup != backup || err != nil || len(kept) < len(bad) && !bytes.HasPrefix(bad, kept) {
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
			if len(nodes) != 151 && len(bad) > 0 { // an empty file is a new one
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

// Without a backup that can be used, the place is left empty.
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
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the place is not empty: %v", err)
	}
	if r, err = Repair(path); err != nil || r.Damage != nil {
		t.Errorf("once more: %+v, %v", r, err)
	}
}
