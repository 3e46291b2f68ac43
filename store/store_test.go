package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"archetype/lab"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t *testing.T) *Store { return open(t, filepath.Join(t.TempDir(), "a", "db")) }

func must(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func node(name string, actual lab.NodeState) Node {
	return Node{Lab: "l", Name: name, Kind: "linux", Desired: lab.WishRunning, Actual: actual}
}

func link(a, b string) Link {
	ea, _ := lab.ParseEndpoint(a)
	eb, _ := lab.ParseEndpoint(b)
	return Link{Lab: "l", A: ea, B: eb, Desired: lab.WishUp, Actual: lab.LinkStates()[0]}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name       string
		put        func(*Tx) error
		constraint string
		typed      any // what errors.As must find, or nil
	}{
		{"node without lab", func(tx *Tx) error { n := node("x", lab.NodeRunning); n.Lab = "other"; return tx.PutNode(n) }, ConstraintReference, nil},
		{"node without name", func(tx *Tx) error { return tx.PutNode(node("", lab.NodeRunning)) }, ConstraintKey, nil},
		{"separator in a name", func(tx *Tx) error { return tx.PutNode(node("a\x00b", lab.NodeRunning)) }, ConstraintKey, nil},
		{"no such node state", func(tx *Tx) error { return tx.PutNode(node("x", "flying")) }, ConstraintValue, new(*lab.InvalidStateError)},
		{"illegal step", func(tx *Tx) error { return tx.PutNode(node("a", lab.NodeRunning)) }, ConstraintTransition, new(*lab.TransitionError)},
		{"per cent above 100", func(tx *Tx) error { n := node("a", lab.NodeUndeployed); n.Progress = 101; return tx.PutNode(n) }, ConstraintValue, nil},
		{"link to an unknown node", func(tx *Tx) error { return tx.PutLink(link("a:eth9", "zz:eth1")) }, ConstraintReference, nil},
		{"interface used twice", func(tx *Tx) error { return tx.PutLink(link("a:eth1", "b:eth2")) }, ConstraintUnique, nil},
		{"link to itself", func(tx *Tx) error { return tx.PutLink(link("a:eth5", "a:eth5")) }, ConstraintUnique, nil},
		{"removal of a linked node", func(tx *Tx) error { return tx.DeleteNode("l", "a") }, ConstraintReference, nil},
		{"no such policy", func(tx *Tx) error { return tx.PutLab(Lab{Name: "l", Policy: "pray"}) }, ConstraintValue, new(*lab.InvalidStateError)},
		{"number of another job", func(tx *Tx) error {
			return tx.PutJob(Job{ID: "j1", Lab: "l", Verb: lab.JobStop, State: lab.JobRunning})
		}, ConstraintUnique, nil},
		{"illegal step of a job", func(tx *Tx) error {
			done := Job{ID: "j1", Lab: "l", Verb: lab.JobDeploy, State: lab.JobCompleted}
			return errors.Join(tx.PutJob(Job{ID: "j1", Lab: "l", Verb: lab.JobDeploy, State: lab.JobFailed}), tx.PutJob(done))
		}, ConstraintTransition, new(*lab.TransitionError)},
		{"image on no host", func(tx *Tx) error {
			return tx.PutImageCopy(ImageCopy{Image: "i", Host: "h", Status: lab.ImageSynced})
		}, ConstraintReference, nil},
		{"no such host state", func(tx *Tx) error { return tx.PutHost(Host{Name: "h", Status: "tired"}) }, ConstraintValue, new(*lab.InvalidStateError)},
		{"no such verb", func(tx *Tx) error { return tx.PutJob(Job{ID: "1", Verb: "fly", State: lab.JobStates()[0]}) }, ConstraintValue, new(*lab.InvalidStateError)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fresh(t)
			must(t, s, func(tx *Tx) error {
				return errors.Join(tx.PutLab(Lab{Name: "l"}), tx.PutNode(node("a", lab.NodeUndeployed)),
					tx.PutNode(node("b", lab.NodeUndeployed)), tx.PutLink(link("a:eth1", "b:eth1")),
					tx.PutJob(Job{ID: "j1", Lab: "l", Verb: lab.JobDeploy, State: lab.JobRunning}))
			})
			err := s.Update(func(tx *Tx) error {
				if err := tx.PutNode(node("witness", lab.NodeUndeployed)); err != nil {
					return err
				}
				return tt.put(tx)
			})
			swallowed := s.Update(func(tx *Tx) error {
				_ = tt.put(tx)
				return tx.PutNode(node("witness", lab.NodeUndeployed))
			})
			if fmt.Sprint(swallowed) != fmt.Sprint(err) {
				t.Errorf("who makes nothing of the error is told %v", swallowed)
			}
			var ce *ConstraintError
			if !errors.As(err, &ce) || ce.Constraint != tt.constraint {
				t.Fatalf("got %v, want a refusal by %s", err, tt.constraint)
			}
			if tt.typed != nil && !errors.As(err, tt.typed) {
				t.Errorf("%v does not hold a %T", err, tt.typed)
			}
			_ = s.View(func(tx *Tx) error {
				if _, ok, _ := tx.Node("l", "witness"); ok {
					t.Error("half of a refused batch was stored")
				}
				return nil
			})
		})
	}
}

