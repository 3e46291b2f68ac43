package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

const chain = `name: chain
topology:
  nodes:
    a: {kind: linux}
    b: {kind: linux}
    c: {kind: linux}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - endpoints: ["b:eth2", "c:eth1"]
`

func end(s string) lab.Endpoint {
	e, err := lab.ParseEndpoint(s)
	if err != nil {
		panic(err)
	}
	return e
}

func (b *bench) done(j *api.Job, err error) *api.Job {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	j = b.ended(j)
	if j.State != lab.JobCompleted {
		b.Fatalf("job %s %s: %s", j.Verb, j.State, j.Error)
	}
	return j
}

func (b *bench) cable(x, y string, wish lab.LinkWish) (*api.Job, error) {
	return b.e.SetLink(b.Context(), api.LinkRequest{Lab: "chain", A: end(x), B: end(y), Wish: wish})
}

func TestCableMovesToAnotherPeer(t *testing.T) {
	b := newBench(t)
	b.done(b.deploy(chain).Job, nil)
	if _, err := b.cable("a:eth1", "c:eth5", lab.WishUp); api.CodeOf(err) != api.CodeConflict {
		t.Fatalf("an end in use can be connected elsewhere: %v", err)
	}
	b.done(b.cable("a:eth1", "b:eth1", lab.WishDown))
	b.w.set(func() { b.w.calls = nil })
	b.done(b.cable("a:eth1", "c:eth5", lab.WishUp))
	want := []string{"link chain/a:eth1|c:eth5 connected=true", "link chain/b:eth2|c:eth1 connected=true",
		"node chain/a running=true", "node chain/b running=true", "node chain/c running=true"}
	if got := b.w.what(); !slices.Equal(got, want) {
		t.Errorf("there is\n%s", strings.Join(got, "\n"))
	}
	if n := b.w.count("start"); n != 0 {
		t.Errorf("%d nodes were started again", n)
	}
	b.crash()
	b.until("the moved cable after a crash", func(s *api.Snapshot) bool {
		l := s.Lab("chain")
		return l != nil && len(l.Links) == 2 && l.State == lab.StateRunning &&
			!slices.ContainsFunc(l.Links, func(k *api.Link) bool { return k.Actual != lab.LinkUp })
	})
	if got := b.w.what(); !slices.Equal(got, want) {
		t.Errorf("after a crash there is\n%s", strings.Join(got, "\n"))
	}
}

func TestNodesComeAndGoWhileTheLabRuns(t *testing.T) {
	b := newBench(t)
	b.done(b.deploy(chain).Job, nil)
	add := func(n lab.Node) error {
		j, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "chain", AddNodes: []lab.Node{n}})
		if err == nil {
			b.done(j, nil)
		}
		return err
	}
	for name, n := range map[string]lab.Node{"name": {Name: "no_good!", Kind: "linux"}, "kind": {Name: "d", Kind: "linus"},
		"twice": {Name: "a", Kind: "linux"}, "provider": {Name: "d", Kind: "linux", Provider: "none"}} {
		if add(n) == nil {
			t.Errorf("a bad node was taken: %s", name)
		}
	}
	if err := add(lab.Node{Name: "d", Kind: "linux"}); err != nil {
		t.Fatal(err)
	}
	b.done(b.cable("d:eth1", "c:eth9", lab.WishUp))
	b.done(b.e.Edit(b.Context(), api.EditRequest{Lab: "chain", RemoveNodes: []string{"b"}}))
	want := []string{"link chain/c:eth9|d:eth1 connected=true",
		"node chain/a running=true", "node chain/c running=true", "node chain/d running=true"}
	if got := b.w.what(); !slices.Equal(got, want) {
		t.Errorf("there is\n%s", strings.Join(got, "\n"))
	}
	if _, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "chain", RemoveNodes: []string{"a", "c", "d"}}); err == nil {
		t.Error("the last node was removed")
	}
}

func (b *bench) impairment(id string) (out [2]lab.Impairment) {
	b.w.set(func() {
		if l := b.w.links["chain/"+id]; l != nil {
			out = l.impair
		}
	})
	return out
}

