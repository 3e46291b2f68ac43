package engine_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// Tries come later and later; the job gives up after some, enforcement does
// not.
func TestRetriesBackOffAndOutliveTheJob(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.fail["start r1"] = errors.New("node r1: node r1: the machine is busy") }) // once is enough
	d := b.deploy(pair)
	b.saidSomewhere("the machine is busy; next try in 1s")
	b.saidSomewhere("the machine is busy; next try in 2s")
	if j := b.ended(d.Job); j.State != lab.JobFailed || j.Error != "r1: the machine is busy" {
		t.Errorf("job %s: %q", j.State, j.Error)
	}
	n := b.node("r1", lab.NodeError)
	if n.Retries < 3 || n.RetryAt.IsZero() || n.Error != "the machine is busy" {
		t.Errorf("the node says %+v", n)
	}
	b.node("r2", lab.NodeRunning)
	b.w.set(func() { delete(b.w.fail, "start r1") })
	b.node("r1", lab.NodeRunning) // without anybody asking for it
}

// A wish of the user's does not wait for the next try.
func TestAStartIsTriedAtOnce(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.fail["start r1"] = errors.New("the machine is busy") })
	b.ended(b.deploy(pair).Job)
	b.w.set(func() { delete(b.w.fail, "start r1") })
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobStart})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	if n := b.node("r1", lab.NodeRunning); n.Error != "" {
		t.Errorf("a running node says %q", n.Error)
	}
}

func TestCancelledDestroyKeepsWhatIsLeft(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["remove r1"] = hold })
	j, err := b.e.Destroy(t.Context(), "pair")
	if err != nil {
		t.Fatal(err)
	}
	b.node("r2", lab.NodeUndeployed)
	if err := b.e.CancelJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.ended(j); got.State != lab.JobCancelled {
		t.Errorf("job is %s", got.State)
	}
	b.w.set(func() { delete(b.w.hold, "remove r1") })
	close(hold)
	b.until("the lab at rest", func(s *api.Snapshot) bool {
		return len(s.Labs) == 1 && s.Labs[0].State == lab.StateStopped
	})
	b.completed(b.deploy(pair).Job) // and is made whole again by a deploy
	b.link(lab.LinkUp)
}

func TestCancelledStopLetsTheRestRun(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["stop r1"] = hold })
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Verb: lab.JobStop})
	if err != nil {
		t.Fatal(err)
	}
	b.node("r2", lab.NodeStopped)
	if err := b.e.CancelJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	b.w.set(func() { delete(b.w.hold, "stop r1") })
	close(hold)
	b.ended(j)
	// r1 was being stopped and there is no way back from that but through it.
	if n := b.node("r1", lab.NodeStopped); n.Desired != lab.WishStopped {
		t.Errorf("r1 is wished %s", n.Desired)
	}
}

// A node that ends now and then is started again as soon as the first time; one
// that does not last waits longer and longer.
func TestWhatHasLastedIsTriedSoon(t *testing.T) {
	var ahead atomic.Int64
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(),
		now:   func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		retry: lab.Retry{First: 20 * time.Millisecond, Cap: time.Minute, Tries: 10, Rest: time.Hour, Healthy: time.Minute}}
	b.start()
	t.Cleanup(b.stop)
	b.completed(b.deploy(pair).Job)
	for i, c := range []struct {
		lasts time.Duration
		tries int
	}{{0, 1}, {time.Second, 2}, {30 * time.Second, 1}, {30 * time.Second, 1}, {time.Second, 2}} {
		before := b.node("r1", lab.NodeRunning).PID
		ahead.Add(int64(c.lasts))
		b.w.kill(backends.NodeRef{Lab: "pair", Node: "r1"}, "somebody killed it")
		b.until("r1 to be started again", func(s *api.Snapshot) bool {
			n := s.Labs[0].Nodes[0]
			return n.PID != before && n.Actual == lab.NodeRunning
		})
		if n := b.nodeNow("r1"); n.Retries != c.tries {
			t.Errorf("end %d, after %s: tried %d times, want %d", i+1, c.lasts, n.Retries, c.tries)
		}
	}
}
