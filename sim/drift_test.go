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

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
)

var n0 = backends.NodeRef{Lab: "alpha", Node: "n0"}

const (
	driftLab = `
name: alpha
topology:
  nodes: {n0: {kind: linux}, n1: {kind: linux}}
  links: [{endpoints: ["n0:eth1", "n1:eth1"]}]
`
	driftLink = "n0:eth1|n1:eth1"
)

// drifting runs a test of a lab whose policy for drift is given, on the
// simulated clock.
func drifting(t *testing.T, policy lab.Policy, test func(d *driver)) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t, 1, t.TempDir())
		defer d.finish()
		d.calm = true
		file := filepath.Join(d.dir, "alpha.clab.yml")
		if err := os.WriteFile(file, []byte(driftLab), 0o600); err != nil {
			t.Fatal(err)
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Deploy(ctx, api.DeployRequest{File: file, Network: sim.SwitchName, Policy: policy})
			return err
		})
		d.await("all up", func(l *api.Lab) bool { return l.State == lab.StateRunning && l.Links[0].Actual == lab.LinkUp })
		test(d)
	})
}

// ask1 asks for something and waits for the answer.
func (d *driver) ask1(f func(ctx context.Context) error) {
	d.Helper()
	for !d.up() {
		d.calmRound()
		synctest.Wait()
	}
	done := make(chan error, 1)
	go func() { done <- f(context.Background()) }()
	for {
		d.calmRound()
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				d.Fatal(err)
			}
			return
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// await lets time pass, at most half an hour, until the lab is so.
func (d *driver) await(what string, ok func(*api.Lab) bool) *api.Lab {
	d.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Minute; time.Sleep(50 * time.Millisecond) {
		d.calmRound()
		synctest.Wait()
		if !d.up() {
			continue
		}
		s, _ := d.e.Snapshot(context.Background())
		if l := s.Lab("alpha"); l != nil && ok(l) {
			return l
		}
	}
	s, _ := d.e.Snapshot(context.Background())
	d.Fatalf("never: %s\n%s", what, describe(s))
	return nil
}

// drifts are faults of every sort, and what is said of each.
var drifts = []struct {
	name, says string
	do         func(*sim.World)
	link       bool
}{
	{"dies", "ended by itself: killed", func(w *sim.World) { w.Kill(n0, "killed") }, false},
	{"is removed", "was removed behind our back", func(w *sim.World) { w.Vanish(n0) }, false},
	{"is paused", "was paused", func(w *sim.World) { w.Pause(n0, true, false) }, false},
	{"is paused, unheard", "was paused", func(w *sim.World) { w.Pause(n0, true, true) }, false},
	{"is renamed", "was renamed to simulated:foo", func(w *sim.World) { w.Rename(n0, "foo") }, false},
	{"loses an interface", "an interface of it was removed", func(w *sim.World) { w.Unplug("alpha", driftLink) }, true},
	{"is cut by others", "came apart", func(w *sim.World) { w.Sever("alpha", driftLink) }, true},
	{"has a wrong tag", "different tags", func(w *sim.World) { w.Mistag("alpha", driftLink) }, true},
}

func driftIn(l *api.Lab, link bool) api.Drift {
	if link {
		return l.Links[0].Drift
	}
	return l.Nodes[0].Drift
}

func whole(l *api.Lab) bool {
	return l.State == lab.StateRunning && l.Links[0].Actual == lab.LinkUp && l.Links[0].Drift.What == "" && l.Nodes[0].Drift.What == ""
}

// what the machine has when all is as it was made.
func (d *driver) asMade() bool {
	return slices.Equal(d.w.Contents(), []string{"foreign " + theirs.String(), "link alpha/" + driftLink + " connected=true by " + sim.SwitchName,
		"node alpha/n0 running=true", "node alpha/n1 running=true"})
}

// Every sort of drift is found, and set right where the policy is to enforce.
func TestDriftIsSetRight(t *testing.T) {
	for _, f := range drifts {
		t.Run(f.name, func(t *testing.T) {
			drifting(t, lab.PolicyEnforce, func(d *driver) {
				f.do(d.w)
				d.await("its drift said", func(l *api.Lab) bool {
					s, _ := d.e.Snapshot(context.Background())
					return slices.ContainsFunc(s.Events, func(ev *api.Event) bool { return strings.Contains(ev.Text, f.says) })
				})
				d.await("whole again", func(l *api.Lab) bool { return whole(l) && d.asMade() })
			})
		})
	}
}

// What is done to a link now and then is set right at once, however often. One
// that is taken apart as soon as it is whole is waited with, longer and longer.
func TestALinkIsWiredAtOnceUnlessItDoesNotHold(t *testing.T) {
	for _, harm := range []struct {
		name string
		do   func(*sim.World)
	}{{"unplugged", func(w *sim.World) { w.Unplug("alpha", driftLink) }}, {"cut by others", func(w *sim.World) { w.Sever("alpha", driftLink) }}} {
		t.Run(harm.name, func(t *testing.T) {
			drifting(t, lab.PolicyEnforce, func(d *driver) {
				mended := func() time.Duration {
					harm.do(d.w)
					begin := time.Now()
					d.await("its drift seen, and set right", func(l *api.Lab) bool { return whole(l) && d.asMade() })
					return time.Since(begin)
				}
				for i := range 12 {
					if took := mended(); took > time.Second {
						t.Fatalf("time %d it took %s", i+1, took)
					}
					for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
						d.calmRound()
						synctest.Wait()
					}
				}
				longest := time.Duration(0)
				for range 6 {
					longest = max(longest, mended())
				}
				if longest < 8*time.Second {
					t.Errorf("taken apart at once, it was wired again after %s at most", longest)
				}
			})
		})
	}
}

