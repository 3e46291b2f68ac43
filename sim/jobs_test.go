package sim_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
)

// A job that comes no further fails at its deadline, with what it waits for.
func TestJobThatStallsFailsAtItsDeadline(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		var j *api.Job
		d.ask1(func(ctx context.Context) (err error) {
			j, err = d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"n0"}, Verb: lab.JobRestart})
			return err
		})
		begin := time.Now()
		for time.Since(begin) < 30*time.Minute { // no call ends, but by running out of its time
			time.Sleep(time.Second)
			synctest.Wait()
			s, _ := d.e.Snapshot(context.Background())
			at := slices.IndexFunc(s.Jobs, func(x *api.Job) bool { return x.ID == j.ID && x.State.Ended() })
			if at < 0 {
				continue
			}
			if j = s.Jobs[at]; j.State != lab.JobFailed || !strings.Contains(j.Error, "no progress for 5m0s; still waits for n0") {
				t.Errorf("it is %s: %s", j.State, j.Error)
			}
			if took := time.Since(begin); took < 4*time.Minute || took > 6*time.Minute {
				t.Errorf("after %s", took)
			}
			return
		}
		t.Error("it never ends")
	})
}

// What keeps a node is said of a job that waits for it in vain, also while it is
// tried again.
func TestJobThatStallsSaysWhatItsNodeSaid(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.begin0(lab.JobRestart)
		for begin := time.Now(); time.Since(begin) < 30*time.Minute; time.Sleep(time.Second) {
			d.bootlessRound()
			synctest.Wait()
			s, _ := d.e.Snapshot(context.Background())
			j := s.Jobs[len(s.Jobs)-1]
			if !j.State.Ended() {
				continue
			}
			if n := s.Lab("alpha").Nodes[0]; n.Actual != lab.NodeStarting || n.Retries == 0 {
				t.Errorf("n0 is %s, tried again %d times", n.Actual, n.Retries)
			}
			if !strings.Contains(j.Error, "still waits for n0; n0: not ready in time, within 2m0s: waited for a log line") {
				t.Errorf("it is %s: %s", j.State, j.Error)
			}
			return
		}
		t.Error("it never ends")
	})
}

// So it is of a destruction whose nodes cannot be removed.
func TestDestructionThatStallsSaysWhy(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.refuses = func(c sim.Call) error {
			if c.Verb == "remove" && c.On == "n0" {
				return errors.New("not today")
			}
			return nil
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Destroy(ctx, "alpha")
			return err
		})
		var j *api.Job
		d.await("the job to end", func(*api.Lab) bool {
			s, _ := d.e.Snapshot(context.Background())
			j = s.Jobs[len(s.Jobs)-1]
			return j.State.Ended()
		})
		if !strings.Contains(j.Error, "still waits for n0; n0: remove: not today") {
			t.Errorf("it is %s: %s", j.State, j.Error)
		}
	})
}

// A job that goes on has all its time from when its lab is taken up, also while
// another's network does not answer.
func TestJobThatGoesOnHasItsTimeFromItsLabOn(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		file := filepath.Join(d.dir, "beta.clab.yml")
		if err := os.WriteFile(file, []byte(strings.Replace(driftLab, "alpha", "beta", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Deploy(ctx, api.DeployRequest{File: file})
			return err
		})
		d.await("beta up", func(*api.Lab) bool { return wired(d.w, "beta", driftLink) })
		var j *api.Job
		go func() { j, _ = d.e.Destroy(context.Background(), "alpha") }()
		synctest.Wait()
		d.stuck = func(c sim.Call) bool { return c.Verb != "list" } // alpha is taken up; beta's network does not answer
		d.crash()
		begin := time.Now()
		for time.Since(begin) < 10*time.Minute {
			d.calmRound()
			time.Sleep(time.Second)
			synctest.Wait()
			d.check()
			if !d.up() {
				continue
			}
			s, _ := d.e.Snapshot(context.Background())
			at := slices.IndexFunc(s.Jobs, func(x *api.Job) bool { return x.ID == j.ID && x.State.Ended() })
			if at < 0 {
				continue
			}
			if took := time.Since(begin); took < 3*time.Minute || took > 3*time.Minute+10*time.Second {
				t.Errorf("given up after %s: %s", took, s.Jobs[at].Error)
			}
			return
		}
		t.Error("it never ends")
	})
}

// A network that does not answer holds up the labs that it has links of, for as
// long as one answer may take, and no other; all are shown at once.
func TestASilentNetworkHoldsNoOtherLabUp(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		for _, name := range []string{"beta", "gamma"} {
			file := filepath.Join(d.dir, name+".clab.yml")
			if err := os.WriteFile(file, []byte(strings.Replace(driftLab, "alpha", name, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			network := sim.CableName
			if name == "gamma" {
				network = sim.SwitchName
			}
			d.ask1(func(ctx context.Context) error {
				_, err := d.e.Deploy(ctx, api.DeployRequest{File: file, Network: network})
				return err
			})
			d.await(name+" up", func(*api.Lab) bool { return wired(d.w, name, driftLink) })
		}
		time.Sleep(time.Second) // it is saved
		d.stuck = func(c sim.Call) bool { return c.Backend == sim.SwitchName && c.Verb == "state" }
		d.crash()
		begin := time.Now()
		served := func(name string, within time.Duration) {
			d.ask1(func(ctx context.Context) error {
				_, err := d.e.SetNodes(ctx, api.NodesRequest{Lab: name, Nodes: []string{"n0"}, Verb: lab.JobStart})
				return err
			})
			if took := time.Since(begin); took > within {
				t.Errorf("%s is served after %s", name, took)
			}
			s, _ := d.e.Snapshot(context.Background())
			for _, name := range []string{"alpha", "beta", "gamma"} {
				if l := s.Lab(name); l == nil || !l.Nodes[0].Actual.Alive() {
					t.Errorf("%s is not shown as it was: %+v", name, l)
				}
			}
		}
		served("beta", time.Second)
		served("alpha", 12*time.Second)
		served("gamma", 12*time.Second)
	})
}

// Of a lab that runs without a record, the first answer that anybody gets from
// the engine tells already: else it would say that there is no such lab.
func TestALabWithoutARecordIsThereFromTheFirstAnswerOn(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.dir = t.TempDir() // with no store in it
		d.stuck = func(c sim.Call) bool { return c.Backend == sim.SwitchName && c.Verb == "state" }
		d.crash()
		for !d.up() {
			d.calmRound()
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		s, _ := d.e.Snapshot(context.Background())
		if l := s.Lab("alpha"); l == nil || len(l.Nodes) != 2 || !l.Nodes[0].Actual.Alive() {
			t.Errorf("the engine has come up and says %s", describe(s))
		}
	})
}
