package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// held has the engine come to a call, and stay there until it is let go.
func (b *bench) held(call string, begin func()) (letGo func()) {
	b.Helper()
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold[call] = hold })
	before := b.w.count(call)
	begin()
	for late := time.After(20 * time.Second); b.w.count(call) == before; {
		select {
		case <-b.w.called:
		case <-late:
			b.Fatalf("nobody calls %s", call)
		}
	}
	return func() {
		b.w.set(func() { delete(b.w.hold, call) })
		close(hold)
	}
}

func (b *bench) config(ref backends.NodeRef) (cfg backends.NodeConfig) {
	b.w.set(func() { cfg = b.w.nodes[ref].cfg })
	return cfg
}

// A node's init waits for the interfaces that it was made with: it must not
// be started with one that was taken away since.
func TestLinkIsRemovedBeforeItsNodeStarts(t *testing.T) {
	for _, over := range []string{"one engine", "a crash"} {
		t.Run(over, func(t *testing.T) {
			b := newBench(t)
			letGo := b.held("create r2", func() { b.deploy(pair) })
			b.until("r1 to be made", func(*api.Snapshot) bool { return b.w.count("create r1") > 0 })
			_, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "pair", RemoveLinks: [][2]lab.Endpoint{{end("r1:eth1"), end("r2:eth1")}}})
			if err != nil {
				t.Fatal(err)
			}
			if over == "a crash" {
				b.stop()
			}
			letGo()
			if over == "a crash" {
				b.start()
			}
			b.until("all to run without a link", func(s *api.Snapshot) bool {
				return len(s.Labs) == 1 && s.Labs[0].State == lab.StateRunning && len(s.Labs[0].Links) == 0
			})
			for _, node := range []string{"r1", "r2"} {
				if got := b.config(backends.NodeRef{Lab: "pair", Node: node}).Interfaces; len(got) > 0 {
					t.Errorf("%s waits for %v", node, got)
				}
			}
		})
	}
}

// What was taken away while the init may not have seen it yet is not waited for.
func TestLinkIsRemovedWhileItsNodeBoots(t *testing.T) {
	b := newBench(t)
	b.w.set(func() { b.w.silent["r1"] = true })
	b.deploy(pair)
	b.node("r1", lab.NodeStarting)
	b.node("r2", lab.NodeRunning)
	b.w.set(func() { delete(b.w.silent, "r1") })
	_, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "pair", RemoveLinks: [][2]lab.Endpoint{{end("r1:eth1"), end("r2:eth1")}}})
	if err != nil {
		t.Fatal(err)
	}
	b.node("r1", lab.NodeRunning)
	if r1, r2 := b.w.count("start r1"), b.w.count("start r2"); r1 != 2 || r2 != 1 {
		t.Errorf("r1 was started %d times, r2 %d times", r1, r2)
	}
}

// An interface that gets another peer stays, but for the addresses and the MTU that
// the file gave it and gives it no more, also where a crash comes in between; unless
// the file has another hardware address for it: then it is made anew.
func TestInterfaceMovesWithoutWhatItWasGiven(t *testing.T) {
	addressed := func(text, address string) string {
		return strings.Replace(text, `"r1:eth1",`, `{node: r1, interface: eth1, ipv4: `+address+`},`, 1)
	}
	for name, c := range map[string]struct {
		to    string
		crash bool
		stays bool
		takes string
	}{
		"none":                {replugged, false, true, "[10.0.0.1/24], MTU true"},
		"none over a crash":   {replugged, true, true, "[10.0.0.1/24], MTU true"},
		"the same":            {addressed(replugged, "10.0.0.1/24"), false, true, "[], MTU true"},
		"others":              {addressed(replugged, "10.0.9.1/24"), false, true, "[10.0.0.1/24], MTU true"},
		"others over a crash": {addressed(replugged, "10.0.9.1/24"), true, true, "[10.0.0.1/24], MTU true"},
		"another MTU":         {strings.Replace(replugged, `"r3:eth1"]`, "\"r3:eth1\"]\n      mtu: 1400", 1), true, true, "[10.0.0.1/24], MTU false"},
		"another card":        {addressed(replugged, `10.0.0.1/24, mac: "02:00:00:00:00:09"`), false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			from := strings.Replace(addressed(star, "10.0.0.1/24"), `"r2:eth1"]`, "\"r2:eth1\"]\n      mtu: 1300", 1)
			b.completed(b.deploy(from).Job)
			if c.crash {
				letGo := b.held("delete "+pairLink, func() { b.deploy(c.to) })
				b.stop()
				letGo()
				hold := b.held("connect r1:eth1|r3:eth1", b.start)
				defer hold()
			} else {
				defer b.held("connect r1:eth1|r3:eth1", func() { b.deploy(c.to) })()
			}
			b.w.set(func() {
				calls := b.w.calls[slices.Index(b.w.calls, "delete "+pairLink):]
				took := slices.Contains(calls, "take from r1:eth1 "+c.takes)
				if stays := b.w.ports["pair/r1:eth1"]; stays != c.stays || took != c.stays {
					t.Errorf("the interface stays: %t, and loses what it should: %t; calls %q", stays, took, calls)
				}
			})
		})
	}
}