func TestDeleteLabTakesItsPartsAndLeavesOthers(t *testing.T) {
	s := fresh(t)
	must(t, s, func(tx *Tx) error {
		other := node("a", lab.NodeUndeployed)
		other.Lab = "l2"
		return errors.Join(tx.PutLab(Lab{Name: "l"}), tx.PutLab(Lab{Name: "l2"}), tx.PutNode(other),
			tx.PutNode(node("a", lab.NodeUndeployed)), tx.PutNode(node("b", lab.NodeUndeployed)),
			tx.PutLink(link("a:eth1", "b:eth1")), tx.DeleteLab("l"))
	})
	must(t, s, func(tx *Tx) error {
		labs, _ := tx.Labs()
		nodes, _ := tx.Nodes("l")
		links, _ := tx.Links("l")
		others, _ := tx.Nodes("l2")
		if len(labs) != 1 || len(nodes)+len(links) != 0 || len(others) != 1 {
			t.Errorf("left over: %v %v %v %v", labs, nodes, links, others)
		}
		return nil
	})
}

func TestHistoryIsBounded(t *testing.T) {
	s := fresh(t)
	start := time.Unix(1000, 0)
	must(t, s, func(tx *Tx) error {
		for i := range KeepEvents + 3*trimSlack {
			if _, err := tx.AppendEvent(Event{Text: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		states := lab.JobStates()
		for i := range KeepJobs + 2*trimSlack {
			j := Job{ID: fmt.Sprint("j", i), Verb: lab.JobDeploy, State: states[len(states)-1], Created: start.Add(time.Duration(i) * time.Second)}
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, s, func(tx *Tx) error {
		all, _ := tx.Events(1 << 20)
		if len(all) > KeepEvents+trimSlack || all[len(all)-1].Text != fmt.Sprint(KeepEvents+3*trimSlack-1) {
			t.Errorf("%d events kept, the last is %q", len(all), all[len(all)-1].Text)
		}
		jobs, _ := tx.Jobs(1 << 20)
		if len(jobs) > KeepJobs+trimSlack || jobs[len(jobs)-1].ID != fmt.Sprint("j", KeepJobs+2*trimSlack-1) {
			t.Errorf("%d jobs kept", len(jobs))
		}
		two, _ := tx.Jobs(2)
		if len(two) != 2 || two[0].Created.After(two[1].Created) {
			t.Errorf("the newest two: %v", two)
		}
		return nil
	})
}

// The clock is set back: what is newer stays the newest, and what is older is
// forgotten first.
func TestHistoryOutlivesTheClock(t *testing.T) {
	s := fresh(t)
	ahead := time.Now().Add(365 * 24 * time.Hour)
	done := lab.JobStates()[len(lab.JobStates())-1]
	must(t, s, func(tx *Tx) error {
		for i := range KeepJobs + 2*trimSlack {
			j := Job{ID: fmt.Sprint("j", i), Verb: lab.JobDeploy, State: done, Created: ahead.Add(time.Duration(i) * time.Second)}
			if i >= KeepJobs {
				j.Created = time.Now()
			}
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, s, func(tx *Tx) error {
		jobs, _ := tx.Jobs(2)
		if last := KeepJobs + 2*trimSlack - 1; len(jobs) != 2 || jobs[0].ID != fmt.Sprint("j", last-1) || jobs[1].ID != fmt.Sprint("j", last) {
			t.Errorf("the newest two are %v", jobs)
		}
		return tx.Check()
	})
}

// Whatever is put, in whatever order: what is stored is legal, every step
// was, and a store opened again holds the same.
func TestNothingIllegalIsEverStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "db")
		s, err := Open(path, Options{NoSync: true})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		_ = s.Update(func(tx *Tx) error { return tx.PutLab(Lab{Name: "l"}) })
		states := append(lab.NodeStates(), "flying", "")
		names := []string{"a", "b", ""}
		ends := []string{"a:eth1", "a:eth2", "b:eth1", "c:eth1"}
		was := map[string]lab.NodeState{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "node") {
				n := node(rapid.SampledFrom(names).Draw(rt, "name"), rapid.SampledFrom(states).Draw(rt, "state"))
				err := s.Update(func(tx *Tx) error { return tx.PutNode(n) })
				old, had := was[n.Name]
				legal := n.Name != "" && n.Actual.Valid() && (!had || old.CanTransition(n.Actual))
				if legal != (err == nil) {
					rt.Fatalf("%s: %s to %s: %v", n.Name, old, n.Actual, err)
				}
				if legal {
					was[n.Name] = n.Actual
				}
			} else {
				l := link(rapid.SampledFrom(ends).Draw(rt, "a"), rapid.SampledFrom(ends).Draw(rt, "b"))
				_ = s.Update(func(tx *Tx) error { return tx.PutLink(l) })
			}
		}
		before := dump(rt, s)
		used := map[lab.Endpoint]bool{}
		for _, l := range before.links {
			if used[l.A] || used[l.B] || was[l.A.Node] == "" || was[l.B.Node] == "" {
				rt.Fatalf("stored: %v", before.links)
			}
			used[l.A], used[l.B] = true, true
		}
		_ = s.Close()
		again, err := Open(path, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = again.Close() }()
		if after := dump(rt, again); !reflect.DeepEqual(before, after) {
			rt.Fatalf("before %v, after %v", before, after)
		}
	})
}

type contents struct {
	labs  []Lab
	nodes []Node
	links []Link
}

func dump(t *rapid.T, s *Store) (c contents) {
	err := s.View(func(tx *Tx) (err error) {
		var e1, e2, e3 error
		c.labs, e1 = tx.Labs()
		c.nodes, e2 = tx.Nodes("l")
		c.links, e3 = tx.Links("l")
		return errors.Join(e1, e2, e3)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOpenSaysWhyNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("held by another: %v", err)
	}
	must(t, s, func(tx *Tx) error { return tx.tx.Bucket(bucketMeta).Put(keySchema, seal(keySchema, number(schema+1))) })
	_ = s.Close()
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer schema: %v", err)
	}
}

// A damaged file opens or gives ErrCorrupt; it never takes the program down.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	s := open(t, path)
	must(t, s, func(tx *Tx) error {
		if err := tx.PutLab(Lab{Name: "l"}); err != nil {
			return err
		}
		for i := range 200 {
			if err := tx.PutNode(node(fmt.Sprint("n", i), lab.NodeUndeployed)); err != nil {
				return err
			}
		}
		return nil
	})
	_ = s.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(what string, data []byte) {
		p := filepath.Join(dir, "bad")
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(p, Options{})
		if err != nil {
			refused++
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: %v", what, err)
			}
			return
		}
		defer func() { _ = s.Close() }()
		err = s.View(func(tx *Tx) error {
			nodes, err := tx.Nodes("l")
			for _, n := range nodes { // none, where the file's head went back a transaction
				if n.Actual != lab.NodeUndeployed || n.Desired != lab.WishRunning || n.Kind != "linux" {
					t.Errorf("%s: taken for the truth: %+v", what, n)
				}
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: opened as whole: %v", what, err)
		}
	}
	for _, n := range []int{1, 100, 4096, len(good) / 2, len(good) - 1} {
		try(fmt.Sprint("cut to ", n), good[:n])
	}
	for at := 0; at < len(good); at += 499 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0xff
		try(fmt.Sprint("flipped at ", at), bad)
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

func BenchmarkThreeStepsOf200Nodes(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_ = s.Update(func(tx *Tx) error { return tx.PutLab(Lab{Name: "l"}) })
	for i := 0; b.Loop(); i++ {
		err := s.Update(func(tx *Tx) error {
			for n := range 200 {
				for _, st := range []lab.NodeState{lab.NodeUndeployed, lab.NodePending, lab.NodeStarting} {
					if err := tx.PutNode(node(fmt.Sprintf("n%d-%d", i, n), st)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is the yardstick of what is stored durably: commits of one
// small record each, by bbolt alone.
func BenchmarkCommit(b *testing.B) {
	const commits = 200
	db, err := bolt.Open(filepath.Join(b.TempDir(), "db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for b.Loop() {
		begin := time.Now()
		for i := range commits {
			err := db.Update(func(tx *bolt.Tx) error {
				bk, err := tx.CreateBucketIfNotExists([]byte("b"))
				if err != nil {
					return err
				}
				return bk.Put(fmt.Appendf(nil, "%d", i), make([]byte, 300))
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(commits/time.Since(begin).Seconds(), "commits/s")
	}
	b.ReportMetric(0, "ns/op")
}