// A node boots with all its interfaces, also where the peer of one is gone and
// left so: else it would wait for that for as long as nobody decides.
func TestANodeStartsThoughItsPeerIsLeftAlone(t *testing.T) {
	drifting(t, lab.PolicyAsk, func(d *driver) {
		d.w.Vanish(n0)
		d.await("its drift", func(l *api.Lab) bool { return l.Nodes[0].Drift.Held })
		for _, verb := range []lab.JobVerb{lab.JobRestart, lab.JobStop, lab.JobStart} {
			var j *api.Job
			d.ask1(func(ctx context.Context) (err error) {
				j, err = d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"n1"}, Verb: verb})
				return err
			})
			d.await(string(verb), func(*api.Lab) bool {
				s, _ := d.e.Snapshot(context.Background())
				at := slices.IndexFunc(s.Jobs, func(x *api.Job) bool { return x.ID == j.ID && x.State.Ended() })
				if at >= 0 && s.Jobs[at].State != lab.JobCompleted {
					d.Fatalf("%s: %s\n%s", verb, s.Jobs[at].Error, describe(s))
				}
				return at >= 0
			})
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha"})
			return err
		})
		d.await("whole again", func(l *api.Lab) bool { return whole(l) && d.asMade() })
	})
}

// A file that has a node made anew has it made with its links, also with one that
// comes apart meanwhile and would be left so.
func TestADeployThatRestartsANodeWiresItsLinks(t *testing.T) {
	drifting(t, lab.PolicyAsk, func(d *driver) {
		d.stuck = func(c sim.Call) bool { return c.Verb == "create" }
		file := filepath.Join(d.dir, "alpha.clab.yml")
		if err := os.WriteFile(file, []byte(strings.Replace(driftLab, "n1: {kind: linux}", "n1: {kind: linux, env: {COLOUR: red}}", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Deploy(ctx, api.DeployRequest{File: file, Network: sim.SwitchName, Policy: lab.PolicyAsk})
			return err
		})
		d.await("n1 to be made", func(l *api.Lab) bool { return l.Nodes[1].Actual == lab.NodePending })
		d.w.Unplug("alpha", driftLink)
		d.await("its drift", func(*api.Lab) bool {
			s, _ := d.e.Snapshot(context.Background())
			return slices.ContainsFunc(s.Events, func(ev *api.Event) bool { return strings.Contains(ev.Text, "came apart") })
		})
		d.stuck = nil
		d.await("the job's end", func(*api.Lab) bool {
			s, _ := d.e.Snapshot(context.Background())
			j := s.Jobs[len(s.Jobs)-1]
			if j.State.Ended() && j.State != lab.JobCompleted {
				d.Fatalf("%s\n%s", j.Error, describe(s))
			}
			return j.State.Ended()
		})
		d.await("whole again", func(l *api.Lab) bool { return whole(l) && d.asMade() })
	})
}

// With any other policy it is shown and left alone, over a crash, too, until
// somebody acts.
func TestDriftIsLeftAlone(t *testing.T) {
	for i, f := range drifts {
		policy := []lab.Policy{lab.PolicyReport, lab.PolicyAsk}[i%2]
		t.Run(f.name+", "+string(policy), func(t *testing.T) {
			drifting(t, policy, func(d *driver) {
				f.do(d.w)
				l := d.await("its drift", func(l *api.Lab) bool { return strings.Contains(driftIn(l, f.link).What, f.says) })
				if got := driftIn(l, f.link); !got.Held || got.Asks(l.Policy) != (policy == lab.PolicyAsk) {
					t.Errorf("%+v under %s", got, l.Policy)
				}
				if !f.link && l.State != lab.StateDegraded {
					t.Errorf("the lab is %s", l.State)
				}
				machine := d.w.Contents()
				if d.asMade() {
					t.Fatal("nothing has drifted")
				}
				time.Sleep(time.Second) // it is saved
				d.crash()
				d.await("the lab again", func(l *api.Lab) bool { return driftIn(l, f.link).Held })
				for range 600 { // ten minutes of looks at everything
					d.calmRound()
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if now := d.w.Contents(); !slices.Equal(now, machine) {
					t.Errorf("not left alone:\n%v\nbecame\n%v", machine, now)
				}
				d.ask1(func(ctx context.Context) error {
					_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha", Leave: true})
					return err
				})
				d.await("left", func(l *api.Lab) bool { g := driftIn(l, f.link); return g.Left && !g.Asks(l.Policy) })
				if i%3 == 0 { // by a policy, or by a wish
					d.ask1(func(ctx context.Context) error {
						return d.e.SetPolicy(ctx, api.PolicyRequest{Lab: "alpha", Policy: lab.PolicyEnforce})
					})
				} else {
					d.ask1(func(ctx context.Context) error {
						_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha"})
						return err
					})
				}
				d.await("whole again", func(l *api.Lab) bool { return whole(l) && d.asMade() })
			})
		})
	}
}

// What is joined or started though it is wanted otherwise is drift, too.
func TestDriftTheOtherWayRound(t *testing.T) {
	drifting(t, lab.PolicyReport, func(d *driver) {
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"n0"}, Verb: lab.JobStop})
			return err
		})
		d.await("stopped", func(l *api.Lab) bool { return l.Nodes[0].Actual == lab.NodeStopped })
		d.w.Restart(n0)
		d.await("its drift", func(l *api.Lab) bool {
			return l.Nodes[0].Actual == lab.NodeRunning && strings.Contains(l.Nodes[0].Drift.What, "started behind our back")
		})
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha"})
			return err
		})
		d.await("stopped again", func(l *api.Lab) bool {
			return l.Nodes[0].Actual == lab.NodeStopped && l.Nodes[0].Drift.What == ""
		})
	})
}

