package vxlan_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/veth"
	"archetype/backends/overlay"
	"archetype/backends/overlay/vxlan"
	"archetype/internal/nstest"
	"archetype/lab"
)

// machine is a host with one node, in namespaces.
type machine struct {
	name              string
	host, panel, node *nstest.NS
	address           string // of the node
	*vxlan.Overlay
	network backends.Network
}

func newMachine(t *testing.T, name, address string, network func(string) (backends.Network, error)) *machine {
	t.Helper()
	m := &machine{name: name, host: nstest.New(t), panel: nstest.New(t), node: nstest.New(t), address: address}
	var err error
	if m.Overlay, err = vxlan.New(m.host.Path, m.panel.Path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if a := m.Available(t.Context()); !a.OK {
		t.Skip(a.Reason)
	}
	if m.network, err = network(m.panel.Path); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) tunnel(far *machine, remote string) backends.Tunnel {
	return backends.Tunnel{Lab: "wan", Near: m.name, Far: far.name, Remote: netip.MustParseAddr(remote)}
}

// link wires the machine's node to the tunnel, by the network it has.
func (m *machine) link(t *testing.T, tun backends.Tunnel) backends.TunnelStatus {
	t.Helper()
	st, err := m.Create(t.Context(), tun)
	if err != nil {
		t.Fatal(err)
	}
	if st.State != lab.TunnelActive || st.Joined {
		t.Fatalf("%+v", st)
	}
	if err := m.network.Connect(t.Context(), m.wire(st)); err != nil {
		t.Fatal(err)
	}
	if st, err = m.Create(t.Context(), tun); err != nil || !st.Joined {
		t.Fatalf("%+v, %v", st, err)
	}
	return st
}

func (m *machine) wire(st backends.TunnelStatus) backends.Link {
	var l backends.Link
	l.Lab = st.Lab
	l.A = backends.Port{Lab: st.Lab, MTU: st.MTU, Attachment: m.node.Attachment("eth1"), End: lab.End{
		Endpoint: lab.Endpoint{Node: m.name, Interface: "eth1"}, IPv4: []netip.Prefix{netip.MustParsePrefix(m.address)}}}
	l.B = backends.Port{Lab: st.Lab, MTU: st.MTU, Attachment: st.Attachment, End: lab.End{
		Endpoint: lab.Endpoint{Node: "tunnel", Interface: st.Far}}}
	return l
}

func vethNetwork(p string) (backends.Network, error)   { return veth.New(p) }
func bridgeNetwork(p string) (backends.Network, error) { return linuxbridge.New(p) }

// twoMachines are joined by a cable of the MTU given; v6 says how they speak.
func twoMachines(t *testing.T, mtu int, v6 bool) (a, b *machine, addrA, addrB string) {
	t.Helper()
	a = newMachine(t, "left/r1:eth1", "10.7.0.1/24", vethNetwork)
	b = newMachine(t, "right/r2:eth1", "10.7.0.2/24", bridgeNetwork)
	addrA, addrB = "192.0.2.1", "192.0.2.2"
	bits := "/24"
	if v6 {
		addrA, addrB, bits = "2001:db8::1", "2001:db8::2", "/64"
	}
	nstest.Cable(a.host, "uplink", addrA+bits, b.host, "uplink", addrB+bits, mtu)
	return a, b, addrA, addrB
}

// The two ends are made without talking; what crosses is whole, up to the
// very last byte of the MTU that the nodes' interfaces were given.
func TestTwoMachines(t *testing.T) {
	nstest.Both(t, func(t *testing.T) {
		for _, c := range []struct {
			name     string
			v6       bool
			path     int
			wantMTU  int
			wantNote bool
		}{
			{"IPv4", false, 1500, 1450, true},
			{"IPv6", true, 1500, 1430, true},
			{"a wide path", false, 9050, 1500, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				a, b, addrA, addrB := twoMachines(t, c.path, c.v6)
				sa := a.link(t, a.tunnel(b, addrB))
				sb := b.link(t, b.tunnel(a, addrA))
				if sa.VNI != sb.VNI || sa.VNI == 0 {
					t.Fatalf("VNI %d here, %d there", sa.VNI, sb.VNI)
				}
				if sa.MTU != c.wantMTU || (len(sa.Notes) > 0) != c.wantNote {
					t.Fatalf("MTU %d, notes %q", sa.MTU, sa.Notes)
				}
				if sa.Local.String() != addrA || sa.Device != "uplink" {
					t.Errorf("%+v", sa)
				}
				for _, size := range []int{100, c.wantMTU} {
					if err := nstest.Send(a.node, b.node, "10.7.0.2", size); err != nil {
						t.Error(err)
					}
					if err := nstest.Send(b.node, a.node, "10.7.0.1", size); err != nil {
						t.Error(err)
					}
				}
				// One byte more is refused to the sender's face.
				if err := nstest.Send(a.node, b.node, "10.7.0.2", c.wantMTU+1); !errors.Is(err, unix.EMSGSIZE) {
					t.Errorf("a packet of %d bytes: %v", c.wantMTU+1, err)
				}
				st, err := a.Status(t.Context(), a.tunnel(b, addrB))
				if err != nil || st.State != lab.TunnelActive || st.Carrier != lab.CarrierOn {
					t.Fatalf("%+v, %v", st, err)
				}
				if st.Rx.Packets < 2 || st.Tx.Packets < 2 || st.Tx.Bytes < uint64(c.wantMTU) || st.Rx.Bytes < uint64(c.wantMTU) {
					t.Errorf("counted %+v in, %+v out", st.Rx, st.Tx)
				}
			})
		}
	})
}

