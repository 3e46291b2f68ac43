package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

func (b *bench) nodeNow(name string) *api.Node {
	for _, n := range b.snap.Labs[0].Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func TestNodesWaitForStagesOfOthers(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["start first"] = hold })
	d := b.deploy(`name: stages
topology:
  nodes:
    last:
      kind: linux
      stages:
        create:
          wait-for: [{node: second, stage: configure}]
    second:
      kind: linux
      stages:
        configure:
          wait-for: [{node: first, stage: configure}]
    first: {kind: linux}
`)
	b.until("last to say what it waits for", func(s *api.Snapshot) bool {
		return len(s.Labs) > 0 && len(s.Labs[0].Nodes) == 3 && strings.Contains(b.nodeNow("last").ProgressText, "second")
	})
	b.until("second to wait for first", func(*api.Snapshot) bool {
		return strings.Contains(b.nodeNow("second").ProgressText, "first")
	})
	if b.w.count("create last") > 0 || b.nodeNow("second").Actual != lab.NodeStarting {
		t.Errorf("a node went on before what it waits for: second is %s", b.nodeNow("second").Actual)
	}
	close(hold)
	b.completed(d.Job)
	at := func(call string) int { return slices.Index(b.w.calls, call) }
	if at("create last") < at("start first") {
		t.Errorf("calls %v", b.w.calls)
	}
}

// A stage of a node is over, too, when it has long run and its last link comes.
func TestNodeWaitsForALinkOfOneThatRuns(t *testing.T) {
	b := newBench(t)
	d := b.deploy(strings.Replace(pair, "r2: {kind: linux}", "r2: {kind: linux}\n    r3: {kind: linux, stages: {create-links: {wait-for: [{node: r1, stage: create-links}]}}}", 1))
	b.completed(d.Job)
	end := func(node string) lab.End { return lab.End{Endpoint: lab.Endpoint{Node: node, Interface: "eth2"}} }
	letGo := b.held("connect r1:eth2|r2:eth2", func() {
		if _, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "pair", AddLinks: []lab.Link{{A: end("r1"), B: end("r2")}}}); err != nil {
			t.Fatal(err)
		}
	})
	j, err := b.e.SetNodes(b.Context(), api.NodesRequest{Lab: "pair", Nodes: []string{"r3"}, Verb: lab.JobRestart})
	if err != nil {
		t.Fatal(err)
	}
	b.until("r3 to wait", func(*api.Snapshot) bool { return strings.Contains(b.nodeNow("r3").ProgressText, "waits for r1") })
	letGo()
	b.completed(j)
}

// What is removed is not waited for any more.
func TestNodeWaitsForOneThatIsRemoved(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	defer close(hold)
	b.w.set(func() { b.w.hold["exec r1 sh -c never"] = hold })
	b.deploy(strings.NewReplacer("r1: {kind: linux}", "r1: {kind: linux, exec: [never]}",
		"r2: {kind: linux}", "r2: {kind: linux, stages: {configure: {wait-for: [{node: r1, stage: configure}]}}}").Replace(pair))
	b.until("r2 to wait", func(s *api.Snapshot) bool {
		if len(s.Labs) == 0 {
			return false
		}
		n := b.nodeNow("r2")
		return n != nil && strings.Contains(n.ProgressText, "waits for r1")
	})
	b.done(b.e.Edit(b.Context(), api.EditRequest{Lab: "pair", RemoveNodes: []string{"r1"}}))
	b.until("r2 to run", func(*api.Snapshot) bool { return b.nodeNow("r2") != nil && b.nodeNow("r2").Actual == lab.NodeRunning })
}