// What stands in a node's place is heard of though it was never started, and
// the one before it, whose end nobody has told, was.
func TestDriftOfANodeMadeAnew(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		set := func(v lab.JobVerb, ends lab.NodeState) {
			d.ask1(func(ctx context.Context) error {
				_, err := d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"n0"}, Verb: v})
				return err
			})
			d.await(string(ends), func(l *api.Lab) bool { return l.Nodes[0].Actual == ends })
		}
		set(lab.JobStop, lab.NodeStopped)
		d.w.Vanish(n0)
		d.mu.Lock()
		d.events = nil // lost
		d.mu.Unlock()
		d.refuses = func(c sim.Call) error {
			if c.Verb == "start" {
				return errors.New("not today")
			}
			return nil
		}
		set(lab.JobStart, lab.NodeError)
		set(lab.JobStop, lab.NodeStopped)
		d.w.Rename(n0, "foo")
		d.await("its drift said", func(l *api.Lab) bool { return strings.Contains(l.Nodes[0].Drift.What, "was renamed") })
		d.await("its name again", func(l *api.Lab) bool {
			return l.Nodes[0].Drift.What == "" && slices.Contains(d.w.Contents(), "node alpha/n0 running=false")
		})
	})
}

// One that is being made and is stopped meanwhile has its name again, too.
func TestDriftOfANodeThatIsWithdrawn(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		create := func(c sim.Call) bool { return c.Verb == "create" && c.On == "x" }
		await := func(is lab.NodeState) {
			d.await(string(is), func(l *api.Lab) bool { n := nodeOf(l, "x"); return n != nil && n.Actual == is })
		}
		set := func(v lab.JobVerb) {
			d.ask1(func(ctx context.Context) error {
				_, err := d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"x"}, Verb: v})
				return err
			})
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Edit(ctx, api.EditRequest{Lab: "alpha", AddNodes: []lab.Node{{Name: "x", Kind: "linux"}}})
			return err
		})
		await(lab.NodeRunning)
		set(lab.JobStop)
		await(lab.NodeStopped)
		d.refuses = func(c sim.Call) error {
			if create(c) {
				return errors.New("not today")
			}
			return nil
		}
		set(lab.JobStart)
		await(lab.NodeError)
		d.w.Rename(backends.NodeRef{Lab: "alpha", Node: "x"}, "foo")
		d.await("its name heard of", func(l *api.Lab) bool { return strings.Contains(nodeOf(l, "x").Identifier, "foo") })
		d.refuses, d.stuck = nil, create
		await(lab.NodePending)
		set(lab.JobStop)
		d.await("its name again", func(*api.Lab) bool { return slices.Contains(d.w.Contents(), "node alpha/x running=false") })
	})
}

