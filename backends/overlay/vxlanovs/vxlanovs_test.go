package vxlanovs_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/overlay/vxlanovs"
	"archetype/internal/nstest"
	"archetype/lab"
)

// machine is a host with its own Open vSwitch and one node.
type machine struct {
	name, address string
	sw            *ovstest.Switch
	host, node    *nstest.NS
	net           *ovs.Network
	*vxlanovs.Overlay
}

func newMachine(t *testing.T, name, address string) *machine {
	t.Helper()
	m := &machine{name: name, address: address, sw: ovstest.Start(t), node: nstest.New(t)}
	m.host = nstest.Enter(t, m.sw.Namespace())
	m.net = m.sw.Network(ovs.Config{})
	if a := m.net.Available(t.Context()); !a.OK {
		t.Skip(a.Reason)
	}
	m.Overlay = vxlanovs.New(m.net)
	return m
}

func (m *machine) tunnel(far *machine, remote string) backends.Tunnel {
	return backends.Tunnel{Lab: "wan", Near: m.name, Far: far.name, Remote: netip.MustParseAddr(remote)}
}

// link wires the machine's node to the tunnel.
func (m *machine) link(t *testing.T, tun backends.Tunnel) backends.TunnelStatus {
	t.Helper()
	st, err := m.Create(t.Context(), tun)
	if err != nil || st.State != lab.TunnelActive || st.Joined {
		t.Fatalf("%+v, %v", st, err)
	}
	end := func(node, name string) lab.End { return lab.End{Endpoint: lab.Endpoint{Node: node, Interface: name}} }
	l := backends.Link{Lab: "wan", A: backends.Port{Lab: "wan", MTU: st.MTU, Attachment: m.node.Attachment("eth1"), End: end(m.name, "eth1")},
		B: backends.Port{Lab: "wan", MTU: st.MTU, Attachment: st.Attachment, End: end("tunnel", "far")}}
	l.A.End.IPv4 = []netip.Prefix{netip.MustParsePrefix(m.address)}
	if err := m.net.Connect(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if st, err = m.Create(t.Context(), tun); err != nil || !st.Joined {
		t.Fatalf("%+v, %v", st, err)
	}
	return st
}

// twoMachines are joined by a cable that is a port of a bridge at each, as
// the userspace datapath wants it.
func twoMachines(t *testing.T) (a, b *machine) {
	t.Helper()
	a, b = newMachine(t, "left/r1:eth1", "10.7.0.1/24"), newMachine(t, "right/r2:eth1", "10.7.0.2/24")
	nstest.Cable(a.host, "uplink", "", b.host, "uplink", "", 1500)
	for m, address := range map[*machine]string{a: "192.0.2.1/24", b: "192.0.2.2/24"} {
		m.sw.Ctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "--", "add-port", "br-phy", "uplink")
		if err := m.host.Checksums("br-phy"); err != nil {
			t.Fatal(err)
		}
		// The kernel sees what comes in at the port too; it must not answer
		// for the address that the bridge has.
		if err := m.host.Sysctl("ipv4/conf/all/arp_ignore", "1"); err != nil {
			t.Fatal(err)
		}
		m.host.Address("br-phy", address)
	}
	return a, b
}

func TestTwoMachines(t *testing.T) {
	a, b := twoMachines(t)
	ta, tb := a.tunnel(b, "192.0.2.2"), b.tunnel(a, "192.0.2.1")
	sa, sb := a.link(t, ta), b.link(t, tb)
	if sa.VNI != sb.VNI || sa.VNI == 0 || sa.MTU != 1450 || len(sa.Notes) != 1 {
		t.Fatalf("%+v and %+v", sa, sb)
	}
	for _, size := range []int{100, 1450} {
		if err := nstest.Send(a.node, b.node, "10.7.0.2", size); err != nil {
			t.Error(err)
		}
		if err := nstest.Send(b.node, a.node, "10.7.0.1", size); err != nil {
			t.Error(err)
		}
	}
	if err := nstest.Send(a.node, b.node, "10.7.0.2", 1451); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("more than the tunnel carries: %v", err)
	}
	if err := nstest.Stream(a.node, b.node, "10.7.0.2"); err != nil {
		t.Error("TCP: ", err)
	}
	a.sw.Ctl("set", "Open_vSwitch", ".", "other_config:stats-update-interval=5000")
	nstest.Until(t, "the switch counts", func() bool {
		st, err := a.Status(t.Context(), ta)
		if err != nil || st.State != lab.TunnelActive {
			t.Fatalf("%+v, %v", st, err)
		}
		return st.Rx.Packets >= 2 && st.Tx.Packets >= 2 && st.Tx.Bytes >= 1450
	})

	// Its far end goes, and comes back.
	if err := b.Delete(t.Context(), tb); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Status(t.Context(), tb); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("the end that was removed: %v", err)
	}
	st, err := a.Status(t.Context(), ta)
	if err != nil || st.State != lab.TunnelFailed || !strings.Contains(st.Reason, "192.0.2.2") {
		t.Errorf("the end that is left: %+v, %v", st, err)
	}
	if st, err := b.Create(t.Context(), tb); err != nil || !st.Joined {
		t.Fatalf("%+v, %v", st, err)
	}
	if st, err = a.Status(t.Context(), ta); err != nil || st.State != lab.TunnelActive {
		t.Errorf("after it came back: %+v, %v", st, err)
	}
	if err := nstest.Send(a.node, b.node, "10.7.0.2", 1450); err != nil {
		t.Error(err)
	}
}