func TestImpairmentOutlivesCutRewiringAndCrash(t *testing.T) {
	b := newBench(t)
	b.done(b.deploy(chain).Job, nil)
	slow, lossy := lab.Impairment{Delay: 20 * time.Millisecond}, lab.Impairment{Loss: 1.5}
	const id = "a:eth1|b:eth1"
	b.done(b.e.Impair(b.Context(), api.ImpairRequest{Lab: "chain", A: end("b:eth1"), B: end("a:eth1"), FromA: &lossy, FromB: &slow}))
	want := [2]lab.Impairment{slow, lossy}
	if got := b.impairment(id); got != want {
		t.Fatalf("impaired by %v", got)
	}
	again := func() {
		t.Helper()
		n := b.w.count("impair")
		b.until("the impairment again", func(*api.Snapshot) bool { return b.impairment(id) == want && b.w.count("impair") >= n })
	}
	b.done(b.cable("a:eth1", "b:eth1", lab.WishDown))
	b.done(b.cable("a:eth1", "b:eth1", lab.WishUp))
	again()
	b.w.unplug("chain", id)
	b.until("it wired again", func(s *api.Snapshot) bool {
		return slices.ContainsFunc(s.Events, func(e *api.Event) bool { return strings.Contains(e.Text, "behind our back") }) &&
			s.Lab("chain").Links[0].Actual == lab.LinkUp
	})
	again()
	b.w.set(func() { b.w.links["chain/"+id].impair = [2]lab.Impairment{} })
	b.crash()
	b.until("the lab", func(s *api.Snapshot) bool { return s.Lab("chain") != nil })
	again()

	b.w.set(func() { b.w.fail["impair "+id] = backends.ErrUnsupported })
	j, err := b.e.Impair(b.Context(), api.ImpairRequest{Lab: "chain", A: end("a:eth1"), B: end("b:eth1"), FromA: &lossy})
	if err != nil {
		t.Fatal(err)
	}
	if j = b.ended(j); j.State != lab.JobFailed || !strings.Contains(j.Error, "not supported") {
		t.Errorf("what the kernel cannot do ended as %s: %s", j.State, j.Error)
	}
	if l := b.snap.Lab("chain").Links[0]; l.Actual != lab.LinkUp || l.Error == "" {
		t.Errorf("the link is %s with error %q", l.Actual, l.Error)
	}
}

// TestImpairmentOutlivesAStart where that takes it away, as libvirt's does: at
// the first one, which comes after the links, and at a later one.
func TestImpairmentOutlivesAStart(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.clears = true })
	slow := lab.Impairment{Rate: 5_000_000}
	b.done(b.deploy(strings.Replace(chain, `- endpoints: ["a:eth1", "b:eth1"]`,
		`- {type: veth, impair: {rate: 5mbit}, endpoints: [{node: a, interface: eth1}, {node: b, interface: eth1}]}`, 1)).Job, nil)
	impaired := func(*api.Snapshot) bool { return b.impairment("a:eth1|b:eth1") == [2]lab.Impairment{slow, slow} }
	b.until("the impairment after the deploy", func(s *api.Snapshot) bool { return s.Lab("chain").State == lab.StateRunning && impaired(s) })
	b.done(b.e.SetNodes(b.Context(), api.NodesRequest{Lab: "chain", Nodes: []string{"b"}, Verb: lab.JobRestart}))
	b.until("the impairment after a restart", impaired)
}

// A node that somebody else starts is heard of as running: where that takes its
// interfaces elsewhere, its links are looked at where they are now, whole or not,
// and given again what they suffer.
func TestLinksOfANodeThatIsFoundRunning(t *testing.T) {
	const id = "a:eth1|b:eth1"
	slow := lab.Impairment{Rate: 5_000_000}
	text := strings.NewReplacer("a: {kind: linux}", "a: {kind: linux, provider: docker}", `- endpoints: ["a:eth1", "b:eth1"]`,
		`- {type: veth, impair: {rate: 5mbit}, endpoints: [{node: a, interface: eth1}, {node: b, interface: eth1}]}`).Replace(chain)
	for _, lost := range []bool{false, true} {
		b := &bench{T: t, w: newWorld(), dir: t.TempDir(), look: time.Hour} // nothing but the news tells of it
		b.start()
		t.Cleanup(b.stop)
		b.done(b.deploy(text).Job, nil)
		impaired := func(*api.Snapshot) bool { return b.impairment(id) == [2]lab.Impairment{slow, slow} }
		b.until("the impairment", impaired)
		b.done(b.e.SetNodes(b.Context(), api.NodesRequest{Lab: "chain", Nodes: []string{"a"}, Verb: lab.JobStop}))
		connects := b.w.count("connect " + id)
		b.w.startBehind(backends.NodeRef{Lab: "chain", Node: "a"}, lost)
		b.saidSomewhere("was started behind our back")
		b.until("the link whole where it is now", func(s *api.Snapshot) bool {
			return (!lost || b.w.count("connect "+id) > connects) && s.Lab("chain").Links[0].Actual == lab.LinkUp && impaired(s)
		})
	}
}

