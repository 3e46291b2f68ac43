package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
	"archetype/vendors"
)

const pair = `
name: pair
topology:
  nodes:
    r1: {kind: linux}
    r2: {kind: linux}
  links:
    - endpoints: ["r1:eth1", "r2:eth1"]
`

const pairLink = "r1:eth1|r2:eth1"

var r1 = backends.NodeRef{Lab: "pair", Node: "r1"}

func TestDeployRunsNodesAndWiresLinksBeforeTheyBoot(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	n := b.node("r1", lab.NodeRunning)
	if n.PID == 0 || n.Progress != 100 {
		t.Errorf("pid %d, progress %d", n.PID, n.Progress)
	}
	if l := b.link(lab.LinkUp); l.Carrier != lab.CarrierOn {
		t.Errorf("carrier %s", l.Carrier)
	}
	at := func(call string) int { return slices.Index(b.w.calls, call) }
	if at("connect "+pairLink) > at("start r1") || at("connect "+pairLink) > at("start r2") {
		t.Errorf("a node was started before its link was there: %v", b.w.calls)
	}
}

// Whoever waited for a deploy finds the nodes' processes and addresses, also
// where the news of them come late.
func TestDeployIsDoneWhenItsNodesWereHeardOf(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.hushed = true })
	id := b.deploy(pair).Job.ID
	job := func(s *api.Snapshot) *api.Job {
		return s.Jobs[slices.IndexFunc(s.Jobs, func(j *api.Job) bool { return j.ID == id })]
	}
	pids := func(s *api.Snapshot) (out []int) {
		for _, n := range s.Lab("pair").Nodes {
			out = append(out, n.PID)
		}
		return out
	}
	b.until("both running", func(s *api.Snapshot) bool {
		l := s.Lab("pair")
		running := l != nil && len(l.Nodes) == 2 && l.Nodes[0].Actual == lab.NodeRunning && l.Nodes[1].Actual == lab.NodeRunning
		if running && job(s).State.Ended() {
			t.Errorf("the deploy is %s while the nodes' processes are %v", job(s).State, pids(s))
		}
		return running
	})
	b.w.tellAll()
	b.until("the deploy's end", func(s *api.Snapshot) bool {
		if job(s).State != lab.JobCompleted {
			return false
		}
		if slices.Contains(pids(s), 0) {
			t.Errorf("the deploy is completed and the nodes' processes are %v", pids(s))
		}
		return true
	})
}

func TestDestroyLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	labs := filepath.Join(b.dir, "labs")
	if err := os.MkdirAll(filepath.Join(labs, "pair", ".logs"), 0o700); err != nil { // of a node that ended in its making
		t.Fatal(err)
	}
	b.w.set(func() { b.w.links["pair/x1:eth1|x2:eth1"] = &simLink{net: "linuxbridge"} }) // of a move to it that was interrupted
	j, err := b.e.Destroy(t.Context(), "pair")
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	b.until("no lab", func(s *api.Snapshot) bool { return len(s.Labs) == 0 })
	if left := b.w.what(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(labs); !os.IsNotExist(err) {
		t.Errorf("the folder of labs: %v", err)
	}
	if !b.e.Idle() {
		t.Error("the engine thinks it still has a lab")
	}
	b.completed(b.deploy(pair).Job) // and the name is free again
}

// A destruction comes forward with every node that goes, and says what it
// waits for to the end.
func TestDestroyNamesWhatItWaitsFor(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	node, clean := make(chan struct{}), make(chan struct{})
	b.w.set(func() { b.w.hold["remove r1"], b.w.hold["cleanup pair"] = node, clean })
	j, err := b.e.Destroy(t.Context(), "pair")
	if err != nil {
		t.Fatal(err)
	}
	waits := func(text string, done int) {
		t.Helper()
		b.until("the job to wait for "+text, func(s *api.Snapshot) bool {
			return slices.ContainsFunc(s.Jobs, func(now *api.Job) bool {
				return now.ID == j.ID && now.Text == text && now.Done == done && now.Total == 3
			})
		})
	}
	waits("r1", 1)
	close(node)
	waits("the clean-up of what the nodes shared", 2)
	close(clean)
	b.completed(j)
}

func TestStopDuringBootIsServed(t *testing.T) {
	b := newBench(t)
	b.w.silent["r1"] = true
	b.deploy(pair)
	b.node("r1", lab.NodeStarting)
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobStop})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	b.node("r1", lab.NodeStopped)
	b.node("r2", lab.NodeRunning)
}