func TestJumboFramesCrossAWidePath(t *testing.T) {
	a, b, addrA, addrB := twoMachines(t, 9100, false)
	ta, tb := a.tunnel(b, addrB), b.tunnel(a, addrA)
	ta.MTU, tb.MTU = 9000, 9000
	a.link(t, ta)
	b.link(t, tb)
	if err := nstest.Send(a.node, b.node, "10.7.0.2", 9000); err != nil {
		t.Error(err)
	}
}

// A far end that is taken away is noticed, and so is one that comes back.
func TestTheFarEndGoesAndComes(t *testing.T) {
	a, b, addrA, addrB := twoMachines(t, 1500, false)
	ta, tb := a.tunnel(b, addrB), b.tunnel(a, addrA)
	a.link(t, ta)
	b.link(t, tb)
	if err := nstest.Send(a.node, b.node, "10.7.0.2", 1450); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), tb); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Status(t.Context(), tb); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("the end that was removed: %v", err)
	}
	st, err := a.Status(t.Context(), ta)
	if err != nil || st.State != lab.TunnelFailed || st.Carrier != lab.CarrierOff || !strings.Contains(st.Reason, addrB) {
		t.Errorf("the end that is left: %+v, %v", st, err)
	}
	if _, err := b.Create(t.Context(), tb); err != nil {
		t.Fatal(err)
	}
	if st, err = a.Status(t.Context(), ta); err != nil || st.State != lab.TunnelActive {
		t.Errorf("after it came back: %+v, %v", st, err)
	}
	if err := nstest.Send(a.node, b.node, "10.7.0.2", 1450); err != nil {
		t.Error(err)
	}
}

// What happens to the path under a tunnel is said, not left to be found out.
func TestThePathChangesUnderATunnel(t *testing.T) {
	a, b, addrA, addrB := twoMachines(t, 1500, false)
	ta := a.tunnel(b, addrB)
	a.link(t, ta)
	b.link(t, b.tunnel(a, addrA))
	up, err := a.host.LinkByName("uplink")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.host.LinkSetMTU(up, 1400); err != nil {
		t.Fatal(err)
	}
	st, err := a.Status(t.Context(), ta)
	if err != nil || st.State != lab.TunnelFailed || !strings.Contains(st.Reason, "1350") {
		t.Errorf("a narrower path: %+v, %v", st, err)
	}
	if st, err = a.Create(t.Context(), ta); err != nil || st.MTU != 1350 || st.State != lab.TunnelActive {
		t.Errorf("created again: %+v, %v", st, err)
	}
	ta.MTU = 1400
	if _, err = a.Create(t.Context(), ta); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "1450") {
		t.Errorf("an MTU that does not fit: %v", err)
	}
	a.host.Down("uplink")
	if st, err = a.Status(t.Context(), ta); err != nil || st.State != lab.TunnelFailed || st.Reason == "" {
		t.Errorf("without a path: %+v, %v", st, err)
	}
	ta.MTU = 0
	if _, err = a.Create(t.Context(), ta); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("created without a path: %v", err)
	}
}