func TestLifeOfATunnel(t *testing.T) {
	a, b := twoMachines(t)
	ctx := t.Context()
	ta := a.tunnel(b, "192.0.2.2")
	if err := a.Delete(ctx, ta); err != nil {
		t.Errorf("delete what never was: %v", err)
	}
	before := strings.Fields(a.sw.Ctl("list-br"))
	first, err := a.Create(ctx, ta)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Create(ctx, ta); err != nil || again.VNI != first.VNI {
		t.Errorf("created twice: %+v, %v", again, err)
	}
	ta.VNI = 77
	if st, err := a.Create(ctx, ta); err != nil || st.VNI != 77 {
		t.Errorf("changed: %+v, %v", st, err)
	}
	other := backends.Tunnel{Lab: "second", Near: "x", Far: "y", Remote: ta.Remote, VNI: 77}
	if _, err := a.Create(ctx, other); !errors.Is(err, backends.ErrConflict) {
		t.Errorf("the same VNI twice: %v", err)
	}
	big := a.tunnel(b, "192.0.2.2")
	big.MTU = 1500
	if _, err := a.Create(ctx, big); !errors.Is(err, backends.ErrConflict) {
		t.Errorf("an MTU that does not fit: %v", err)
	}
	list, err := a.List(ctx, "wan")
	if err != nil || len(list) != 1 || list[0].Near != ta.Near || list[0].VNI != 77 {
		t.Errorf("found again: %+v, %v", list, err)
	}
	// Its port is taken off the bridge behind our back.
	for _, name := range strings.Fields(a.sw.Ctl("list-ports", strings.TrimSpace(strings.Join(newOnes(before, strings.Fields(a.sw.Ctl("list-br"))), "")))) {
		a.sw.Ctl("del-port", name)
	}
	if st, err := a.Status(ctx, ta); err != nil || st.State != lab.TunnelFailed {
		t.Errorf("without its port: %+v, %v", st, err)
	}
	if st, err := a.Create(ctx, ta); err != nil || st.State != lab.TunnelActive {
		t.Errorf("mended: %+v, %v", st, err)
	}
	for range 2 {
		if err := a.Delete(ctx, ta); err != nil {
			t.Fatal(err)
		}
	}
	if after := strings.Fields(a.sw.Ctl("list-br")); !slices.Equal(before, after) {
		t.Errorf("bridges: %q before, %q after", before, after)
	}
}

func newOnes(before, after []string) (out []string) {
	for _, s := range after {
		if !slices.Contains(before, s) {
			out = append(out, s)
		}
	}
	return out
}

// What the userspace datapath cannot reach is said before anything is made.
func TestAnUnderlayThatTheSwitchDoesNotHave(t *testing.T) {
	m := newMachine(t, "left", "10.7.0.1/24")
	if _, datapath, err := m.net.Place(t.Context()); err != nil || datapath != "netdev" {
		t.Skip("the kernel's datapath reaches everything: ", err)
	}
	far := nstest.New(t)
	nstest.Cable(m.host, "nic", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
	tun := backends.Tunnel{Lab: "wan", Near: "left", Far: "right", Remote: netip.MustParseAddr("192.0.2.2")}
	if _, err := m.Create(t.Context(), tun); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "nic") {
		t.Errorf("%v", err)
	}
	if br := strings.TrimSpace(m.sw.Ctl("list-br")); br != "" {
		t.Errorf("left behind: %s", br)
	}
}