func TestStopWhileItIsBeingMadeWithdrawsTheStart(t *testing.T) {
	b := newBench(t)
	b.w.hold["create r1"] = make(chan struct{}) // never let go: only a cancel ends it
	b.deploy(pair)
	b.node("r1", lab.NodePending)
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobStop})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	if b.w.count("start r1") > 0 {
		t.Error("started all the same")
	}
}

func TestStartWhileStoppingIsRemembered(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	release := make(chan struct{})
	b.w.set(func() { b.w.hold["stop r1"] = release })
	if _, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobStop}); err != nil {
		t.Fatal(err)
	}
	b.node("r1", lab.NodeStopping)
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobStart})
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	b.completed(j)
	if got := b.w.count("start r1"); got != 2 {
		t.Errorf("started %d times", got)
	}
}

func TestRestartKeepsLinks(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	first := b.node("r1", lab.NodeRunning).PID
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r1"}, Verb: lab.JobRestart})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	if n := b.node("r1", lab.NodeRunning); n.PID == first {
		t.Error("it is the same process")
	}
	if b.w.count("connect") != 1 || b.w.count("delete") != 0 || b.w.count("remove") != 0 {
		t.Errorf("links were touched: %v", b.w.calls)
	}
}

func TestCutAndJoin(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	a, z := lab.Endpoint{Node: "r1", Interface: "eth1"}, lab.Endpoint{Node: "r2", Interface: "eth1"}
	j, err := b.e.SetLink(t.Context(), api.LinkRequest{Lab: "pair", A: z, B: a, Wish: lab.WishDown})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	if l := b.link(lab.LinkDown); l.Carrier != lab.CarrierOff {
		t.Errorf("carrier %s on a cut link", l.Carrier)
	}
	b.crash() // a cut cable stays cut
	b.link(lab.LinkDown)
	if j, err = b.e.SetLink(t.Context(), api.LinkRequest{Lab: "pair", A: a, B: z, Wish: lab.WishUp}); err != nil {
		t.Fatal(err)
	}
	b.completed(j)
	b.link(lab.LinkUp)
	_, err = b.e.SetLink(t.Context(), api.LinkRequest{Lab: "pair", A: a, B: a, Wish: lab.WishDown})
	if api.CodeOf(err) != api.CodeNotFound || !strings.Contains(err.Error(), "r1:eth1 -- r2:eth1") {
		t.Errorf("a link that is not there: %v", err)
	}
}

func TestNodeThatDiesIsStartedAgain(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.w.kill(r1, "killed by signal 9")
	b.saidSomewhere("killed by signal 9")
	b.until("r1 running again", func(s *api.Snapshot) bool {
		return b.w.count("start r1") == 2 && s.Labs[0].Nodes[0].Actual == lab.NodeRunning
	})
}

func TestNodeThatIsRemovedIsMadeAgainWithItsLinks(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.w.vanish(r1)
	b.saidSomewhere("removed behind our back")
	b.until("all as before", func(s *api.Snapshot) bool {
		l := s.Labs[0]
		return b.w.count("connect") == 2 && l.Nodes[0].Actual == lab.NodeRunning && l.Links[0].Actual == lab.LinkUp
	})
}

func TestLinkThatVanishesIsWiredAgain(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.w.unplug("pair", pairLink)
	b.until("wired again", func(s *api.Snapshot) bool {
		return b.w.count("connect") == 2 && s.Labs[0].Links[0].Actual == lab.LinkUp
	})
}

// News that a network noticed while a link was being made, and that come when
// it is long made, are no reason to make it again.
func TestLateNewsOfALinkAreNotBelieved(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.link(lab.LinkUp)
	b.w.late("pair", pairLink, backends.LinkStatus{Carrier: lab.CarrierOff, Reason: "cut"})
	b.w.late("pair", pairLink, backends.LinkStatus{Carrier: lab.CarrierOff, Gone: true})
	// The last ones are true, so those before have been dealt with.
	b.w.set(func() { b.w.links["pair/"+pairLink].vlan = 7 })
	b.w.late("pair", pairLink, backends.LinkStatus{Connected: true, Carrier: lab.CarrierOn, VLAN: 7})
	b.until("the last news", func(s *api.Snapshot) bool {
		l := s.Labs[0].Links[0]
		if l.Actual != lab.LinkUp || l.Carrier != lab.CarrierOn {
			t.Fatalf("the link is %s, carrier %s", l.Actual, l.Carrier)
		}
		return l.VLAN == 7
	})
	if n := b.w.count("connect " + pairLink); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

func TestNodeThatCannotRunLeavesTheOthersRunning(t *testing.T) {
	b := newBench(t)
	b.w.fail["create r2"] = fmt.Errorf("zebra is missing: install the package frr: %w", backends.ErrUnavailable)
	j := b.ended(b.deploy(pair).Job)
	if j.State != lab.JobFailed || !strings.Contains(j.Error, "install the package frr") {
		t.Errorf("job %s: %s", j.State, j.Error)
	}
	b.node("r1", lab.NodeRunning)
	b.node("r2", lab.NodeError)
	if b.w.count("provision r1:eth1") != 1 {
		t.Error("r1 booted without its interface")
	}
	if l := b.link(lab.LinkPending); !strings.Contains(l.Error, "r2") {
		t.Errorf("the link does not say what it waits for: %q", l.Error)
	}
	if b.snap.Labs[0].State != lab.StateDegraded {
		t.Errorf("lab is %s", b.snap.Labs[0].State)
	}
	// Once the reason is gone, a start serves it, link included.
	b.w.set(func() { delete(b.w.fail, "create r2") })
	s, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r2"}, Verb: lab.JobStart})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(s)
	b.link(lab.LinkUp)
}

func TestPassingFailureIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.w.fail["start r1"] = errors.New("the machine is busy")
	d := b.deploy(pair)
	b.node("r1", lab.NodeError)
	b.w.set(func() { delete(b.w.fail, "start r1") })
	b.completed(d.Job)
}

