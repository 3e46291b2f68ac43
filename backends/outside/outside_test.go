package outside_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/veth"
	"archetype/backends/outside"
	"archetype/backends/overlay/vxlan"
	"archetype/internal/nstest"
	"archetype/lab"
)

// bench is a machine with one node, both namespaces.
type bench struct {
	*testing.T
	host, panel, node *nstest.NS
	out               *outside.Outside
	net               backends.Network // as links that leave the lab see it
}

var networks = map[string]func(panel string) (backends.Network, error){
	"veth":        func(p string) (backends.Network, error) { return veth.New(p) },
	"linuxbridge": func(p string) (backends.Network, error) { return linuxbridge.New(p) },
}

func newBench(t *testing.T, network string) *bench {
	t.Helper()
	b := &bench{T: t, host: nstest.New(t), panel: nstest.New(t), node: nstest.New(t)}
	tunnels, err := vxlan.New(b.host.Path, b.panel.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tunnels.Close() })
	b.out, err = outside.New(outside.Config{Host: b.host.Path, Panel: b.panel.Path, Tunnels: tunnels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.out.Close() })
	n, err := networks[network](b.panel.Path)
	if err != nil {
		t.Fatal(err)
	}
	b.net = b.out.Over(n)
	return b
}

// every runs a test over every network, as root and rootless.
func every(t *testing.T, f func(b *bench)) {
	nstest.Both(t, func(t *testing.T) {
		for name := range networks {
			t.Run(name, func(t *testing.T) { f(newBench(t, name)) })
		}
	})
}

// link is one from the node's eth1, 10.9.0.1, to somewhere.
func (b *bench) link(far string, out lab.Outside) backends.Link {
	e, _ := lab.ParseEndpoint(far)
	return backends.Link{Lab: "l", A: backends.Port{Lab: "l", Attachment: b.node.Attachment("eth1"),
		End: lab.End{Endpoint: lab.Endpoint{Node: "n1", Interface: "eth1"}, IPv4: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}}},
		B: backends.Port{Lab: "l", End: lab.End{Endpoint: e}, Outside: &out}}
}

func (b *bench) connect(l backends.Link) {
	b.Helper()
	if err := b.net.Connect(b.Context(), l); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) state(l backends.Link) backends.LinkStatus {
	b.Helper()
	st, err := b.net.State(b.Context(), l)
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func (b *bench) carrier(l backends.Link, want lab.Carrier) {
	b.Helper()
	nstest.Until(b.T, "carrier "+string(want), func() bool { return b.state(l).Carrier == want })
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

// life takes a link through all that can happen to it while the far end, an
// interface in another namespace, has 10.9.0.2; and checks that nothing but
// what was there before is left of it.
func (b *bench) life(l backends.Link, far *nstest.NS, before []string) {
	b.Helper()
	ctx := b.Context()
	b.carrier(l, lab.CarrierOn)
	if st := b.state(l); !st.Connected {
		b.Fatalf("%+v", st)
	}
	b.ok(nstest.Send(b.node, far, "10.9.0.2", 1000))
	b.ok(nstest.Send(far, b.node, "10.9.0.1", 1000))
	b.connect(l) // twice is once
	b.ok(nstest.Send(b.node, far, "10.9.0.2", 1000))

	for range 2 {
		b.ok(b.net.Disconnect(ctx, l))
	}
	b.carrier(l, lab.CarrierOff)
	if st := b.state(l); st.Connected || st.Reason != "cut" {
		b.Errorf("cut: %+v", st)
	}
	b.ok(nstest.Silent(b.node, far, "10.9.0.2"))
	b.connect(l)
	b.carrier(l, lab.CarrierOn)
	b.ok(nstest.Send(b.node, far, "10.9.0.2", 1000))
	b.gone(l, before)
}

func (b *bench) gone(l backends.Link, before []string) {
	b.Helper()
	ctx := b.Context()
	for range 2 {
		b.ok(b.net.DeleteLink(ctx, l))
	}
	if _, err := b.net.State(ctx, l); !errors.Is(err, backends.ErrNotFound) {
		b.Errorf("after its removal: %v", err)
	}
	if got := b.node.Names(); len(got) != 0 {
		b.Errorf("left in the node: %q", got)
	}
	b.ok(b.net.Cleanup(ctx, "l"))
	b.ok(b.out.Cleanup(ctx, "l"))
	if got := b.host.Names(); !slices.Equal(got, before) {
		b.Errorf("on the machine: %q before, %q after", before, got)
	}
	if got := b.panel.Names(); len(got) != 0 {
		b.Errorf("left in the panel: %q", got)
	}
}

func TestHost(t *testing.T) {
	every(t, func(b *bench) {
		l := b.link("host:eth7", lab.Outside{Type: lab.OutsideHost, Interface: "eth7"})
		l.B.End.IPv4 = []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}
		before := b.host.Names()
		b.connect(l)
		b.life(l, b.host, before)
	})
}

// lan puts a namespace with an address onto a bridge of the machine.
func (b *bench) lan(mtu int) *nstest.NS {
	b.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "br-lan", mtu
	if err := b.host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		b.Fatal(err)
	}
	b.host.Address("br-lan", "")
	far := nstest.New(b.T)
	nstest.Cable(b.host, "port0", "", far, "eth0", "10.9.0.2/24", mtu)
	port, err := b.host.LinkByName("port0")
	if err != nil {
		b.Fatal(err)
	}
	// As high as one that the kernel makes up may be by chance.
	b.ok(b.host.LinkSetHardwareAddr(port, net.HardwareAddr{0xfe, 0xfe, 0, 0, 0, 1}))
	b.enslave("port0")
	return far
}

