package enginetest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
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

	// What has become of its links since it was made counts.
	b.must(peer, "ip link del eth2 && ip addr del 10.0.0.2/24 dev eth1 && ip addr add 10.0.0.52/24 dev eth1")
	for range 2 { // twice is once
		if err := b.Rewire(b.Context(), addressed(b.config("peer", cmd(obeys), "eth1"), "10.0.0.52/24", "fd00::2/64")); err != nil {
			b.Fatal(err)
		}
	}
	before, _ = b.status(peer)
	if _, err := b.cli.ContainerRestart(b.Context(), named(peer), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	b.event("started again", peer, func(st backends.NodeStatus) bool { return st.Running && st.Boot > before.Boot })
	const held = "while grep -q gate /proc/1/cmdline; do sleep 0.1; done; "
	if said := b.must(peer, held+"ip -o addr show dev eth1"); !strings.Contains(said, "10.0.0.52/24") || strings.Contains(said, "10.0.0.2/24") || !strings.Contains(said, "fd00::2/64") {
		b.Errorf("after a restart its interface has\n%s", said)
	}
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
	b.off(dev)
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

// pausedAndRenamedBehindOurBack: a container that is paused or renamed is told
// of, one whose init a signal has stopped is found by a look, and mending sets
// right whatever it is.
func pausedAndRenamedBehindOurBack(b *bench) {
	dev := b.run(b.config("dev", cmd("sleep 1d")))
	was, _ := b.status(dev)
	if was.Paused || was.Renamed {
		b.Fatalf("it is %+v", was)
	}
	mended := func(what string) {
		b.Helper()
		for range 2 { // twice is once
			if err := b.Mend(b.Context(), dev); err != nil {
				b.Fatalf("%s: %v", what, err)
			}
		}
		if st, _ := b.status(dev); st.Paused || st.Renamed || st.Identifier != was.Identifier || st.Boot != was.Boot || st.PID != was.PID {
			b.Errorf("%s: mended it is %+v and was %+v", what, st, was)
		}
		if code, out := b.exec(dev, "echo here"); code != 0 || out != "here\n" {
			b.Errorf("%s: mended it says %q, code %d", what, out, code)
		}
	}
	// A copy bears the labels, too, and is not taken for the node.
	at := b.look(dev)
	copied, err := b.cli.ContainerCreate(b.Context(), client.ContainerCreateOptions{Name: "copy-of-" + named(dev),
		Config: &container.Config{Image: at.Config.Image, Cmd: at.Config.Cmd, Labels: at.Config.Labels}})
	if err != nil {
		b.Fatal(err)
	}
	if st, _ := b.status(dev); !st.Running || st.Identifier != was.Identifier {
		b.Errorf("beside its copy it is %+v", st)
	}
	if _, err := b.cli.ContainerRemove(b.Context(), copied.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	if _, err := b.cli.ContainerPause(b.Context(), named(dev), client.ContainerPauseOptions{}); err == nil {
		b.event("paused", dev, func(st backends.NodeStatus) bool { return st.Running && st.Paused })
		mended("paused")
		b.event("going on", dev, func(st backends.NodeStatus) bool { return st.Running && !st.Paused })
	} else {
		b.Logf("this engine pauses nothing: %v", err)
	}
	if err := syscall.Kill(was.PID, syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	b.eventually("it to be found stopped by a signal", func() bool { st, _ := b.status(dev); return st.Running && st.Paused })
	mended("stopped by a signal")
	if _, err := b.cli.ContainerRename(b.Context(), named(dev), client.ContainerRenameOptions{NewName: "other-" + named(dev)}); err != nil {
		b.Fatal(err)
	}
	b.event("renamed", dev, func(st backends.NodeStatus) bool { return st.Renamed && st.Identifier == "other-"+named(dev) })
	mended("renamed")
	b.event("its name", dev, func(st backends.NodeStatus) bool { return !st.Renamed && st.Identifier == named(dev) })
	// One that is made anew under its own name has no other beside it.
	for _, env := range []string{"1", "1", "2"} {
		c := b.config("anew", cmd("exec sleep 1000"))
		c.Node.Env = map[string]string{"MADE": env}
		if err := b.Create(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		list, err := b.cli.ContainerList(b.Context(), client.ContainerListOptions{All: true,
			Filters: client.Filters{}.Add("label", "archetype.lab="+b.lab).Add("label", "archetype.node=anew")})
		if err != nil || len(list.Items) != 1 || strings.TrimPrefix(list.Items[0].Names[0], "/") != named(c.Ref) {
			b.Errorf("made anew there is %+v, %v", list.Items, err)
		}
		if _, err := b.cli.ContainerRename(b.Context(), named(c.Ref), client.ContainerRenameOptions{NewName: "other-" + named(c.Ref)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := b.Remove(b.Context(), backends.NodeRef{Lab: b.lab, Node: "anew"}); err != nil {
		b.Fatal(err)
	}
	// One that is paused can be stopped and started all the same.
	if _, err := b.cli.ContainerPause(b.Context(), named(dev), client.ContainerPauseOptions{}); err != nil {
		return
	}
	if err := b.Stop(b.Context(), dev, time.Second); err != nil {
		b.Fatal(err)
	}
	b.start(dev)
	if st, _ := b.status(dev); !st.Running || st.Paused {
		b.Errorf("started again it is %+v", st)
	}
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
	b.off(dev)
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
	_ = os.Remove(strings.TrimPrefix(b.d.Host, "unix://")) // some leave it
	err := b.Start(b.Context(), dev)
	if err == nil || errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "ocker daemon") {
		b.Errorf("a node was started without an engine, or is given up: %v", err)
	}
	if err := b.d.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.eventually("the engine is available again", func() bool { return b.Available(b.Context()).OK })
	b.listen()
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
