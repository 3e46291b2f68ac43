package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
	"archetype/vendors"
)

// bench is an engine over a simulated world, and what a test needs to drive
// it and to wait for what it does.
type bench struct {
	*testing.T
	w         *world
	elsewhere *world // of another provider
	e         *engine.Engine
	st        *store.Store
	dir       string
	snap      *api.Snapshot
	upd       <-chan *api.Update
	look      time.Duration // between two looks at everything
	retry     lab.Retry
	now       func() time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir()}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) start() {
	b.Helper()
	st, err := store.Open(filepath.Join(b.dir, "db"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	kinds, _, err := vendors.Load(filepath.Join(b.dir, "kinds"))
	if err != nil {
		b.Fatal(err)
	}
	reg := &backends.Registry{}
	reg.AddProvider(simProvider{b.w})
	reg.AddProvider(queued{simProvider{b.w}})
	if b.elsewhere == nil {
		b.elsewhere = newWorld()
	}
	reg.AddProvider(simElsewhere{simProvider{b.elsewhere}})
	reg.AddNetwork(simNetwork{b.w, "veth"})
	reg.AddNetwork(simNetwork{b.w, "linuxbridge"})
	reg.SetOutside(simOutside{simNetwork{b.w, "veth"}})
	e, err := engine.New(b.Context(), engine.Options{Store: st, Backends: reg, Vendors: kinds, Labs: filepath.Join(b.dir, "labs"), Now: b.now,
		Defaults: engine.Defaults{Provider: "netns", Network: "veth", BootTimeout: time.Minute, LookEvery: b.look, Retry: b.retry}})
	if err != nil {
		b.Fatal(err)
	}
	b.e, b.st, b.snap = e, st, nil
	if b.upd, err = e.Watch(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) stop() {
	if b.e != nil {
		b.e.Shutdown()
		b.st.Close()
		b.e = nil
	}
}

// crash ends the engine and starts another on the same store and world.
func (b *bench) crash() { b.stop(); b.start() }

func (b *bench) file(text string) string {
	path := filepath.Join(b.dir, "lab.clab.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *bench) deploy(text string) *api.Deployed {
	b.Helper()
	d, err := b.e.Deploy(b.Context(), api.DeployRequest{File: b.file(text)})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// until waits for a snapshot that satisfies ok.
func (b *bench) until(what string, ok func(*api.Snapshot) bool) *api.Snapshot {
	b.Helper()
	deadline := time.After(2 * time.Minute)
	for b.snap == nil || !ok(b.snap) {
		select {
		case u, open := <-b.upd:
			if !open {
				b.Fatalf("the engine ended while waiting for %s", what)
			}
			b.snap = b.snap.Apply(u)
		case <-deadline:
			b.Fatalf("never came: %s\n%s", what, describe(b.snap))
		}
	}
	return b.snap
}

func describe(s *api.Snapshot) string {
	var out strings.Builder
	for _, l := range s.Labs {
		fmt.Fprintf(&out, "%s %s\n", l.Name, l.State)
		for _, n := range l.Nodes {
			fmt.Fprintf(&out, "  %s wish=%s is=%s %s\n", n.Name, n.Desired, n.Actual, n.Error)
		}
		for _, k := range l.Links {
			fmt.Fprintf(&out, "  %s wish=%s is=%s %s\n", k.ID(), k.Desired, k.Actual, k.Error)
		}
	}
	for _, j := range s.Jobs {
		fmt.Fprintf(&out, "  job %s %s %s %d/%d %s %s\n", j.ID, j.Verb, j.State, j.Done, j.Total, j.Text, j.Error)
	}
	for _, ev := range s.Events {
		fmt.Fprintf(&out, "  %s %s\n", ev.Level, ev.Text)
	}
	return out.String()
}

func (b *bench) ended(j *api.Job) *api.Job {
	b.Helper()
	var out *api.Job
	b.until("end of job "+j.ID, func(s *api.Snapshot) bool {
		for _, x := range s.Jobs {
			if x.ID == j.ID && x.State.Ended() {
				out = x
				return true
			}
		}
		return false
	})
	return out
}

func (b *bench) completed(j *api.Job) {
	b.Helper()
	if got := b.ended(j); got.State != lab.JobCompleted {
		b.Fatalf("job %s %s: %s\n%s", got.Verb, got.State, got.Error, describe(b.snap))
	}
}

func (b *bench) node(name string, want lab.NodeState) *api.Node {
	b.Helper()
	var out *api.Node
	b.until(name+" "+string(want), func(s *api.Snapshot) bool {
		for _, l := range s.Labs {
			for _, n := range l.Nodes {
				if n.Name == name && n.Actual == want {
					out = n
					return true
				}
			}
		}
		return false
	})
	return out
}

func (b *bench) link(want lab.LinkState) *api.Link {
	b.Helper()
	var out *api.Link
	b.until("link "+string(want), func(s *api.Snapshot) bool {
		if len(s.Labs) == 0 {
			return false
		}
		for _, l := range s.Labs[0].Links {
			if l.Actual == want {
				out = l
				return true
			}
		}
		return false
	})
	return out
}

func (b *bench) saidSomewhere(text string) {
	b.Helper()
	b.until("an event that says "+text, func(s *api.Snapshot) bool {
		return slices.ContainsFunc(s.Events, func(e *api.Event) bool { return strings.Contains(e.Text, text) })
	})
}
