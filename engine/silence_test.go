package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// While a provider cannot be asked, its labs say so, and are shown as they were.
func TestASilentProviderIsSaid(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy("name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n").Job)
	b.w.set(func() {
		b.w.fail["events"] = errors.New("nobody is there")
		b.w.hangUp()
	})
	b.until("the silence to be said", func(s *api.Snapshot) bool {
		silent := s.Labs[0].Silent
		return len(silent) == 1 && silent[0].Backend == "netns" && strings.Contains(silent[0].Why, "nobody is there")
	})
	if n := b.nodeNow("a"); !n.Actual.Matches(n.Desired) {
		t.Errorf("a is %s", n.Actual)
	}
	b.w.set(func() { delete(b.w.fail, "events") })
	b.until("the silence to be over", func(s *api.Snapshot) bool { return len(s.Labs[0].Silent) == 0 })
}

// What no backend tells of is found by the look at everything, as often as was
// chosen.
func TestALookFindsWhatNobodyTells(t *testing.T) {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(), look: 20 * time.Millisecond}
	b.start()
	t.Cleanup(b.stop)
	b.completed(b.deploy("name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n").Job)
	first := b.node("a", lab.NodeRunning).PID
	b.w.set(func() { b.w.nodes[backends.NodeRef{Lab: "l", Node: "a"}].running = false })
	b.until("the node to run again", func(s *api.Snapshot) bool {
		n := s.Labs[0].Nodes[0]
		return n.PID != first && n.Actual == lab.NodeRunning
	})
}
