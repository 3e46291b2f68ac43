package replay

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
	"archetype/vendors"
)

// Lab is a real engine over devices that play dialogues.
type Lab struct {
	testing.TB
	Provider *Provider
	Engine   *engine.Engine
	Dir      string
	snap     *api.Snapshot
	upd      <-chan *api.Update
	percents map[string][]int
}

// patience is for a dialogue to be played on a busy machine.
const patience = 2 * time.Minute

// nothing is a network for labs without a link.
type nothing struct{ backends.Network }

func (nothing) Name() string { return "veth" }
func (nothing) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true}
}
func (nothing) Initialize(context.Context, string) error { return nil }
func (nothing) Cleanup(context.Context, string) error    { return nil }
func (nothing) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ch := make(chan backends.LinkStatus)
	context.AfterFunc(ctx, func() { close(ch) })
	return ch, nil
}

// NewLab deploys a topology whose nodes play dialogues.
func NewLab(t testing.TB, kinds *vendors.Registry, topology string, dialogues map[string]*Dialogue) *Lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "replay") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &Lab{TB: t, Dir: dir, percents: map[string][]int{}}
	st, err := store.Open(filepath.Join(dir, "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if b.Provider, err = New(dir, dialogues); err != nil {
		t.Fatal(err)
	}
	reg := &backends.Registry{}
	reg.AddProvider(b.Provider)
	reg.AddNetwork(nothing{})
	ctx, cancel := context.WithCancel(context.Background())
	if b.Engine, err = engine.New(ctx, engine.Options{Store: st, Backends: reg, Vendors: kinds, BootTimes: filepath.Join(dir, "boot-times.json"),
		Defaults: engine.Defaults{Provider: vendors.VMProvider, Network: "veth", BootTimeout: patience}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Provider.Close()
		cancel()
		b.Engine.Shutdown()
	})
	if b.upd, err = b.Engine.Watch(ctx); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "lab.clab.yml")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Engine.Deploy(ctx, api.DeployRequest{File: file}); err != nil {
		t.Fatal(err)
	}
	return b
}

// Until waits for a node to be so. What goes wrong in its dialogue meanwhile
// fails the test.
func (b *Lab) Until(node, what string, ok func(*api.Node) bool) *api.Node {
	b.Helper()
	over := time.After(patience)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		n := b.Node(node)
		if n != nil && ok(n) {
			return n
		}
		select {
		case u, open := <-b.upd:
			if !open {
				b.Fatal("the engine ended")
			}
			b.snap = b.snap.Apply(u)
			if n := b.Node(node); n != nil && n.Actual == lab.NodeStarting {
				b.percents[node] = append(b.percents[node], n.Progress)
			}
		case <-look.C:
			if n == nil {
				continue // on a busy machine nothing has been told yet
			}
			if err := b.Provider.Wrong(backends.NodeRef{Lab: b.snap.Labs[0].Name, Node: node}); err != nil {
				b.Fatalf("%v\n%+v", err, n)
			}
		case <-over:
			b.Fatalf("%s never came: %+v", what, n)
		}
	}
}

// Node is one as it is now, nil where there is none.
func (b *Lab) Node(name string) *api.Node {
	if b.snap == nil || len(b.snap.Labs) == 0 {
		return nil
	}
	for _, n := range b.snap.Labs[0].Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Events are the texts of all events.
func (b *Lab) Events() (out []string) {
	for _, e := range b.snap.Events {
		out = append(out, e.Text)
	}
	return out
}

// Percents are those that a node has shown while it booted.
func (b *Lab) Percents(node string) []int { return b.percents[node] }

// Ready waits until a node runs.
func (b *Lab) Ready(node string) *api.Node {
	b.Helper()
	return b.Until(node, node+" running", func(n *api.Node) bool {
		if n.Actual == lab.NodeError {
			b.Fatalf("%s: %s", node, n.Error)
		}
		return n.Actual == lab.NodeRunning
	})
}
