package enginetest

import (
	"errors"
	"strings"

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
