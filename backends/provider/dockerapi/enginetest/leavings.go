package enginetest

import (
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"

	"github.com/moby/moby/client"
	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/internal/iptables"
	"archetype/lab"
)

// leavings: of a management network nothing stays on the machine, whatever else
// is on its bridge (as is an end of a link to it), also when its nodes were
// stopped first, and when somebody else has removed it. What is left where the
// program was killed in between is found and removed.
func leavings(b *bench) {
	m := &lab.Management{Network: "left-" + b.lab, Bridge: "arch-left", IPv4Subnet: "172.31.205.0/24", IPv6Subnet: "fd31:205::/64"}
	for _, of := range []struct {
		name string
		then func(ref backends.NodeRef)
	}{
		{"removed", func(backends.NodeRef) {}},
		{"stopped", func(ref backends.NodeRef) {
			if err := b.Stop(b.Context(), ref, 0); err != nil {
				b.Fatal(err)
			}
		}},
		{"of others", func(ref backends.NodeRef) {
			if _, err := b.cli.ContainerRemove(b.Context(), named(ref), client.ContainerRemoveOptions{Force: true}); err != nil {
				b.Fatal(err)
			}
			if _, err := b.cli.NetworkRemove(b.Context(), m.Network, client.NetworkRemoveOptions{}); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		c := b.managed("left", m, "172.31.205.10", "")
		c.Node.Container.Ports = []string{"127.0.0.1:28205:80"}
		ref := b.run(c)
		unplug := b.plug(m.Bridge)
		of.then(ref)
		if err := b.Remove(b.Context(), ref); err != nil {
			b.Fatalf("%s: %v", of.name, err)
		}
		b.bare(of.name, m.Bridge)
		unplug()
	}

	c := b.managed("left", m, "172.31.205.10", "")
	ref := b.run(c)
	bridge := m.Bridge
	defer b.plug(bridge)()
	if _, err := b.cli.ContainerRemove(b.Context(), named(ref), client.ContainerRemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	if _, err := b.cli.NetworkRemove(b.Context(), m.Network, client.NetworkRemoveOptions{}); err != nil {
		b.Fatal(err)
	}
	sweeper := b.Provider.(backends.Sweeper)
	spares, err := sweeper.Unused(b.Context(), "")
	if err != nil || !slices.ContainsFunc(spares, func(s backends.Spare) bool { return s.Name == bridge }) {
		b.Fatalf("of %s is found %+v, %v", bridge, spares, err)
	}
	for _, s := range spares {
		if err := sweeper.Sweep(b.Context(), s); err != nil {
			b.Errorf("%+v: %v", s, err)
		}
	}
	b.bare("killed", bridge)
	if left, err := sweeper.Unused(b.Context(), ""); err != nil || len(left) > 0 {
		b.Errorf("what was removed is still found: %+v, %v", left, err)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Error(err)
	}

	// The next network of the name takes it with it, too.
	m = &lab.Management{Network: "again-" + b.lab, IPv4Subnet: "172.31.206.0/24"}
	ref = b.run(b.managed("again", m, "172.31.206.10", ""))
	if _, err := b.cli.ContainerRemove(b.Context(), named(ref), client.ContainerRemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	if _, err := b.cli.NetworkRemove(b.Context(), m.Network, client.NetworkRemoveOptions{}); err != nil {
		b.Fatal(err)
	}
	next := b.run(b.managed("once-more", m, "172.31.206.11", ""))
	// Of the network nothing is left, and of the node what was beside its container.
	spares, err = sweeper.Unused(b.Context(), b.lab)
	if err != nil || len(spares) != 1 || spares[0].Node != ref.Node || spares[0].Type != "node folder" {
		b.Fatalf("beside the network that is used there is %+v, %v", spares, err)
	}
	if err := sweeper.Sweep(b.Context(), spares[0]); err != nil {
		b.Error(err)
	}
	if spares, err := sweeper.Unused(b.Context(), b.lab); err != nil || len(spares) > 0 {
		b.Errorf("what was removed is still found: %+v, %v", spares, err)
	}
	if err := errors.Join(b.Remove(b.Context(), ref), b.Remove(b.Context(), next)); err != nil {
		b.Error(err)
	}
}

// plug puts an interface of the machine's onto a bridge, until it is taken off.
func (b *bench) plug(bridge string) (unplug func()) {
	b.Helper()
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "arch-left0"}, PeerName: "arch-left1"}
	if err := netlink.LinkAdd(l); err != nil {
		b.Fatal(err)
	}
	unplug = func() { _ = netlink.LinkDel(l) }
	b.Cleanup(unplug)
	on, err := net.InterfaceByName(bridge)
	if err == nil {
		err = netlink.LinkSetMasterByIndex(l, on.Index)
	}
	if err != nil {
		b.Fatal(err)
	}
	return unplug
}

// bare checks that neither a bridge nor its rules and those of its subnets and
// ports are on the machine.
func (b *bench) bare(when, bridge string) {
	b.Helper()
	if _, err := net.InterfaceByName(bridge); err == nil {
		b.Errorf("%s: the machine still has %s", when, bridge)
	}
	for _, program := range iptables.Programs() {
		for _, table := range []string{"filter", "nat"} {
			rules, err := exec.CommandContext(b.Context(), program, "-w", "-t", table, "-S").Output()
			if err != nil {
				continue // a family that this machine does not have
			}
			for rule := range strings.Lines(string(rules)) {
				for _, word := range []string{bridge, "172.31.205.", "fd31:205:", "28205"} {
					if strings.Contains(rule, word) {
						b.Errorf("%s: the machine still has, in %s of %s: %s", when, table, program, rule)
					}
				}
			}
		}
	}
}