func TestBootThatTakesTooLongIsExplained(t *testing.T) {
	b := newBench(t)
	b.stop()
	b.dir = t.TempDir()
	dir := filepath.Join(b.dir, "vendors")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	kind := "name: sleepy\nproviders: [netns]\nreadiness: {probe: log, pattern: 'login:', timeout: 300ms}\n"
	if err := os.WriteFile(filepath.Join(dir, "sleepy.yaml"), []byte(kind), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds, warn, err := vendors.Load(dir)
	if err != nil || len(warn) > 0 {
		t.Fatal(err, warn)
	}
	st, err := store.Open(filepath.Join(b.dir, "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reg := &backends.Registry{}
	reg.AddProvider(simProvider{b.w})
	reg.AddNetwork(simNetwork{b.w, "veth"})
	reg.AddNetwork(simNetwork{b.w, "linuxbridge"})
	b.e, err = engine.New(t.Context(), engine.Options{Store: st, Backends: reg, Vendors: kinds,
		Defaults: engine.Defaults{Provider: "netns", Network: "veth"}})
	if err != nil {
		t.Fatal(err)
	}
	b.st = st
	b.upd, _ = b.e.Watch(context.Background())
	b.deploy("name: pair\ntopology: {nodes: {r1: {kind: sleepy}}}\n")
	n := b.node("r1", lab.NodeError)
	for _, want := range []string{"login:", "archetype-init: ready"} {
		if !strings.Contains(n.Error, want) {
			t.Errorf("the error does not mention %q: %s", want, n.Error)
		}
	}
}

func TestEngineThatDiesInTheMiddleConverges(t *testing.T) {
	for _, at := range []string{"create r1", "create r2", "connect " + pairLink, "start r1", "start r2"} {
		t.Run(at, func(t *testing.T) {
			b := newBench(t)
			hold := make(chan struct{})
			b.w.hold[at] = hold
			d := b.deploy(pair)
			b.until("the held call", func(*api.Snapshot) bool { return b.w.count(at) > 0 })
			b.stop()
			b.w.set(func() { delete(b.w.hold, at) })
			b.start()
			b.completed(d.Job)
			b.until("all running", func(s *api.Snapshot) bool {
				return s.Labs[0].State == lab.StateRunning && s.Labs[0].Links[0].Actual == lab.LinkUp
			})
		})
	}
}

func TestLabIsRebuiltWhenTheStoreIsGone(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(strings.Replace(pair, "\n", "\nprefix: __lab-name\nmgmt: {network: side, mtu: 1400}\n", 1)).Job)
	pid, made := b.node("r1", lab.NodeRunning).PID, b.config(r1)
	b.stop()
	if err := os.Remove(filepath.Join(b.dir, "db")); err != nil {
		t.Fatal(err)
	}
	b.start()
	s := b.until("the lab", func(s *api.Snapshot) bool {
		return len(s.Labs) == 1 && s.Labs[0].State == lab.StateRunning && len(s.Labs[0].Links) == 1 &&
			s.Labs[0].Links[0].Actual == lab.LinkUp
	})
	if s.Labs[0].Nodes[0].PID != pid {
		t.Error("the node was started anew")
	}
	if b.w.count("start") != 2 || b.w.count("connect") != 1 {
		t.Errorf("something was done again: %v", b.w.calls)
	}
	// What the file says of the whole lab counts as before.
	b.completed(b.restart("r1"))
	again := b.config(r1)
	again.Kind, again.Progress, made.Kind, made.Progress = nil, nil, nil, nil
	if !reflect.DeepEqual(again, made) {
		t.Errorf("it is made anew from\n%+v\nand was from\n%+v", again, made)
	}
}

const changed = `
name: pair
topology:
  nodes:
    r1: {kind: linux}
    r2: {kind: linux, env: {A: "1"}}
    r3: {kind: linux}
  links:
    - endpoints: ["r2:eth2", "r3:eth1"]
`

func TestDeployOfAChangedFileAppliesOnlyTheDifference(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	pid := b.node("r1", lab.NodeRunning).PID
	d := b.deploy(changed)
	b.completed(d.Job)
	p := d.Plan
	if !slices.Equal(p.NodesAdded, []string{"r3"}) || p.NodesUnchanged != 1 || len(p.NodesChanged) != 1 ||
		p.NodesChanged[0].Name != "r2" || !slices.Equal(p.NodesChanged[0].Fields, []string{"env"}) ||
		len(p.LinksAdded) != 1 || len(p.LinksRemoved) != 1 {
		t.Errorf("plan %+v", p)
	}
	s := b.until("new links", func(s *api.Snapshot) bool { return len(s.Labs[0].Links) == 1 })
	if s.Labs[0].Nodes[0].PID != pid {
		t.Error("an unchanged node was touched")
	}
	if b.w.count("remove") != 0 {
		t.Error("a changed node lost its interfaces")
	}
	want := []string{"link pair/r2:eth2|r3:eth1 connected=true", "node pair/r1 running=true",
		"node pair/r2 running=true", "node pair/r3 running=true"}
	if got := b.w.what(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	again := b.deploy(changed)
	if !again.Plan.Empty() {
		t.Errorf("the same file again: %+v", again.Plan)
	}
	b.completed(again.Job)
	d = b.deploy(pair)
	b.completed(d.Job)
	if !slices.Equal(d.Plan.NodesRemoved, []string{"r3"}) {
		t.Errorf("plan %+v", d.Plan)
	}
	b.until("r3 gone", func(s *api.Snapshot) bool { return len(s.Labs[0].Nodes) == 2 && len(s.Labs[0].Links) == 1 })
}

func TestCancelledDeployStopsWhereItIs(t *testing.T) {
	b := newBench(t)
	b.w.silent["r2"] = true
	d := b.deploy(pair)
	b.node("r1", lab.NodeRunning)
	b.node("r2", lab.NodeStarting)
	if err := b.e.CancelJob(t.Context(), d.Job.ID); err != nil {
		t.Fatal(err)
	}
	if j := b.ended(d.Job); j.State != lab.JobCancelled {
		t.Errorf("job is %s", j.State)
	}
	b.node("r2", lab.NodeStopped)
	b.node("r1", lab.NodeRunning)
	if err := b.e.CancelJob(t.Context(), d.Job.ID); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("cancelled twice: %v", err)
	}
}

func TestBadFileTouchesNothing(t *testing.T) {
	b := newBench(t)
	_, err := b.e.Deploy(t.Context(), api.DeployRequest{File: b.file("name: x\ntopology:\n  nodes:\n    a: {knd: linux}\n")})
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeBadFile || len(e.Diagnostics) == 0 || e.Diagnostics[0].Line != 4 {
		t.Errorf("%#v", err)
	}
	if len(b.w.what()) > 0 || !b.e.Idle() {
		t.Error("something was made")
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	_, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r9"}, Verb: lab.JobStart})
	if api.CodeOf(err) != api.CodeNotFound || !strings.Contains(err.Error(), "r1, r2") {
		t.Errorf("unknown node: %v", err)
	}
	if _, err = b.e.Destroy(t.Context(), "nope"); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("unknown lab: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.clab.yml")
	if err := os.WriteFile(other, []byte(pair), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = b.e.Deploy(t.Context(), api.DeployRequest{File: other}); api.CodeOf(err) != api.CodeConflict {
		t.Errorf("another file with the same name: %v", err)
	}
	if _, err = b.e.Deploy(t.Context(), api.DeployRequest{File: b.file(strings.Replace(pair, "pair", "two", 1)), Network: "ovs"}); api.CodeOf(err) != api.CodeUsage {
		t.Errorf("a network that is not there: %v", err)
	}
	// What is there already is left alone, and the job says so by being done.
	j, err := b.e.SetNodes(t.Context(), api.NodesRequest{Lab: "pair", Verb: lab.JobStart})
	if err != nil || j.State != lab.JobCompleted || j.Total != 0 {
		t.Errorf("start of a running lab: %+v, %v", j, err)
	}
}
