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

// A look that fails is had again soon: who followed no events meanwhile knows
// nothing of what has happened.
func TestALookThatFailedIsHadAgain(t *testing.T) {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(), look: time.Hour}
	b.start()
	t.Cleanup(b.stop)
	b.completed(b.deploy("name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n").Job)
	first := b.node("a", lab.NodeRunning).PID
	b.w.set(func() {
		b.w.fail["list"] = errors.New("too much to do")
		b.w.nodes[backends.NodeRef{Lab: "l", Node: "a"}].running = false
		b.w.hangUp()
	})
	b.until("the silence to be said", func(s *api.Snapshot) bool { return len(s.Labs[0].Silent) == 1 })
	b.w.set(func() { delete(b.w.fail, "list") })
	b.until("the node to run again", func(s *api.Snapshot) bool {
		n := s.Labs[0].Nodes[0]
		return n.PID != first && n.Actual == lab.NodeRunning && len(s.Labs[0].Silent) == 0
	})
}

// silences has the world's provider be gone.
func (b *bench) silences() {
	b.w.set(func() {
		gone := errors.New("nobody is there")
		b.w.fail["events"], b.w.fail["list"], b.w.fail["start r1"] = gone, gone, gone
		b.w.hangUp()
	})
}

// answers has it be back.
func (b *bench) answers() { b.w.set(func() { clear(b.w.fail) }) }

// What failed while its provider was gone is tried when that is back, and not
// when its next try was due.
func TestWhatFailedInSilenceIsTriedAtOnce(t *testing.T) {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(), retry: lab.Retry{First: time.Hour, Cap: time.Hour, Tries: 10, Rest: time.Hour, Healthy: time.Hour}}
	b.start()
	t.Cleanup(b.stop)
	b.completed(b.deploy(pair).Job)
	b.silences()
	b.until("the silence to be said", func(s *api.Snapshot) bool { return len(s.Labs[0].Silent) == 1 })
	if _, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobRestart}); err != nil {
		t.Fatal(err)
	}
	b.node("r1", lab.NodeError)
	b.answers()
	b.node("r1", lab.NodeRunning)
}

// A job whose provider goes while it runs is not given up for what fails
// meanwhile.
func TestAJobOutlastsItsProvidersAbsence(t *testing.T) {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(), retry: lab.Retry{First: time.Millisecond, Cap: time.Millisecond, Tries: 1000, Rest: time.Hour, Healthy: time.Hour}}
	b.start()
	t.Cleanup(b.stop)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["start r1"] = hold })
	d := b.deploy(pair)
	b.node("r1", lab.NodeStarting)
	b.silences()
	b.until("the silence to be said", func(s *api.Snapshot) bool { return len(s.Labs[0].Silent) == 1 })
	close(hold)
	b.until("r1 to be tried often", func(s *api.Snapshot) bool { return s.Labs[0].Nodes[0].Retries > 3 })
	b.answers()
	b.completed(d.Job)
	b.link(lab.LinkUp)
}