// What comes right by itself is drift no more, whatever the policy.
func TestDriftThatPasses(t *testing.T) {
	drifting(t, lab.PolicyReport, func(d *driver) {
		d.w.Pause(n0, true, false)
		d.w.Rename(backends.NodeRef{Lab: "alpha", Node: "n1"}, "foo")
		d.await("both", func(l *api.Lab) bool { return l.Nodes[0].Drift.Held && l.Nodes[1].Drift.Held })
		d.w.Pause(n0, false, false)
		d.w.Rename(backends.NodeRef{Lab: "alpha", Node: "n1"}, "")
		l := d.await("neither", func(l *api.Lab) bool { return l.Nodes[0].Drift.What == "" && l.Nodes[1].Drift.What == "" })
		if !whole(l) {
			t.Errorf("the lab is %s", l.State)
		}
	})
}

// What only bears the lab's label is reported, and removed by nobody but gc.
func TestExtraIsReportedAndCollected(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		d.w.Stray(backends.NodeRef{Lab: "alpha", Node: "copy"})
		d.await("it to be reported", func(l *api.Lab) bool { return slices.Equal(l.Extra, []string{"copy"}) })
		if d.asMade() {
			t.Fatal("it is gone")
		}
		for _, remove := range []bool{false, true} {
			d.ask1(func(ctx context.Context) error {
				found, err := d.e.Strays(ctx, api.StraysRequest{Remove: remove})
				if err == nil && (len(found.Found) != 1 || found.Found[0].Name != "copy" || found.Found[0].Removed != remove) {
					t.Errorf("remove=%v: %+v", remove, found)
				}
				return err
			})
		}
		d.await("it to be gone", func(l *api.Lab) bool { return len(l.Extra) == 0 && d.asMade() })
	})
}