func (b *bench) networks() (out []string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for id, l := range b.w.links {
		if !l.connected {
			id += " CUT"
		}
		out = append(out, strings.TrimPrefix(id, "chain/")+" "+l.net)
	}
	slices.Sort(out)
	return out
}

func TestSwapMovesAllLinksOrNone(t *testing.T) {
	b := newBench(t)
	b.done(b.deploy(chain).Job, nil)
	swap := func(to string) (*api.Job, error) {
		return b.e.SetNetwork(b.Context(), api.NetworkRequest{Lab: "chain", Network: to})
	}
	b.w.set(func() { b.w.fail["linuxbridge connect b:eth2|c:eth1"] = errors.New("no room") })
	j, err := swap("linuxbridge")
	if err != nil {
		t.Fatal(err)
	}
	if j = b.ended(j); j.State != lab.JobFailed || !strings.Contains(j.Error, "no room") {
		t.Errorf("a swap that the target refused ended as %s: %s", j.State, j.Error)
	}
	before := []string{"a:eth1|b:eth1 veth", "b:eth2|c:eth1 veth"}
	b.until("all links back", func(s *api.Snapshot) bool {
		return s.Lab("chain").Network == "veth" && slices.Equal(b.networks(), before)
	})
	b.w.set(func() { clear(b.w.fail) })
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["linuxbridge connect b:eth2|c:eth1"] = hold })
	if j, err = swap("linuxbridge"); err != nil {
		t.Fatal(err)
	}
	b.until("the swap half-way", func(*api.Snapshot) bool { return b.w.count("linuxbridge connect b:eth2|c:eth1") > 0 })
	if again, err := swap("linuxbridge"); err != nil || again.ID != j.ID || !again.Created.Equal(j.Created) {
		t.Errorf("asked again on the way: %+v, %v; the job under way is %s", again, err, j.ID)
	}
	if _, err := swap("veth"); api.CodeOf(err) != api.CodeConflict || !strings.Contains(err.Error(), j.ID) {
		t.Errorf("asked to go elsewhere on the way: %v", err)
	}
	b.stop()
	b.w.set(func() { clear(b.w.hold) })
	b.start()
	after := []string{"a:eth1|b:eth1 linuxbridge", "b:eth2|c:eth1 linuxbridge"}
	b.until("all links moved after a crash in the middle", func(s *api.Snapshot) bool {
		return s.Lab("chain") != nil && s.Lab("chain").Network == "linuxbridge" && slices.Equal(b.networks(), after) &&
			!slices.ContainsFunc(s.Jobs, func(j *api.Job) bool { return !j.State.Ended() })
	})
	if n := b.w.count("stop "); n > 0 {
		t.Errorf("%d nodes were stopped", n)
	}
}

// What makes no difference on a node that is added is said, as it is of a file.
func TestAnAddedNodesWarningsAreSaid(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.done(b.e.Edit(t.Context(), api.EditRequest{Lab: "pair", AddTexts: []api.NodeText{
		{Name: "h", Folder: t.TempDir(), Fields: []string{"license=nowhere"}}}}))
	b.saidSomewhere("take no license")
}

// A node that is taken out does not wait for the next try of what has failed.
func TestANodeInErrorGoesAtOnce(t *testing.T) {
	b := &bench{T: t, w: newWorld(), dir: t.TempDir(), retry: lab.Retry{First: time.Hour, Cap: time.Hour, Tries: 10, Rest: time.Hour, Healthy: time.Hour}}
	b.start()
	t.Cleanup(b.stop)
	b.w.set(func() { b.w.fail["start r1"] = errors.New("the machine is busy") })
	b.deploy(pair)
	b.node("r1", lab.NodeError)
	b.done(b.e.Edit(t.Context(), api.EditRequest{Lab: "pair", RemoveNodes: []string{"r1"}}))
}
