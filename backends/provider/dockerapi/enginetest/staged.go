package enginetest

import (
	"os"
	"strings"

	"github.com/moby/moby/client"

	"archetype/backends"
)

func (b *bench) stage(ref backends.NodeRef) bool {
	b.Helper()
	waits, err := b.Provider.(backends.Stager).Stage(b.Context(), ref)
	if err != nil {
		b.Fatal(err)
	}
	return waits
}

// stagedPair is a strict device that was staged, with two cables to a plain one.
func (b *bench) stagedPair() (x, y backends.NodeConfig) {
	b.Helper()
	b.strict()
	x = addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "10.0.0.1/24", "fd00::1/64")
	y = addressed(b.config("peer", cmd(obeys), "eth1", "eth2"), "10.0.0.2/24", "fd00::2/64")
	x.Staged = true
	b.create(x)
	if st, ok := b.status(x.Ref); !ok || !st.Unfinished {
		b.Errorf("created, and not staged yet: %v %+v", ok, st)
	}
	if !b.stage(x.Ref) {
		b.Fatal("it does not wait for its start")
	}
	b.create(y)
	b.cable(x, y, "eth1")
	b.cable(x, y, "eth2")
	b.start(y.Ref)
	b.waits(x.Ref)
	return x, y
}

// waits checks that the node is staged, and does not run.
func (b *bench) waits(ref backends.NodeRef) {
	b.Helper()
	if st, ok := b.status(ref); !ok || st.Running || !st.Staged || st.Unfinished || st.Boot != 0 || st.ExitReason != "" {
		b.Errorf("staged: %v %+v", ok, st)
	}
}

// stagedNodesWaitForTheirStart: its interfaces are made where they stay, and
// its init begins with its start, told as one that was not staged.
func stagedNodesWaitForTheirStart(b *bench) {
	x, y := b.stagedPair()
	dev, peer := x.Ref, y.Ref
	if !b.stage(dev) {
		b.Error("staged again, it does not wait any more")
	}
	at, err := b.Attachment(b.Context(), dev, "eth1")
	if err != nil {
		b.Fatal(err)
	}
	before, err := os.Stat(at.Netns)
	if err != nil {
		b.Fatal(err)
	}
	b.start(dev)
	st := b.event("started", dev, func(backends.NodeStatus) bool { return true })
	if !st.Running || st.PID == 0 || st.Boot == 0 || st.Staged {
		b.Errorf("the first news of it: %+v", st)
	}
	b.booted(dev, peer)
	if at, err = b.Attachment(b.Context(), dev, "eth1"); err != nil {
		b.Fatal(err)
	}
	if after, err := os.Stat(at.Netns); err != nil || !os.SameFile(before, after) {
		b.Errorf("its interfaces were moved (%v)", err)
	}
	if err := b.Stop(b.Context(), dev, 0); err != nil {
		b.Fatal(err)
	}
	b.create(x)
	if b.stage(dev) {
		b.Error("it was staged though its interfaces are there")
	}
	b.start(dev)
	b.booted(dev, peer)
	b.start(dev) // again
	b.create(x)
	if b.stage(dev) {
		b.Error("a running node was staged")
	}
	if now, _ := b.status(dev); !now.Running || now.Boot <= st.Boot {
		b.Errorf("started once more: %+v, before %+v", now, st)
	}
}

// stagedAndDisturbed: whatever becomes of a staged container, its init begins
// with a start of ours, and finds its interfaces.
func stagedAndDisturbed(b *bench) {
	x, y := b.stagedPair()
	dev, peer := x.Ref, y.Ref
	none := 0
	if _, err := b.cli.ContainerRestart(b.Context(), named(dev), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	b.waits(dev)
	if err := b.Close(); err != nil { // as an engine that ends
		b.Fatal(err)
	}
	b.Provider = b.d.Again(b, b.Provider)
	var err error
	if b.cli, err = b.Client(); err != nil {
		b.Fatal(err)
	}
	b.listen()
	b.waits(dev)
	b.start(dev)
	b.event("started", dev, func(st backends.NodeStatus) bool { return st.Running })
	b.booted(dev, peer)

	again := b.config("killed", cmd("echo up; "+obeys))
	again.Staged = true
	ref := b.create(again)
	if !b.stage(ref) {
		b.Error("it does not wait for its start")
	}
	if _, err := b.cli.ContainerKill(b.Context(), named(ref), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		b.Fatal(err)
	}
	b.eventually("its end", func() bool { st, ok := b.status(ref); return ok && !st.Staged && !st.Running })
	b.start(ref)
	b.said(ref, backends.LogOptions{}, "up")

	other := b.config("other", cmd("exec sleep 1000"))
	other.Staged = true
	if ref = b.create(other); !b.stage(ref) {
		b.Error("it does not wait for its start")
	}
	cmd("exec sleep 2000")(&other)
	b.create(other)
	if b.stage(ref) {
		b.Error("it was staged though its interfaces are there")
	}
	b.start(ref)
	if got := strings.TrimSpace(b.must(ref, "tr '\\0' ' ' < /proc/1/cmdline")); got != "sleep 2000" {
		b.Errorf("made from another configuration while it was staged: %q", got)
	}

	stopped := b.config("stopped", cmd("exec sleep 1000"))
	stopped.Staged = true
	if ref = b.create(stopped); !b.stage(ref) {
		b.Error("it does not wait for its start")
	}
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		b.Fatal(err)
	}
	if st, ok := b.status(ref); !ok || st.Staged || st.Running || st.ExitReason != "" {
		b.Errorf("stopped while it was staged: %v %+v", ok, st)
	}
	b.start(ref)
	if st, _ := b.status(ref); !st.Running {
		b.Errorf("started after that: %+v", st)
	}
	b.removed(b.create(func() backends.NodeConfig { c := b.config("gone", nil); c.Staged = true; return c }()))
}

// removed stages a node and removes it.
func (b *bench) removed(ref backends.NodeRef) {
	b.Helper()
	if !b.stage(ref) {
		b.Error("it does not wait for its start")
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Fatal(err)
	}
	if st, ok := b.status(ref); ok {
		b.Errorf("it still exists: %+v", st)
	}
}
