package enginetest

import (
	"errors"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
)

func restartBehindOurBackKeepsLinks(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	before, _ := b.status(dev)
	none := 0
	if _, err := b.cli.ContainerRestart(b.Context(), named(dev), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	b.event("started again", dev, func(st backends.NodeStatus) bool { return st.Running && st.Boot > before.Boot })
	b.booted(dev, peer)
}

func killedAndStartedBehindOurBack(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	if _, err := b.cli.ContainerKill(b.Context(), named(dev), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		b.Fatal(err)
	}
	st := b.event("its end", dev, func(st backends.NodeStatus) bool { return !st.Running && !st.Gone })
	if !strings.Contains(st.ExitReason, "signal 9") {
		b.Errorf("why it ended: %q", st.ExitReason)
	}
	if _, err := b.cli.ContainerStart(b.Context(), named(dev), client.ContainerStartOptions{}); err != nil {
		b.Fatal(err)
	}
	b.booted(dev, peer)
}

func removedBehindOurBack(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	was, _ := b.status(dev)
	if _, err := b.cli.ContainerRemove(b.Context(), named(dev), client.ContainerRemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	st := b.event("gone", dev, func(st backends.NodeStatus) bool { return st.Gone })
	if st.Boot < was.Boot {
		b.Errorf("the news is older than the node: %d < %d", st.Boot, was.Boot)
	}
	if err := b.Start(b.Context(), dev); !errors.Is(err, backends.ErrNotFound) {
		b.Error("start of what is gone: ", err)
	}
	// Made again, it finds its cables where they were.
	b.run(addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "10.0.0.1/24", "fd00::1/64"))
	b.booted(dev, peer)
}

// killedAndRemovedUnseen: what happens while no engine of the program runs is
// the truth that the next one finds.
func killedAndRemovedUnseen(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	if err := b.Close(); err != nil {
		b.Fatal(err)
	}
	cli, err := b.d.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer cli.Close()
	if _, err := cli.ContainerKill(b.Context(), named(dev), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		b.Fatal(err)
	}
	if _, err := cli.ContainerRemove(b.Context(), named(peer), client.ContainerRemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	b.Provider = b.d.Again(b, b.Provider)
	b.eventually("the next provider sees the end", func() bool { st, ok := b.status(dev); return ok && !st.Running })
	if st, _ := b.status(dev); !strings.Contains(st.ExitReason, "signal 9") {
		b.Errorf("why it ended: %q", st.ExitReason)
	}
	if _, ok := b.status(peer); ok {
		b.Error("what was removed is still listed")
	}
	// Made again, it finds its cables where they were.
	b.run(addressed(b.config("peer", cmd("exec sleep 1000"), "eth1", "eth2"), "10.0.0.2/24", "fd00::2/64"))
	b.start(dev)
	b.booted(dev, peer)
}

// engineRestart: the container engine ends and comes back under a running lab.
// Some leave their containers running, some don't; what is said is the truth.
func engineRestart(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	b.d.Stop()
	late := time.After(short)
	for open := true; open; {
		select {
		case _, open = <-b.events:
		case <-late:
			b.Fatal("the end of the engine was not noticed")
		}
	}
	if _, err := b.List(b.Context(), b.lab); err == nil {
		b.Error("nodes are listed without an engine")
	}
	if a := b.Available(b.Context()); a.OK || a.Reason == "" || a.Fix == "" {
		b.Errorf("without an engine: %+v", a)
	}
	if err := b.Start(b.Context(), dev); err == nil {
		b.Error("a node was started without an engine")
	}
	if err := b.d.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.eventually("the engine is available again", func() bool { return b.Available(b.Context()).OK })
	b.listen()
	var err error
	if b.cli, err = b.Client(); err != nil {
		b.Fatal(err)
	}
	for _, ref := range []backends.NodeRef{dev, peer} {
		st, ok := b.status(ref)
		if is := b.look(ref).State.Running; !ok || st.Running != is {
			b.Errorf("%s: listed %v, running %v, and in truth %v", ref, ok, st.Running, is)
		}
		if !st.Running && st.ExitReason == "" {
			b.Errorf("%s ended without a reason", ref)
		}
		b.start(ref)
	}
	b.booted(dev, peer)
	if _, err := b.cli.ContainerKill(b.Context(), named(dev), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		b.Fatal(err)
	}
	b.event("its end", dev, func(st backends.NodeStatus) bool { return !st.Running && !st.Gone })
}
