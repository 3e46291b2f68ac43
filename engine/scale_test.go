package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
	"archetype/store"
	"archetype/vendors"
)

// scaled is an engine with one lab of so many simulated nodes in a ring.
type scaled struct {
	testing.TB
	e     *Engine
	w     *sim.World
	st    *store.Store
	nodes int
	// What the deploy cost.
	took        time.Duration
	transitions int64 // stored
	memory      uint64
}

func scale(t testing.TB, nodes int, opt store.Options) *scaled {
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "db"), opt)
	if err != nil {
		t.Fatal(err)
	}
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	s := &scaled{TB: t, w: sim.NewWorld(), st: st, nodes: nodes}
	s.w.Boots = time.Millisecond
	reg := &backends.Registry{}
	reg.AddProvider(s.w.Provider())
	for _, n := range s.w.Networks() {
		reg.AddNetwork(n)
	}
	before := inUse()
	s.e, err = New(t.Context(), Options{Store: st, Backends: reg, Vendors: kinds.Under(sim.ProviderName),
		Defaults: Defaults{Provider: sim.ProviderName, Network: sim.CableName}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.e.Shutdown()
		_ = st.Close()
	})
	file := filepath.Join(dir, "ring.clab.yml")
	if err := os.WriteFile(file, []byte(ring(nodes)), 0o600); err != nil {
		t.Fatal(err)
	}
	written := st.Transitions()
	begin := time.Now()
	if _, err := s.e.Deploy(t.Context(), api.DeployRequest{File: file}); err != nil {
		t.Fatal(err)
	}
	s.settle()
	s.took, s.transitions = time.Since(begin), st.Transitions()-written
	s.memory = inUse() - min(before, inUse())
	return s
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func ring(nodes int) string {
	var b strings.Builder
	b.WriteString("name: ring\ntopology:\n  nodes:\n")
	for i := range nodes {
		fmt.Fprintf(&b, "    n%d: {kind: linux}\n", i)
	}
	b.WriteString("  links:\n")
	for i := range nodes {
		fmt.Fprintf(&b, "    - endpoints: [\"n%d:eth1\", \"n%d:eth2\"]\n", i, (i+1)%nodes)
	}
	return b.String()
}

// settle waits until nothing is left to do and all of it is stored.
func (s *scaled) settle() {
	s.Helper()
	updates, err := s.e.Watch(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for range updates {
		snap, _ := s.e.Snapshot(s.Context())
		if l := snap.Lab("ring"); l == nil || len(l.Nodes) < s.nodes || l.State != lab.StateRunning || !settled(snap, l) {
			continue
		}
		s.barrier()
		return
	}
	s.Fatal("the engine has ended")
}

func settled(s *api.Snapshot, l *api.Lab) bool {
	for _, j := range s.Jobs {
		if !j.State.Ended() {
			return false
		}
	}
	for _, n := range l.Nodes {
		if n.Actual != lab.NodeRunning {
			return false
		}
	}
	for _, k := range l.Links {
		if k.Actual != lab.LinkUp {
			return false
		}
	}
	return true
}

// barrier returns when the lab has dealt with all it was told and it is stored.
func (s *scaled) barrier() {
	s.Helper()
	c, err := s.e.controller("ring")
	if err != nil {
		s.Fatal(err)
	}
	for range 2 { // the second has waited for the first one's round
		if err := c.call(s.Context(), func(*controller) error { return nil }); err != nil {
			s.Fatal(err)
		}
	}
}

// pass is one full look at everything the provider has, with nothing to do.
func (s *scaled) pass() {
	_ = s.e.look(s.w.Provider())
	s.barrier()
}

// cost is what something touched: keys of the store, and nodes and links
// decided upon.
func (s *scaled) cost(do func()) (keys, decided int64) {
	k, d := s.st.Touched(), s.e.decided.Load()
	do()
	return s.st.Touched() - k, s.e.decided.Load() - d
}

// A pass costs what its answer is large: nothing when nothing is to be done,
// and the same for one node that has drifted however many have not.
func TestPassCostsWhatItsAnswerIs(t *testing.T) {
	type costs struct{ keys, decided int64 }
	seen := map[costs][]int{}
	for _, nodes := range []int{100, 1000} {
		s := scale(t, nodes, store.Options{NoSync: true})
		if keys, decided := s.cost(s.pass); keys != 0 || decided != 0 {
			t.Errorf("of %d nodes: a pass with nothing to do touches %d keys and decides on %d nodes and links", nodes, keys, decided)
		}
		var c costs
		c.keys, c.decided = s.cost(func() {
			s.w.Unplug("ring", lab.LinkID(lab.Endpoint{Node: "n1", Interface: "eth1"}, lab.Endpoint{Node: "n2", Interface: "eth2"}))
			for s.e.decided.Load() == 0 || s.drifted() {
				s.barrier()
			}
			s.barrier() // all of it is stored
		})
		seen[c] = append(seen[c], nodes)
		t.Logf("%d nodes: one link set right: %d keys, %d decisions", nodes, c.keys, c.decided)
	}
	if len(seen) != 1 {
		t.Errorf("what one link's drift costs depends on how many have not drifted: %+v", seen)
	}
}

// drifted reports whether the link that was unplugged is not wired again.
func (s *scaled) drifted() bool {
	st, _ := s.w.Wire("ring", lab.LinkID(lab.Endpoint{Node: "n1", Interface: "eth1"}, lab.Endpoint{Node: "n2", Interface: "eth2"}))
	snap, _ := s.e.Snapshot(s.Context())
	return !st.Connected || !settled(snap, snap.Lab("ring"))
}

// turns is how often a benchmark does what is quick.
const turns = 50

// median is the middle of so many turns, in microseconds.
func median(turn func()) float64 {
	all := make([]time.Duration, turns)
	for i := range all {
		begin := time.Now()
		turn()
		all[i] = time.Since(begin)
	}
	slices.Sort(all)
	return float64(all[turns/2].Nanoseconds()) / 1000
}

// BenchmarkRest is what an engine does with a lab in which nothing is to be
// done: a round upon news that change nothing, and a full look at all that the
// provider has.
func BenchmarkRest(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			s := scale(b, nodes, store.Options{NoSync: true})
			c, err := s.e.controller("ring")
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan bool)
			var round, look float64
			keys, decided := s.cost(func() {
				round = median(func() {
					c.post(func(c *controller) {
						c.m.nodes["n1"].look()
						c.step()
						done <- true
					})
					<-done
				})
			})
			b.ReportMetric(float64(decided)/turns, "round-decisions")
			more, _ := s.cost(func() { look = median(s.pass) })
			b.ReportMetric(float64(keys+more), "keys")
			b.ReportMetric(round, "round-us")
			b.ReportMetric(look, "look-us")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkDeploy stores every transition of so many nodes on the disk.
func BenchmarkDeploy(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			for range b.N {
				s := scale(b, nodes, store.Options{})
				b.ReportMetric(float64(s.transitions)/s.took.Seconds(), "transitions/s")
				b.ReportMetric(float64(s.memory)/1e6, "MB")
				b.ReportMetric(0, "ns/op")
				s.e.Shutdown()
			}
		})
	}
}
