package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"archetype/lab"
)

func TestBackupWhileInUseAndRestore(t *testing.T) {
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "db"), filepath.Join(dir, "backup")
	s := open(t, path)
	must(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutLab(Lab{Name: "l"}), tx.PutNode(node("a", lab.NodeRunning)))
	})
	if n, err := s.Backup(copied); err != nil || n == 0 {
		t.Fatalf("%d bytes: %v", n, err)
	}
	must(t, s, func(tx *Tx) error { return tx.DeleteLab("l") })
	if _, err := Restore(copied, path); !errors.Is(err, ErrLocked) {
		t.Errorf("restored under a user's feet: %v", err)
	}
	_ = s.Close()
	if err := os.WriteFile(path, []byte("not a database any more"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := Restore(copied, path)
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(kept); string(data) != "not a database any more" {
		t.Errorf("kept as %s: %q", kept, data)
	}
	again := open(t, path)
	must(t, again, func(tx *Tx) error {
		if _, ok, err := tx.Node("l", "a"); !ok || err != nil {
			t.Errorf("the node is not back: %v", err)
		}
		return nil
	})
	_ = again.Close()
	if err := os.Truncate(copied, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(copied, path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged backup: %v", err)
	}
	if _, err := Verify(path); err != nil {
		t.Errorf("and the database suffered: %v", err)
	}
}

func TestCompactKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	must(t, s, func(tx *Tx) error {
		if err := tx.PutLab(Lab{Name: "l"}); err != nil {
			return err
		}
		for i := range 3000 {
			if err := tx.PutNode(node(fmt.Sprint("n", i), lab.NodeUndeployed)); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, s, func(tx *Tx) error { return tx.DeleteLab("l") })
	must(t, s, func(tx *Tx) error { return errors.Join(tx.PutLab(Lab{Name: "l2"})) })
	_ = s.Close()
	before, after, err := Compact(path)
	if err != nil || after >= before {
		t.Fatalf("from %d to %d bytes: %v", before, after, err)
	}
	again := open(t, path)
	must(t, again, func(tx *Tx) error {
		if _, ok, _ := tx.Lab("l2"); !ok {
			t.Error("a lab is lost")
		}
		return tx.Check()
	})
}

// A query touches the keys of its answer, however many records there are, and
// says which index served it.
func TestQueriesTouchOnlyTheirAnswer(t *testing.T) {
	for _, count := range []int{50, 2000} {
		s := fresh(t)
		must(t, s, func(tx *Tx) error {
			if err := errors.Join(tx.PutLab(Lab{Name: "l"}), tx.PutHost(Host{Name: "h", Status: lab.HostOnline})); err != nil {
				return err
			}
			for i := range count {
				st, js, is := lab.NodeUndeployed, lab.JobCompleted, lab.ImageSynced
				if i%(count/5) == 0 {
					st, js, is = lab.NodeError, lab.JobRunning, lab.ImageMissing
				}
				image := "other"
				if is == lab.ImageMissing {
					image = fmt.Sprint("image", i)
				}
				err := errors.Join(tx.PutNode(node(fmt.Sprint("n", i), st)),
					tx.PutJob(Job{ID: fmt.Sprint("j", i), Lab: "l", Verb: lab.JobDeploy, State: js}),
					tx.PutImageCopy(ImageCopy{Image: image, Host: "h", Status: is}))
				if err != nil {
					return err
				}
			}
			return tx.Check()
		})
		must(t, s, func(tx *Tx) error {
			for _, q := range []interface{ Explain(*Tx) (Explained, error) }{
				NodesIn("l", lab.NodeError), JobsIn("", lab.JobRunning), JobsIn("l", lab.JobRunning)} {
				ex, err := q.Explain(tx)
				if err != nil || ex.Index == "" || ex.Answers != 5 || ex.Keys > 3*ex.Answers {
					t.Errorf("of %d: %+v, %v", count, ex, err)
				}
			}
			for _, q := range []interface{ Explain(*Tx) (Explained, error) }{NodesWished("l", lab.WishStopped), LinksIn("l", lab.LinkUp)} {
				if ex, err := q.Explain(tx); err != nil || ex.Index == "" || ex.Answers != 0 || ex.Keys > 0 {
					t.Errorf("of %d: %+v, %v", count, ex, err)
				}
			}
			if ex, err := CopiesOf("image0", "").Explain(tx); err != nil || ex.Answers != 1 || ex.Keys > 3 {
				t.Errorf("of %d: %+v, %v", count, ex, err)
			}
			if ex, err := HostsIn(lab.HostOnline).Explain(tx); err != nil || ex.Answers != 1 || ex.Keys > 3 {
				t.Errorf("of %d: %+v, %v", count, ex, err)
			}
			return nil
		})
	}
}