// A place outside has room for one link: who comes waits for who goes.
func TestLinkToAPlaceThatAnotherIsLeaving(t *testing.T) {
	b := newBench(t)
	tunnel := func(node string) string {
		return pair + "    - {type: vxlan, endpoint: {node: " + node + ", interface: eth9}, remote: 192.0.2.2, vni: 7}\n"
	}
	b.completed(b.deploy(tunnel("r1")).Job)
	var second *api.Deployed
	letGo := b.held("delete r1:eth9|vxlan:192.0.2.2/7", func() { second = b.deploy(tunnel("r2")) })
	b.done(b.e.SetLink(b.Context(), api.LinkRequest{Lab: "pair", A: end("r1:eth1"), B: end("r2:eth1"), Wish: lab.WishDown})) // time passes
	if n := b.w.count("connect r2:eth9|vxlan:192.0.2.2/7"); n != 0 {
		t.Errorf("the place was not free yet: %q", b.w.calls)
	}
	letGo()
	b.completed(second.Job)
	if n := b.w.count("connect r2:eth9|vxlan:192.0.2.2/7"); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

// An interface loses the addresses of its old cable also where the engine that
// was to take them ended first.
func TestLinkIsMadeAnewOverACrash(t *testing.T) {
	b := newBench(t)
	text := func(x, y string) string {
		return strings.Replace(pair, `endpoints: ["r1:eth1", "r2:eth1"]`, "{type: veth, endpoints: [{node: r1, interface: eth1, ipv4: "+
			x+"}, {node: r2, interface: eth1, ipv4: "+y+"}]}", 1)
	}
	b.completed(b.deploy(text("10.1.0.1/24", "10.1.0.2/24")).Job)
	call := "delete " + pairLink
	b.held(call, func() { b.deploy(text("10.1.0.2/24", "10.1.0.1/24")) })
	b.stop()
	b.w.set(func() { delete(b.w.hold, call) })
	before := b.w.count(call)
	b.start()
	b.until("it to be made anew", func(s *api.Snapshot) bool {
		return len(s.Labs) > 0 && s.Labs[0].Links[0].Actual == lab.LinkUp && b.w.count(call) > before
	})
}

// A link that was up and is made anew is not stored as up while it is: to who
// comes after an interruption it may look whole before it is.
func TestLinkThatIsMadeAnewIsNotStoredAsUp(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	stored := func() (state lab.LinkState) {
		if err := b.st.View(func(tx *store.Tx) error {
			links, err := tx.Links("pair")
			if err == nil {
				state = links[0].Actual
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return state
	}
	b.done(b.e.SetLink(b.Context(), api.LinkRequest{Lab: "pair", A: end("r1:eth1"), B: end("r2:eth1"), Wish: lab.WishUp})) // a wish is waited for, and what came before it
	if is := stored(); is != lab.LinkUp {
		t.Fatalf("it is stored as %s", is)
	}
	letGo := b.held("connect "+pairLink, func() { b.w.unplug("pair", pairLink) })
	if is := stored(); is == lab.LinkUp {
		t.Errorf("it is stored as %s", is)
	}
	letGo()
	b.link(lab.LinkUp)
}

// A container that was started behind our back, or by an engine that is no more,
// may be on its way to its interfaces while a link is removed that has nothing
// but the one of its node's.
func TestLinkGoesWhileItsEndMoves(t *testing.T) {
	b := newBench(t)
	text := "name: pair\ntopology:\n  nodes:\n    r1: {kind: linux, provider: docker}\n"
	b.completed(b.deploy(text + "  links:\n    - {type: macvlan, endpoint: {node: r1, interface: eth9}, host-interface: nic}\n").Job)
	var id string
	b.w.set(func() {
		for k := range b.w.links {
			_, id, _ = strings.Cut(k, "/")
		}
	})
	var d *api.Deployed
	letGo := b.held("delete "+id, func() { d = b.deploy(text) })
	b.w.set(func() {
		b.w.nodes[r1].moved = " moved"
		b.w.links["pair/"+id].in += " moved"
	})
	letGo()
	b.completed(d.Job)
	b.until("the link to be gone", func(s *api.Snapshot) bool { return len(s.Labs[0].Links) == 0 })
	b.w.set(func() {
		if len(b.w.links) > 0 {
			t.Errorf("it was removed where it was, and stays: %v", b.w.calls)
		}
	})
}

// A node that another provider is to run is removed by the one that ran it.
func TestNodeGoesToAnotherProvider(t *testing.T) {
	for _, over := range []string{"one engine", "a crash"} {
		t.Run(over, func(t *testing.T) {
			b := newBench(t)
			text := func(provider string) string {
				return "name: pair\ntopology:\n  nodes:\n    r1: {kind: linux, provider: " + provider + "}\n"
			}
			b.elsewhere.set(func() { b.elsewhere.boot = 1000 }) // each counts its boots for itself
			b.completed(b.deploy(text("podman")).Job)
			if got := b.elsewhere.what(); len(got) != 1 {
				t.Fatalf("podman has %q", got)
			}
			hold := make(chan struct{})
			b.elsewhere.set(func() { b.elsewhere.hold["remove r1"] = hold })
			d := b.deploy(text("netns"))
			b.until("r1 to be removed", func(*api.Snapshot) bool { return b.elsewhere.count("remove r1") > 0 })
			if over == "a crash" {
				b.stop()
			}
			b.elsewhere.set(func() { delete(b.elsewhere.hold, "remove r1") })
			close(hold)
			if over == "a crash" {
				b.start()
			}
			b.completed(d.Job)
			b.until("r1 to run as netns says", func(s *api.Snapshot) bool {
				return s.Labs[0].Nodes[0].Actual == lab.NodeRunning && s.Labs[0].Nodes[0].PID == 1001
			})
			if got := append(b.elsewhere.what(), b.w.what()...); !slices.Equal(got, []string{"node pair/r1 running=true"}) || len(b.elsewhere.what()) > 0 {
				t.Errorf("podman has %q, netns %q", b.elsewhere.what(), b.w.what())
			}
		})
	}
}

// What a file changes of a node that is about to start takes effect also when
// the engine ends before it can do anything about it.
func TestANodeIsChangedOverACrash(t *testing.T) {
	b := newBench(t)
	letGo := b.held("start r2", func() { b.deploy(pair) })
	b.deploy(strings.Replace(pair, "r2: {kind: linux}", `r2: {kind: linux, env: {A: "1"}}`, 1))
	b.stop()
	letGo()
	b.start()
	b.until("all to run", func(s *api.Snapshot) bool { return len(s.Labs) == 1 && s.Labs[0].State == lab.StateRunning })
	if env := b.config(backends.NodeRef{Lab: "pair", Node: "r2"}).Node.Env; env["A"] != "1" {
		t.Errorf("r2 runs with %v", env)
	}
}

// A startup configuration counts as it was when it was applied: whatever
// becomes of its file, an engine that comes later changes nothing.
func TestAStartupConfigIsWhatWasApplied(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "r1.cfg")
	if err := os.WriteFile(file, []byte("hostname \xff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.completed(b.deploy(strings.Replace(pair, "r1: {kind: linux}", "r1: {kind: linux, startup-config: r1.cfg}", 1)).Job)
	b.stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.completed(b.restart("r1"))
	if n := b.w.count("start r1"); n != 2 || b.config(r1).Config != "hostname \xff\n" {
		t.Errorf("after %d starts its configuration is %q", n, b.config(r1).Config)
	}
}

func (b *bench) restart(node string) *api.Job {
	b.Helper()
	j, err := b.e.SetNodes(b.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{node}, Verb: lab.JobRestart})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// A store of the moment before its nodes were made, as a backup or a crash may
// leave it, costs a lab that runs nothing: its nodes say what they are made from.
func TestAStoreOfBeforeItsNodesWereMade(t *testing.T) {
	b := newBench(t)
	earlier := filepath.Join(b.dir, "earlier")
	var d *api.Deployed
	letGo := b.held("create r1", func() { d = b.deploy(pair) })
	if _, err := b.e.Backup(t.Context(), api.BackupRequest{File: earlier}); err != nil {
		t.Fatal(err)
	}
	letGo()
	b.completed(d.Job)
	pids := [2]int{b.node("r1", lab.NodeRunning).PID, b.node("r2", lab.NodeRunning).PID}
	b.stop()
	if err := os.Rename(earlier, filepath.Join(b.dir, "db")); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.link(lab.LinkUp)
	if now := [2]int{b.node("r1", lab.NodeRunning).PID, b.node("r2", lab.NodeRunning).PID}; now != pids || b.w.count("start") != 2 {
		t.Errorf("its nodes were %v and are %v, after %v", pids, now, b.w.calls)
	}
}

// What another provider has of a node than the one that runs it is nobody's: it is
// reported, and found and removed with what no lab owns.
func TestANodeThatTwoProvidersHave(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	b.elsewhere.set(func() { b.elsewhere.nodes[r1] = &simNode{cfg: b.config(r1)} })
	for _, remove := range []bool{false, true} {
		found, err := b.e.Strays(t.Context(), api.StraysRequest{Remove: remove})
		if err != nil || len(found.Found) != 1 || found.Found[0].Name != "r1" || found.Found[0].Backend == "netns" || found.Found[0].Removed != remove {
			t.Errorf("found is %+v, %v", found, err)
		}
	}
	if left, ours := b.elsewhere.what(), b.w.what(); len(left) != 0 || len(ours) != 3 {
		t.Errorf("one has %q, the other %q", left, ours)
	}
	b.until("nothing else to be reported", func(s *api.Snapshot) bool { return len(s.Labs[0].Extra) == 0 && s.Labs[0].State == lab.StateRunning })
}

// A node that was removed behind our back may have left something beside itself.
// Its provider is asked to remove that with the node, also by an engine that did
// not see it go.
func TestWhatAGoneNodeLeftIsRemovedWithIt(t *testing.T) {
	b := newBench(t)
	d, err := b.e.Deploy(b.Context(), api.DeployRequest{File: b.file(pair), Policy: lab.PolicyReport})
	if err != nil {
		t.Fatal(err)
	}
	b.completed(d.Job)
	b.w.vanish(r1)
	b.node("r1", lab.NodeUndeployed)
	b.done(b.nodes(lab.JobStop, "r1"), nil) // what is wished is what there is: nothing of it is stored but that
	b.crash()
	b.done(b.e.Edit(b.Context(), api.EditRequest{Lab: "pair", RemoveNodes: []string{"r1"}}))
	if b.w.count("remove r1") == 0 {
		t.Error("the node's provider was not asked to remove what there may be of it")
	}
}

// A link that was on its new network when its engine ended, which had not noted
// so yet, is known to be there by the next one: else what the new network has of
// it would stay where the link is removed or goes back before its turn comes.
func TestALinkThatHadMovedIsFoundWhereItIs(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(pair).Job)
	var j *api.Job
	b.held("linuxbridge connect "+pairLink, func() {
		var err error
		if j, err = b.e.SetNetwork(b.Context(), api.NetworkRequest{Lab: "pair", Network: "linuxbridge"}); err != nil {
			t.Fatal(err)
		}
	})
	b.stop()
	b.w.set(func() { b.w.links["pair/"+pairLink].connected, b.w.links["pair/"+pairLink].net = true, "linuxbridge" })
	b.start() // what it would do is held
	b.completed(j)
	if l := b.link(lab.LinkUp); l.Network != "linuxbridge" {
		t.Errorf("it is of %s", l.Network)
	}
	if n := b.w.count("linuxbridge connect"); n != 1 {
		t.Errorf("it was moved %d times", n)
	}
}
