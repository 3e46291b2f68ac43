package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// jobIn waits for a job that satisfies ok.
func (b *bench) jobIn(what string, ok func(*api.Job) bool) (found *api.Job) {
	b.Helper()
	b.until(what, func(s *api.Snapshot) bool {
		at := slices.IndexFunc(s.Jobs, ok)
		if at >= 0 {
			found = s.Jobs[at]
		}
		return at >= 0
	})
	return found
}

func (b *bench) nodes(verb lab.JobVerb, names ...string) *api.Job {
	b.Helper()
	j, err := b.e.SetNodes(b.Context(), api.NodesRequest{Lab: "pair", Nodes: names, Verb: verb})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// Jobs about the same nodes come one after the other, and say for which they
// wait; those about others, and those of other labs, run beside them.
func TestJobsAboutTheSameAreQueued(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["start r1"] = hold })
	deploy := b.deploy(pair).Job
	b.node("r2", lab.NodeRunning)
	first, second := b.nodes(lab.JobRestart, "r1"), b.nodes(lab.JobRestart, "r1")
	if first.State != lab.JobPending || second.State != lab.JobPending || deploy.State != lab.JobRunning {
		t.Fatalf("%s, %s and %s", deploy.State, first.State, second.State)
	}
	b.jobIn("the first to wait for the deploy", func(j *api.Job) bool { return j.ID == first.ID && j.Text == deploy.ID+" (deploy)" })
	b.completed(b.nodes(lab.JobRestart, "r2")) // is about another node
	b.completed(b.deploy(strings.ReplaceAll(strings.ReplaceAll(pair, "pair", "other"), "r1", "x1")).Job)
	b.crash() // which keeps them in their order
	if b.jobIn("the deploy", func(j *api.Job) bool { return j.ID == deploy.ID }).State.Ended() {
		t.Fatal("the deploy has ended")
	}
	b.w.set(func() { delete(b.w.hold, "start r1") })
	close(hold)
	b.completed(deploy)
	b.completed(first)
	b.completed(second)
	var ends []*api.Job
	for _, want := range []*api.Job{deploy, first, second} {
		ends = append(ends, b.jobIn(want.ID, func(j *api.Job) bool { return j.ID == want.ID && j.State.Ended() }))
	}
	if ends[1].Ended.Before(ends[0].Ended) || ends[2].Ended.Before(ends[1].Ended) {
		t.Errorf("they ended at %v", ends)
	}
}

// A stop waits for no start of the same node, and withdrawing what is queued
// leaves what others wait for.
func TestStopIsNotQueuedAndCancelLeavesOthers(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.silent["r1"] = true })
	deploy := b.deploy(pair).Job
	b.node("r1", lab.NodeStarting)
	queued := b.nodes(lab.JobStart, "r1")
	if queued.State != lab.JobPending {
		t.Fatalf("a second start is %s", queued.State)
	}
	if err := b.e.CancelJob(t.Context(), queued.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.ended(queued); got.State != lab.JobCancelled {
		t.Errorf("it is %s", got.State)
	}
	b.jobIn("the deploy to go on", func(j *api.Job) bool { return j.ID == deploy.ID && j.State == lab.JobRunning })
	if n := b.node("r1", lab.NodeStarting); n.Desired != lab.WishRunning {
		t.Errorf("r1 is wished %s though the deploy waits for it", n.Desired)
	}
	stop := b.nodes(lab.JobStop, "r1")
	if stop.State == lab.JobPending {
		t.Errorf("a stop is queued behind %s", stop.Text)
	}
	b.completed(stop)
	b.ended(deploy)
}

// A command that takes its time is a job: it can be cancelled, it fails when
// whoever waits for it is gone, and when the engine ended, which the next one
// says.
func TestCommandsAreJobsOfTheirOwners(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	begin := func() (*api.Job, context.CancelFunc, chan error) {
		t.Helper()
		b.w.set(func() { b.w.hold["exec r1 sleep"] = make(chan struct{}) })
		ctx, cancel := context.WithCancel(api.WithOwner(t.Context(), "somebody"))
		end := make(chan error, 1)
		go func() {
			_, err := b.e.Exec(ctx, "pair", "r1", backends.ExecRequest{Command: []string{"sleep"}})
			end <- err
		}()
		j := b.jobIn("the command to be a job", func(j *api.Job) bool { return j.Verb == lab.JobExec && !j.State.Ended() })
		if j.State != lab.JobRunning || j.Owner != "somebody" || j.Target != "r1" {
			t.Errorf("%+v", j)
		}
		return j, cancel, end
	}
	j, cancel, end := begin()
	if err := b.e.CancelJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-end; err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("the command ended with %v", err)
	}
	if got := b.ended(j); got.State != lab.JobCancelled {
		t.Errorf("cancelled it is %s", got.State)
	}
	cancel()

	j, cancel, end = begin()
	cancel()
	if err := <-end; err == nil {
		t.Error("it has succeeded")
	}
	if got := b.ended(j); got.State != lab.JobFailed || !strings.Contains(got.Error, "somebody") {
		t.Errorf("without its owner it is %s: %s", got.State, got.Error)
	}

	j, cancel, end = begin()
	network := make(chan struct{})
	b.w.set(func() { b.w.hold["state"] = network })
	b.crash()
	s, err := b.e.Snapshot(t.Context()) // the first answer tells, also before the network has said what there is
	if err != nil || !slices.ContainsFunc(s.Jobs, func(x *api.Job) bool { return x.ID == j.ID && x.State == lab.JobFailed }) {
		t.Errorf("at another start the job is not known to have failed: %v, %s", err, describe(s))
	}
	b.w.set(func() { delete(b.w.hold, "state") })
	close(network)
	if got := b.ended(j); got.State != lab.JobFailed || !strings.Contains(got.Error, "the engine that ran it ended") {
		t.Errorf("after another start it is %s: %s", got.State, got.Error)
	}
	cancel()
	if err := <-end; err == nil {
		t.Error("it has succeeded")
	}
	// One that ends at once is none.
	before := len(b.snap.Jobs)
	if _, err := b.e.Exec(t.Context(), "pair", "r1", backends.ExecRequest{Command: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	b.completed(b.nodes(lab.JobRestart, "r2"))
	if n := len(b.snap.Jobs); n != before+1 {
		t.Errorf("%d jobs more", n-before)
	}
}

// Starts at a provider that wants few at once wait for their turn where they
// are in nobody's way: there are more of them than calls that may be under way.
func TestStartsWaitForTheirTurnApart(t *testing.T) {
	b := newBench(t)
	waiting := max(16, 8*runtime.NumCPU()) + 1
	text := "name: queue\ntopology:\n  nodes:\n"
	held := make(chan struct{})
	for i := range waiting {
		name := fmt.Sprintf("q%d", i)
		b.w.hold["start "+name] = held
		text += "    " + name + ": {kind: linux, provider: docker}\n"
	}
	d := b.deploy(text + "    other: {kind: linux}\n")
	b.until("all but the other are to start", func(s *api.Snapshot) bool {
		starting := 0
		for _, l := range s.Labs {
			for _, n := range l.Nodes {
				if n.Actual == lab.NodeStarting && n.Name != "other" {
					starting++
				}
			}
		}
		return starting == waiting
	})
	b.node("other", lab.NodeRunning)
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "queue", Nodes: []string{"other"}, Verb: lab.JobRestart})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	close(held)
	b.completed(d.Job)
	if b.w.started != 1 {
		t.Errorf("%d starts at once", b.w.started)
	}
}
