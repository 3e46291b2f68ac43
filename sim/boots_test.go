package sim_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
)

// begin0 asks for something to be done to n0, and ends no call.
func (d *driver) begin0(v lab.JobVerb) {
	go func() {
		_, _ = d.e.SetNodes(context.Background(), api.NodesRequest{Lab: "alpha", Nodes: []string{"n0"}, Verb: v})
	}()
	synctest.Wait()
}

// A boot that begins while the engine has not heard yet that its stop of the
// one before is done is another's, and is heard of.
func TestBootThatOvertakesAStop(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.begin0(lab.JobStop)
		d.mu.Lock()
		at := slices.IndexFunc(d.held, func(h *held) bool { return h.call.Verb == "stop" })
		stop := d.held[at]
		d.mu.Unlock()
		d.take(stop)
		heard := make(chan struct{})
		stop.answer <- sim.Verdict{Heard: heard}
		synctest.Wait()
		d.w.Restart(n0)
		d.await("news of both", func(*api.Lab) bool { return len(d.events) == 0 })
		close(heard)
		synctest.Wait()
		d.await("it to be stopped again", func(l *api.Lab) bool {
			return l.Nodes[0].Actual == lab.NodeStopped && slices.Contains(d.w.Contents(), "node alpha/n0 running=false")
		})
	})
}

// bootlessRound lets all go on but the boots.
func (d *driver) bootlessRound() {
	d.mu.Lock()
	calls := d.sorted()
	d.mu.Unlock()
	for _, h := range calls {
		d.endCall(h)
		synctest.Wait()
	}
	for d.mu.Lock(); len(d.events) > 0; d.mu.Lock() {
		d.mu.Unlock()
		d.tellEvent()
		synctest.Wait()
	}
	d.mu.Unlock()
}

// A boot that was not ready in time is tried again from where it is: its
// progress stays.
func TestProgressOfABootThatIsTriedAgain(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.begin0(lab.JobRestart)
		failed, pid := false, 0
		for begin := time.Now(); time.Since(begin) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			d.bootlessRound()
			s, _ := d.e.Snapshot(context.Background())
			n := s.Lab("alpha").Nodes[0]
			switch {
			case n.Actual == lab.NodeStarting && n.PID != 0 && pid == 0:
				pid = n.PID
				d.w.Boot(n0)
				d.w.Boot(n0)
			case n.Actual == lab.NodeError:
				failed = failed || strings.Contains(n.Error, "it came to 50%")
			case failed && n.Progress < 50:
				d.Fatalf("it is %s at %d%%", n.Actual, n.Progress)
			case failed && n.Actual == lab.NodeStarting && n.PID == pid:
				return
			}
			synctest.Wait()
		}
		d.Error("it was never tried again")
	})
}
