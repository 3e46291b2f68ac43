package enginetest

import (
	"errors"
	"io"
	"strings"

	"github.com/moby/moby/client"

	"archetype/backends"
)

// needsInterfaces is the init of a stand-in device that does not boot when an
// interface is missing at its first instruction.
const needsInterfaces = `#!/bin/sh
for i in eth1 eth2; do
	[ -e /sys/class/net/$i ] || { echo "no $i: dead"; exit 3; }
done
ip -o addr show eth1 | grep -q 10.0.0.1/24 || { echo "no address: dead"; exit 4; }
echo booted with all interfaces
` + obeys

// obeys is a command line that ends when it is told to.
const obeys = "trap exit TERM; sleep 1000 & wait\n"

func (b *bench) strict() {
	b.Helper()
	if err := b.d.Import(b.Context(), "strict:1", map[string]string{"/sbin/boot": needsInterfaces}, `ENTRYPOINT ["/sbin/boot"]`); err != nil {
		b.Fatal(err)
	}
}

// strictPair is a strict device with two cables to a plain one.
func (b *bench) strictPair() (dev, peer backends.NodeRef) {
	b.Helper()
	b.strict()
	x := addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "10.0.0.1/24", "fd00::1/64")
	y := addressed(b.config("peer", cmd(obeys), "eth1", "eth2"), "10.0.0.2/24", "fd00::2/64")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	b.cable(x, y, "eth2")
	b.start(x.Ref)
	b.start(y.Ref)
	return x.Ref, y.Ref
}

// booted waits until a strict device has booted once more and reaches its peer.
func (b *bench) booted(dev, peer backends.NodeRef) {
	b.Helper()
	b.said(dev, backends.LogOptions{Boot: true}, "booted with all interfaces")
	b.must(dev, "ping -c1 -W5 10.0.0.2 && ping -6 -c1 -W5 fd00::2")
	b.must(peer, "ping -c1 -W5 10.0.0.1")
}

func interfacesAreThereBeforeTheInitAndOnEveryRestart(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	index := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address")
	for range 2 {
		if err := b.Stop(b.Context(), dev, 0); err != nil {
			b.Fatal(err)
		}
		if got := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address"); got != index {
			b.Error("the peer lost its own end")
		}
		b.start(dev)
		b.booted(dev, peer)
	}
	if got := b.must(peer, "cat /sys/class/net/eth1/ifindex /sys/class/net/eth1/address"); got != index {
		b.Error("the peer got another interface")
	}
}

func aLateInterfaceIsWaitedForBehindOurBack(b *bench) {
	b.strict()
	x := addressed(b.config("dev", func(c *backends.NodeConfig) { c.Node.Image = "strict:1" }, "eth1", "eth2"), "10.0.0.1/24")
	y := addressed(b.config("peer", cmd("exec sleep 1000"), "eth1", "eth2"), "10.0.0.2/24")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	if _, err := b.cli.ContainerStart(b.Context(), named(x.Ref), client.ContainerStartOptions{}); err != nil {
		b.Fatal(err)
	}
	b.event("started", x.Ref, func(st backends.NodeStatus) bool { return st.Running })
	b.cable(x, y, "eth2")
	b.said(x.Ref, backends.LogOptions{}, "booted with all interfaces")
}

func aContainerThatStartsWhileNobodyServesWaits(b *bench) {
	dev, peer := b.strictPair()
	b.booted(dev, peer)
	if err := b.Close(); err != nil { // as an engine that ends
		b.Fatal(err)
	}
	cli, err := b.d.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer cli.Close()
	none := 0
	if _, err := cli.ContainerRestart(b.Context(), named(dev), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	b.Provider = b.d.Again(b, b.Provider)
	if _, ok := b.status(dev); !ok {
		b.Fatal("the next provider does not find it")
	}
	b.booted(dev, peer)
}

// countsOnce is the init of a stand-in for cEOS, which counts its ports once.
const countsOnce = `#!/bin/sh
echo "ports: $(ls -d /sys/class/net/eth[1-9]* | wc -l)"
exec sleep 1000
`

// ceosCountsItsPorts: the kind's own entry point, environment and script, as
// the data file has them, around a stand-in for the vendor's image. The script
// never has to wait.
func ceosCountsItsPorts(b *bench) {
	err := b.d.Import(b.Context(), "ceos-stand-in:1", map[string]string{"/sbin/init": countsOnce, "/bin/bash": "#!/bin/sh\nexec sh \"$@\"\n"})
	if err != nil {
		b.Fatal(err)
	}
	no := false // this machine may not grant it
	x := b.kindConfig("ceos", "dev", func(c *backends.NodeConfig) {
		c.Node.Image, c.Node.Container.Privileged = "ceos-stand-in:1", &no
	}, "eth1", "eth2")
	y := b.config("peer", cmd("exec sleep 1000"), "eth1", "eth2")
	b.create(x)
	b.create(y)
	b.cable(x, y, "eth1")
	b.cable(x, y, "eth2")
	counted := func() {
		b.Helper()
		b.said(x.Ref, backends.LogOptions{Boot: true}, "ports: 2")
		if all := b.allSaid(x.Ref); all != "interfaces: 2 of 2\nports: 2\n" {
			b.Errorf("it said %q", all)
		}
	}
	b.start(x.Ref)
	counted()
	if err := b.Stop(b.Context(), x.Ref, 0); err != nil {
		b.Fatal(err)
	}
	b.start(x.Ref)
	counted()
	none := 0
	if _, err := b.cli.ContainerRestart(b.Context(), named(x.Ref), client.ContainerRestartOptions{Timeout: &none}); err != nil {
		b.Fatal(err)
	}
	counted()
}

// whatCannotBeStarted: the node says why, and ends as the engine itself would
// have had it end.
func whatCannotBeStarted(b *bench) {
	err := b.d.Import(b.Context(), "broken:1", map[string]string{"/sbin/lost": "#!/no/such/shell\n", "/etc/plain": "text"})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, command, why, code string }{
		{"a", "nosuch", "cannot start nosuch (in PATH /bin:/sbin): no such file or directory", "code 127"},
		{"b", "/etc/plain", "cannot start /etc/plain: permission denied", "code 126"},
		{"c", "/etc", "cannot start /etc: is a directory", "code 126"},
		{"d", "lost", "its interpreter is missing", "code 126"},
	} {
		ref := b.create(b.config(c.name, func(n *backends.NodeConfig) { n.Node.Image, n.Node.Cmd = "broken:1", c.command }))
		_ = b.Start(b.Context(), ref) // it may have begun when it ends
		st := b.event("its end", ref, func(st backends.NodeStatus) bool { return !st.Running && st.ExitReason != "" })
		if !strings.Contains(st.ExitReason, c.code) {
			b.Errorf("%s: it ended as %q", c.command, st.ExitReason)
		}
		r, err := b.Logs(b.Context(), ref, backends.LogOptions{})
		if err != nil {
			b.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !strings.Contains(string(all), c.why) {
			b.Errorf("%s: it said %q, %v", c.command, all, err)
		}
	}
}