func TestCommandsRunBeforeANodeCountsAsRunning(t *testing.T) {
	b := newBench(t)
	b.stop()
	kinds := filepath.Join(b.dir, "kinds") // of which one is given some of its configurations by a command
	if err := errors.Join(os.Mkdir(kinds, 0o700), os.WriteFile(filepath.Join(kinds, "box.yaml"), []byte("name: box\nproviders: [netns]\n"+
		"startup_config: {path: /cfg, template: true, forms: [{match: '^set ', path: /cli, apply: take it}]}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b.start()
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["exec r1 sh -c second"] = hold })
	d := b.deploy(strings.NewReplacer("r1: {kind: linux}", `r1: {kind: box, exec: [first, second], startup-config: "set x\nset y\n"}`,
		"r2: {kind: linux}", `r2: {kind: box, startup-config: "{}\n"}`).Replace(pair))
	b.until("the second command", func(*api.Snapshot) bool { return b.w.count("exec r1 sh -c second") > 0 })
	b.until("r2 to run", func(*api.Snapshot) bool { return b.snap.Labs != nil && b.nodeNow("r2").Actual == lab.NodeRunning })
	if n := b.nodeNow("r1"); n.Actual != lab.NodeStarting {
		t.Errorf("r1 is %s while its commands run", n.Actual)
	}
	close(hold)
	b.completed(d.Job)
	at := func(what string) int { return slices.Index(b.w.calls, "exec r1 sh -c "+what) }
	if at("take it") < 0 || at("take it") > at("first") || b.w.count("exec r2 ") > 0 {
		t.Errorf("calls %v", b.w.calls)
	}
	b.w.kill(backends.NodeRef{Lab: "pair", Node: "r1"}, "boom")
	b.until("the commands after a restart", func(*api.Snapshot) bool { return b.w.count("exec r1 sh -c second") == 2 })
	b.node("r1", lab.NodeRunning)
}

// Nodes with a cable between them, of which one waits for the other: that one
// boots with its interface, which reaches nobody yet. Who waits for a node that
// cannot run is not waited for.
func TestANeighbourIsWaitedFor(t *testing.T) {
	b := newBench(t)
	text := strings.Replace(pair, "r2: {kind: linux}", "r2: {kind: linux, stages: {create: {wait-for: [{node: r1, stage: configure}]}}}", 1)
	b.completed(b.deploy(text).Job)
	b.link(lab.LinkUp)
	at := func(call string) int { return slices.Index(b.w.calls, call) }
	if at("provision r1:eth1") < 0 || at("provision r1:eth1") > at("start r1") || at("start r1") > at("create r2") {
		t.Errorf("calls %v", b.w.calls)
	}
	b.done(b.e.Destroy(b.Context(), "pair"))
	b.until("no lab", func(s *api.Snapshot) bool { return len(s.Labs) == 0 })

	b.w.set(func() { b.w.fail["create r1"] = backends.ErrUnsupported })
	j := b.ended(b.deploy(text).Job)
	if !strings.Contains(j.Error, "r2: waits for r1") || !strings.Contains(j.Error, "link r1:eth1 -- r2:eth1: waits for r1") {
		t.Errorf("it ends with %q", j.Error)
	}
}

// A node that is to live in another's namespace waits for that to run, and is not
// tried in vain before.
func TestNodeWaitsForWhoseNamespaceItShares(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.w.set(func() { b.w.hold["start x"] = hold })
	d := b.deploy("name: pair\ntopology:\n  nodes:\n    a: {kind: linux, network-mode: \"container:x\"}\n    x: {kind: linux}\n")
	b.until("a to say what it waits for", func(s *api.Snapshot) bool {
		return len(s.Labs) > 0 && len(s.Labs[0].Nodes) == 2 && b.nodeNow("x").Actual == lab.NodeStarting &&
			strings.Contains(b.nodeNow("a").ProgressText, "waits for x")
	})
	if b.w.count("start a") > 0 {
		t.Error("a was started before the node whose namespace it shares")
	}
	close(hold)
	b.completed(d.Job)

	b.completed(b.nodes(lab.JobStop, "a", "x"))
	if j := b.ended(b.nodes(lab.JobStart, "a")); j.State != lab.JobFailed || j.Error != "a: waits for x" {
		t.Errorf("the start of a without x: %s %q", j.State, j.Error)
	}
	b.completed(b.nodes(lab.JobStart, "x"))
	b.node("a", lab.NodeRunning)
}
