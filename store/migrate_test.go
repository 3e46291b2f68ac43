package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"archetype/lab"
)

// Each file in testdata was written by the program when its schema was the
// newest: schema-N.db holds a lab of two nodes and a link, written with its
// greater end first, a job and an event.
func TestFilesOfEverySchemaAreBroughtForward(t *testing.T) {
	if os.Getenv("STORE_WRITE") != "" {
		writeSchemaFile(t, filepath.Join("testdata", "schema-"+string(rune('0'+schema))+".db"))
	}
	files, _ := filepath.Glob("testdata/schema-*.db")
	if len(files) < schema {
		t.Fatalf("%d files for %d schemas: this test, run with STORE_WRITE=1, writes the newest", len(files), schema)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, path)
			must(t, s, func(tx *Tx) error {
				nodes, err := tx.Nodes("l")
				if err != nil || len(nodes) != 2 || nodes[0].Actual != lab.NodeRunning {
					t.Errorf("nodes: %v, %v", nodes, err)
				}
				links, err := tx.Links("l")
				if err != nil || len(links) != 1 || links[0].A.String() != "b:eth1" || links[0].Actual != lab.LinkUp {
					t.Errorf("links: %v, %v", links, err)
				}
				jobs, err := tx.Jobs(10)
				if err != nil || len(jobs) != 1 {
					t.Errorf("jobs: %v, %v", jobs, err)
				}
				events, err := tx.Events(10)
				if err != nil || len(events) != 1 {
					t.Errorf("events: %v, %v", events, err)
				}
				// The same link, written the other way round, is the same link.
				turned := links[0]
				turned.A, turned.B = turned.B, turned.A
				return errors.Join(tx.PutLink(turned), tx.Check())
			})
		})
	}
}

// A file of a later program is refused and left as it is.
func TestNewerFileIsUntouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	must(t, s, func(tx *Tx) error { return tx.tx.Bucket(bucketMeta).Put(keySchema, seal(keySchema, number(schema+7))) })
	_ = s.Close()
	before, _ := os.ReadFile(path)
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("it was changed")
	}
	if os.Getenv("STORE_WRITE") != "" { // for tests of the program
		_ = os.WriteFile(filepath.Join("testdata", "newer.db"), before, 0o600)
	}
}

func writeSchemaFile(t *testing.T, path string) {
	_ = os.Remove(path)
	s := open(t, path)
	a, b := node("a", lab.NodeRunning), node("b", lab.NodeStopped)
	k := link("b:eth1", "a:eth1")
	k.Actual = lab.LinkUp
	must(t, s, func(tx *Tx) error {
		_, err := tx.AppendEvent(Event{Text: "it happened"})
		return errors.Join(err, tx.PutLab(Lab{Name: "l"}), tx.PutNode(a), tx.PutNode(b), tx.PutLink(k),
			tx.PutJob(Job{ID: "j1", Lab: "l", Verb: lab.JobDeploy, State: lab.JobRunning}))
	})
	_ = s.Close()
}