func (b *bench) enslave(port string) {
	b.Helper()
	l, err := b.host.LinkByName(port)
	if err != nil {
		b.Fatal(err)
	}
	br, err := b.host.LinkByName("br-lan")
	if err != nil {
		b.Fatal(err)
	}
	if err := b.host.LinkSetMasterByIndex(l, br.Attrs().Index); err != nil {
		b.Fatal(err)
	}
}

func TestBridge(t *testing.T) {
	every(t, func(b *bench) {
		far := b.lan(1400)
		l := b.link("br-lan:lab1", lab.Outside{Type: lab.OutsideBridge, Bridge: "br-lan", Interface: "lab1"})
		before := b.host.Names()
		was, err := b.host.LinkByName("br-lan")
		if err != nil {
			b.Fatal(err)
		}
		b.connect(l)
		// The bridge takes over the lowest address of its ports.
		if br, err := b.host.LinkByName("br-lan"); err != nil || br.Attrs().HardwareAddr.String() != was.Attrs().HardwareAddr.String() {
			b.Errorf("the bridge has changed its address from %s: %v, %v", was.Attrs().HardwareAddr, br, err)
		}
		// What is larger than the bridge's other ports carry is refused to the
		// sender's face instead of lost in the bridge.
		b.ok(nstest.Send(b.node, far, "10.9.0.2", 1400))
		if err := nstest.Send(b.node, far, "10.9.0.2", 1401); !errors.Is(err, unix.EMSGSIZE) {
			b.Errorf("more than the bridge carries: %v", err)
		}
		// Taken off the bridge behind our back, it is seen and put back.
		port, err := b.host.LinkByName("lab1")
		if err != nil {
			b.Fatal(err)
		}
		b.ok(b.host.LinkSetNoMaster(port))
		if st := b.state(l); st.Connected || !strings.Contains(st.Reason, "br-lan") {
			b.Errorf("off the bridge: %+v", st)
		}
		b.connect(l)
		b.life(l, far, before)
		br, err := b.host.LinkByName("br-lan")
		if err != nil || br.Attrs().MTU != 1400 {
			b.Errorf("the bridge is not as it was: %v, %v", br, err)
		}
	})
}

func TestManagementNetwork(t *testing.T) {
	b := newBench(t, "veth")
	far := b.lan(1500)
	l := b.link("mgmt-net:lab1", lab.Outside{Type: lab.OutsideManagement, Interface: "lab1"})
	if err := b.net.Connect(t.Context(), l); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "mgmt") {
		t.Errorf("with an unknown bridge: %v", err)
	}
	l.B.Management = &lab.Management{Bridge: "br-lan"}
	before := b.host.Names()
	b.connect(l)
	b.life(l, far, before)
}

func TestMacvlan(t *testing.T) {
	nstest.Both(t, func(t *testing.T) {
		for _, mode := range []string{"", "vepa", "private", "passthru"} {
			t.Run("mode "+mode, func(t *testing.T) {
				b := newBench(t, "veth")
				far := nstest.New(t)
				nstest.Cable(b.host, "nic", "", far, "eth0", "10.9.0.2/24", 1500)
				l := b.link("macvlan:nic", lab.Outside{Type: lab.OutsideMacvlan, Interface: "nic", Mode: mode})
				before := b.host.Names()
				err := b.net.Connect(t.Context(), l)
				if errors.Is(err, backends.ErrUnsupported) {
					t.Skip(err)
				}
				b.ok(err)
				b.ok(nstest.Send(b.node, far, "10.9.0.2", 1500))
				b.carrier(l, lab.CarrierOn)
				far.Down("eth0") // the machine's own cable is pulled
				b.carrier(l, lab.CarrierOff)
				far.Address("eth0", "")
				b.life(l, far, before)
			})
		}
	})
}

func TestDummy(t *testing.T) {
	every(t, func(b *bench) {
		l := b.link("dummy:", lab.Outside{Type: lab.OutsideDummy})
		l.B.End.Endpoint = lab.Endpoint{Node: "dummy"}
		l.A.MTU = 9000
		before := b.host.Names()
		b.connect(l)
		b.carrier(l, lab.CarrierOn)
		b.ok(nstest.Send(b.node, b.node, "10.9.0.1", 9000))
		dev, err := b.node.LinkByName("eth1")
		if err != nil || dev.Attrs().MTU != 9000 {
			b.Fatalf("%v, %v", dev, err)
		}
		b.ok(b.net.Disconnect(b.Context(), l))
		b.carrier(l, lab.CarrierOff)
		b.connect(l)
		b.carrier(l, lab.CarrierOn)
		notes, err := b.out.Check(b.Context(), lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}, nil)
		if err != nil || (dev.Type() != "dummy") != (len(notes) == 1) {
			b.Errorf("of type %s, and the notes are %q, %v", dev.Type(), notes, err)
		}
		b.gone(l, before)
	})
}
