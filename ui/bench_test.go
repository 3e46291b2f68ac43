package ui

import (
	"fmt"
	"testing"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
)

// ring is a running lab of n nodes in a circle.
func ring(n int) *api.Snapshot {
	l := &api.Lab{Info: api.Info{Name: "ring", State: lab.StateRunning, Provider: "netns", Network: "veth"}, Rev: 1}
	for i := range n {
		l.Nodes = append(l.Nodes, &api.Node{Name: fmt.Sprintf("n%d", i+1), Kind: "linux", Provider: "netns",
			Desired: lab.WishRunning, Actual: lab.NodeRunning, Progress: 100, PID: 1000 + i, Console: true})
		l.Links = append(l.Links, &api.Link{A: fmt.Sprintf("n%d:eth1", i+1), B: fmt.Sprintf("n%d:eth2", (i+1)%n+1),
			Desired: lab.WishUp, Actual: lab.LinkUp, Carrier: lab.CarrierOn})
	}
	return &api.Snapshot{Rev: 1, Labs: []*api.Lab{l}}
}

func shown(b testing.TB, s *api.Snapshot) *Model {
	b.Helper()
	m, err := newModel(b.Context(), Options{Theme: "dark", Glyphs: "utf8"})
	if err != nil {
		b.Fatal(err)
	}
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	m.Update(snapshotMsg{s})
	m.open("ring")
	if v := m.View(); v.Content == "" {
		b.Fatal("nothing is shown")
	}
	return m
}

func sizes(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d nodes", n), func(b *testing.B) { f(b, n) })
	}
}

// BenchmarkKeyToFrame moves the selection and draws.
func BenchmarkKeyToFrame(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		m := shown(b, ring(n))
		keys := []tea.KeyPressMsg{{Code: 'j', Text: "j"}, {Code: 'k', Text: "k"}}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Update(keys[i%2])
			m.View()
		}
	})
}

// BenchmarkStateToFrame takes another state of one node in and draws.
func BenchmarkStateToFrame(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		a := ring(n)
		other := *a.Labs[0]
		other.Rev++
		other.Nodes = append([]*api.Node(nil), other.Nodes...)
		node := *other.Nodes[n/2]
		node.Actual = lab.NodeStopped
		other.Nodes[n/2] = &node
		snaps := []*api.Snapshot{{Rev: 2, Labs: []*api.Lab{&other}}, a}
		m := shown(b, a)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Update(snapshotMsg{snaps[i%2]})
			m.View()
		}
	})
}

// TestFrameBudget bounds what a frame allocates, and how much more a hundred
// times the nodes may take: what is not on the screen must cost next to nothing.
func TestFrameBudget(t *testing.T) {
	const budget = 2500
	allocs := func(n int) float64 {
		m := shown(t, ring(n))
		keys := []tea.KeyPressMsg{{Code: 'j', Text: "j"}, {Code: 'k', Text: "k"}}
		i := 0
		return testing.AllocsPerRun(50, func() {
			m.Update(keys[i%2])
			m.View()
			i++
		})
	}
	few, many := allocs(10), allocs(1000)
	if few > budget {
		t.Errorf("a frame of 10 nodes makes %.0f allocations, more than %d", few, budget)
	}
	if many > 3*few {
		t.Errorf("a frame of 1000 nodes makes %.0f allocations, one of 10 makes %.0f", many, few)
	}
}