// Tries come later and later, rest for the cool-down after ten, and are
// forgotten once the node has been well for a minute. The node says all of it.
func TestTriesBackOffRestAndAreForgotten(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		var at []time.Time
		for len(at) < 12 {
			d.await("it to run", func(l *api.Lab) bool { return l.Nodes[0].Actual == lab.NodeRunning })
			d.w.Kill(n0, "killed")
			l := d.await("it to have ended", func(l *api.Lab) bool { return l.Nodes[0].Actual == lab.NodeStopped })
			n := l.Nodes[0]
			if n.Retries != len(at)+1 || n.Error != "ended by itself: killed" {
				t.Fatalf("try %d: the node says %d, %q", len(at)+1, n.Retries, n.Error)
			}
			wait := time.Until(n.RetryAt)
			want := min(time.Minute, time.Second<<len(at))
			switch len(at) {
			case 9:
				want = 5 * time.Minute
			case 10, 11:
				want = time.Second << (len(at) - 10)
			}
			if wait < want*3/4 || wait > want*5/4 {
				t.Errorf("after try %d: next in %s, want about %s", len(at)+1, wait, want)
			}
			at = append(at, time.Now())
		}
		d.await("it to be forgotten", func(l *api.Lab) bool { return l.Nodes[0].Actual == lab.NodeRunning && l.Nodes[0].Retries == 0 })
		if since := time.Since(at[len(at)-1]); since < time.Minute {
			t.Errorf("forgotten after %s", since)
		}
	})
}

func wired(w *sim.World, labName, id string) bool {
	st, _ := w.Wire(labName, id)
	return st.Connected
}

// An interface whose link is not wired yet, since its peer is not there, is a
// node's all the same: that it is removed is drift, of which only a look tells.
func TestDriftOfAnIsolatedInterface(t *testing.T) {
	for _, policy := range []lab.Policy{lab.PolicyEnforce, lab.PolicyReport} {
		drifting(t, policy, func(d *driver) {
			port := "port alpha/n0:eth2"
			has := func(*api.Lab) bool { return slices.Contains(d.w.Contents(), port) }
			lost := func(l *api.Lab) bool {
				return strings.Contains(l.Links[1].Drift.What, "n0:eth2 was removed behind our back")
			}
			d.refuses = func(c sim.Call) error {
				if c.Verb == "create" && c.On == "n2" {
					return errors.New("not today")
				}
				return nil
			}
			file := filepath.Join(d.dir, "alpha.clab.yml")
			text := strings.NewReplacer("n1: {kind: linux}}", "n1: {kind: linux}, n2: {kind: linux}}",
				`"n1:eth1"]}]`, `"n1:eth1"]}, {endpoints: ["n0:eth2", "n2:eth1"]}]`).Replace(driftLab)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			d.ask1(func(ctx context.Context) error {
				_, err := d.e.Deploy(ctx, api.DeployRequest{File: file})
				return err
			})
			d.await("an isolated interface", has)
			d.w.Pluck("alpha", "n0:eth2")
			if policy == lab.PolicyReport {
				l := d.await("its drift", lost)
				if !l.Links[1].Drift.Held || has(nil) {
					t.Errorf("not left alone: %+v", l.Links[1].Drift)
				}
				d.ask1(func(ctx context.Context) error {
					_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha"})
					return err
				})
			}
			d.await("the interface again", func(l *api.Lab) bool { return has(l) && l.Links[1].Drift.What == "" })
			d.await("the job done", func(*api.Lab) bool {
				s, _ := d.e.Snapshot(context.Background())
				at := slices.IndexFunc(s.Jobs, func(j *api.Job) bool { return j.Verb == lab.JobMend })
				return policy == lab.PolicyEnforce || at >= 0 && s.Jobs[at].State == lab.JobCompleted
			})
			d.refuses = nil
			d.await("the link", func(l *api.Lab) bool { return l.Links[1].Actual == lab.LinkUp })
		})
	}
}