func TestCreateAndDeleteAreIdempotent(t *testing.T) {
	a, b, _, addrB := twoMachines(t, 1500, false)
	ta := a.tunnel(b, addrB)
	ctx := t.Context()
	if err := a.Delete(ctx, ta); err != nil {
		t.Errorf("delete what never was: %v", err)
	}
	first, err := a.Create(ctx, ta)
	if err != nil {
		t.Fatal(err)
	}
	names := a.panel.Names()
	again, err := a.Create(ctx, ta)
	if err != nil || first.VNI != again.VNI || !slices.Equal(names, a.panel.Names()) {
		t.Errorf("created twice: %v, %q and then %q", err, names, a.panel.Names())
	}
	ta.VNI, ta.UDPPort = 77, 9999
	st, err := a.Create(ctx, ta)
	if err != nil || st.VNI != 77 || st.UDPPort != 9999 || !slices.Equal(names, a.panel.Names()) {
		t.Errorf("changed: %+v, %v, %q", st, err, a.panel.Names())
	}
	list, err := a.List(ctx, "")
	if err != nil || len(list) != 1 || list[0].Near != ta.Near || list[0].Far != ta.Far || list[0].Lab != "wan" || list[0].VNI != 77 {
		t.Errorf("found again: %+v, %v", list, err)
	}
	if list, err = a.List(ctx, "other"); err != nil || len(list) != 0 {
		t.Errorf("of another lab: %+v, %v", list, err)
	}
	for range 2 {
		if err := a.Delete(ctx, ta); err != nil {
			t.Fatal(err)
		}
	}
	if left := a.panel.Names(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A crash between any two steps leaves what the next Create mends.
func TestCreateMendsWhatIsHalfMade(t *testing.T) {
	a, b, addrA, addrB := twoMachines(t, 1500, false)
	ta := a.tunnel(b, addrB)
	a.link(t, ta)
	b.link(t, b.tunnel(a, addrA))
	for _, part := range a.panel.Names() {
		if strings.HasPrefix(part, "x") || strings.HasPrefix(part, "p") {
			continue // the network's
		}
		t.Run("without "+part[:1], func(t *testing.T) {
			if err := a.panel.Delete(part); err != nil {
				t.Fatal(err)
			}
			if st, err := a.Status(t.Context(), ta); err != nil || st.State != lab.TunnelFailed || st.Reason == "" {
				t.Errorf("%+v, %v", st, err)
			}
			if st, err := a.Create(t.Context(), ta); err != nil || st.State != lab.TunnelActive || !st.Joined {
				t.Errorf("%+v, %v", st, err)
			}
			if err := nstest.Send(b.node, a.node, "10.7.0.1", 1450); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTwoTunnelsNeverShareAVNI(t *testing.T) {
	a, b, _, addrB := twoMachines(t, 1500, false)
	ctx := t.Context()
	ta := a.tunnel(b, addrB)
	st, err := a.Create(ctx, ta)
	if err != nil {
		t.Fatal(err)
	}
	other := backends.Tunnel{Lab: "second", Near: "x", Far: "y", Remote: ta.Remote, VNI: st.VNI}
	_, err = a.Create(ctx, other)
	if !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), ta.Near) || !strings.Contains(err.Error(), "wan") {
		t.Errorf("the same VNI twice: %v", err)
	}
	other.VNI = 0
	if st2, err := a.Create(ctx, other); err != nil || st2.VNI == st.VNI || st2.VNI != overlay.VNI("x", "y") {
		t.Errorf("its own VNI: %+v, %v", st2, err)
	}
	// One that somebody else made is respected too, and left alone.
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "theirs"
	if err := a.host.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 4242, Port: overlay.DefaultPort}); err != nil {
		t.Fatal(err)
	}
	third := backends.Tunnel{Lab: "wan", Near: "p", Far: "q", Remote: ta.Remote, VNI: 4242}
	if _, err = a.Create(ctx, third); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("a stranger's VNI: %v", err)
	}
	if !slices.Contains(a.host.Names(), "theirs") {
		t.Error("the stranger's interface is gone")
	}
}

// Two tunnels between the same two machines stay apart.
func TestTunnelsAreApart(t *testing.T) {
	a, b, addrA, addrB := twoMachines(t, 1500, false)
	a.link(t, a.tunnel(b, addrB))
	tb := b.tunnel(a, addrA)
	tb.VNI = 1 // not what the other end has
	b.link(t, tb)
	if err := nstest.Silent(a.node, b.node, "10.7.0.2"); err != nil {
		t.Error(err)
	}
}

func TestCreateSaysWhatIsWrong(t *testing.T) {
	a, b, _, addrB := twoMachines(t, 1500, false)
	for name, c := range map[string]struct {
		change func(*backends.Tunnel)
		want   error
	}{
		"no route":               {func(t *backends.Tunnel) { t.Remote = netip.MustParseAddr("203.0.113.9") }, backends.ErrUnavailable},
		"an address of our own":  {func(t *backends.Tunnel) { t.Remote = netip.MustParseAddr("192.0.2.1") }, backends.ErrConflict},
		"a local that is not":    {func(t *backends.Tunnel) { t.Local = netip.MustParseAddr("192.0.2.77") }, backends.ErrUnavailable},
		"more than the path has": {func(t *backends.Tunnel) { t.MTU = 1500 }, backends.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			tun := a.tunnel(b, addrB)
			c.change(&tun)
			if _, err := a.Create(t.Context(), tun); !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			if left := a.panel.Names(); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestCreateEndsWithItsContext(t *testing.T) {
	a, b, _, addrB := twoMachines(t, 1500, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Create(ctx, a.tunnel(b, addrB)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := a.Delete(t.Context(), a.tunnel(b, addrB)); err != nil {
		t.Error(err)
	}
	if left := a.panel.Names(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestManyTunnelsAtOnce(t *testing.T) {
	a, b, _, addrB := twoMachines(t, 1500, false)
	const tunnels = 50
	errs := make(chan error, tunnels)
	for i := range tunnels {
		go func() {
			tun := a.tunnel(b, addrB)
			tun.Near = fmt.Sprint(tun.Near, i)
			_, err := a.Create(t.Context(), tun)
			errs <- err
		}()
	}
	for range tunnels {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if list, err := a.List(t.Context(), "wan"); err != nil || len(list) != tunnels {
		t.Errorf("%d tunnels, %v", len(list), err)
	}
}