// away does something to the world while no engine runs: nobody hears of it.
func (d *driver) away(do func(*sim.World)) {
	d.Helper()
	time.Sleep(time.Second) // what has come about is saved
	synctest.Wait()
	do(d.w)
	d.mu.Lock()
	d.events = nil
	d.mu.Unlock()
	d.crash()
}

// What somebody does to a link while no engine runs is drift as well: the next
// engine says so, and sets it right where it may.
func TestDriftOfALinkWhileNoEngineRan(t *testing.T) {
	cut := func(d *driver) {
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetLink(ctx, api.LinkRequest{Lab: "alpha", A: lab.Endpoint{Node: "n0", Interface: "eth1"},
				B: lab.Endpoint{Node: "n1", Interface: "eth1"}, Wish: lab.WishDown})
			return err
		})
		d.await("it cut", func(l *api.Lab) bool { return l.Links[0].Actual == lab.LinkDown })
	}
	for _, f := range []struct {
		name, says string
		cut        bool
		do         func(*sim.World)
	}{
		{"unplugged", "came apart while no engine ran: an interface of it was removed", false, func(w *sim.World) { w.Unplug("alpha", driftLink) }},
		{"cut", "came apart while no engine ran", false, func(w *sim.World) { w.Sever("alpha", driftLink) }},
		{"mistagged", "different tags", false, func(w *sim.World) { w.Mistag("alpha", driftLink) }},
		{"joined", "was joined while no engine ran", true, func(w *sim.World) { w.Join("alpha", driftLink) }},
	} {
		for _, policy := range lab.Policies() {
			t.Run(f.name+", "+string(policy), func(t *testing.T) {
				drifting(t, policy, func(d *driver) {
					if f.cut {
						cut(d)
					}
					d.away(f.do)
					machine := d.w.Contents()
					if policy != lab.PolicyEnforce {
						l := d.await("its drift", func(l *api.Lab) bool { return l.Links[0].Drift.Held })
						if got := l.Links[0].Drift; !strings.Contains(got.What, f.says) || got.Asks(policy) != (policy == lab.PolicyAsk) {
							t.Errorf("%+v under %s", got, policy)
						}
						d.crash()
						d.await("its drift after one more start", func(l *api.Lab) bool { return l.Links[0].Drift.Held })
						for range 120 {
							d.calmRound()
							time.Sleep(time.Second)
							synctest.Wait()
						}
						if now := d.w.Contents(); !slices.Equal(now, machine) {
							t.Errorf("not left alone:\n%v\nbecame\n%v", machine, now)
						}
						d.ask1(func(ctx context.Context) error {
							_, err := d.e.SetDrift(ctx, api.DriftRequest{Lab: "alpha"})
							return err
						})
					}
					d.await("it to be said, and set right", func(l *api.Lab) bool {
						s, _ := d.e.Snapshot(context.Background())
						return (l.Links[0].Actual == lab.LinkUp) != f.cut && wired(d.w, "alpha", driftLink) != f.cut && l.Links[0].Drift.What == "" &&
							slices.ContainsFunc(s.Events, func(ev *api.Event) bool { return strings.Contains(ev.Text, f.says) })
					})
				})
			})
		}
	}
}

// What a job was about to do when its engine ended looks like drift, and is none:
// it goes on, and nobody is asked.
func TestAJobThatWasInterruptedIsNoDrift(t *testing.T) {
	drifting(t, lab.PolicyReport, func(d *driver) {
		d.stuck = func(c sim.Call) bool { return c.Verb == "stop" }
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetNodes(ctx, api.NodesRequest{Lab: "alpha", Nodes: []string{"n0"}, Verb: lab.JobRestart})
			return err
		})
		d.stuck = nil
		d.w.Kill(n0, "as it was asked to, of which nobody hears any more")
		d.w.Unplug("alpha", driftLink)
		d.mu.Lock()
		d.events = nil
		d.mu.Unlock()
		d.crash()
		d.await("all up again", func(l *api.Lab) bool { return whole(l) && d.asMade() })
	})
}
