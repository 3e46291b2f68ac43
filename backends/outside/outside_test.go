package outside_test

import (
	"context"
	"errors"
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

// Both kinds of tunnel speak with each other and, of course, with anybody's
// VXLAN: the far machine has its own, made by hand.
func TestVXLAN(t *testing.T) {
	every(t, func(b *bench) {
		for _, kind := range []lab.OutsideType{lab.OutsideVXLAN, lab.OutsideVXLANStitch} {
			far := nstest.New(b.T)
			nstest.Cable(b.host, "nic", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU = "vx", 1450
			b.ok(far.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 77, Port: 14789, Group: netip.MustParseAddr("192.0.2.1").AsSlice()}))
			far.Address("vx", "10.9.0.2/24")
			l := b.link("vxlan:192.0.2.2/77", lab.Outside{Type: kind, Remote: "192.0.2.2", VNI: 77})
			spec := lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}
			notes, err := b.out.Check(b.Context(), spec, nil)
			if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "1450") {
				b.Errorf("%q, %v", notes, err)
			}
			before := b.host.Names()
			b.connect(l)
			b.ok(nstest.Send(b.node, far, "10.9.0.2", 1450))
			if err := nstest.Send(b.node, far, "10.9.0.2", 1451); !errors.Is(err, unix.EMSGSIZE) {
				b.Errorf("%s: more than the tunnel carries: %v", kind, err)
			}
			if _, err := b.out.Check(b.Context(), spec, nil); err != nil {
				b.Errorf("checked while it is there: %v", err)
			}
			// Somebody takes the tunnel away: it is found, and connecting makes it again.
			b.ok(b.takeTunnel(l, before))
			if st, err := b.net.State(b.Context(), l); !errors.Is(err, backends.ErrNotFound) && (err != nil || st.Connected || st.Reason == "") {
				b.Errorf("%s without its tunnel: %+v, %v", kind, st, err)
			}
			b.connect(l)
			b.ok(nstest.Send(b.node, far, "10.9.0.2", 1000))
			b.life(l, far, before)
			b.ok(b.host.Delete("nic"))
		}
	})
}

// takeTunnel removes the VXLAN interface of a link: in the node, or on the
// machine among those that were not there before.
func (b *bench) takeTunnel(l backends.Link, before []string) error {
	for _, name := range b.host.Names() {
		if dev, err := b.host.LinkByName(name); err == nil && dev.Type() == "vxlan" && !slices.Contains(before, name) {
			return b.host.Delete(name)
		}
	}
	return b.node.Delete(l.A.End.Interface)
}

func TestTunnelsSayWhatIsWrong(t *testing.T) {
	for _, kind := range []lab.OutsideType{lab.OutsideVXLAN, lab.OutsideVXLANStitch} {
		b := newBench(t, "veth")
		far := nstest.New(t)
		nstest.Cable(b.host, "nic", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
		for name, c := range map[string]struct {
			out  lab.Outside
			mtu  int
			want error
			text string
		}{
			"no route":     {lab.Outside{Remote: "203.0.113.1", VNI: 5}, 0, backends.ErrUnavailable, "203.0.113.1"},
			"a large MTU":  {lab.Outside{Remote: "192.0.2.2", VNI: 5}, 1500, backends.ErrConflict, "1550"},
			"no parent":    {lab.Outside{Remote: "192.0.2.2", VNI: 5, Parent: "eth9"}, 0, backends.ErrUnavailable, "eth9"},
			"not a remote": {lab.Outside{Remote: "no such machine", VNI: 5}, 0, backends.ErrUnavailable, "no such machine"},
		} {
			c.out.Type = kind
			l := b.link("vxlan:x/5", c.out)
			l.A.MTU = c.mtu
			_, err := b.out.Check(t.Context(), lab.Link{A: l.A.End, B: l.B.End, MTU: c.mtu, Outside: l.B.Outside}, nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s, %s: checked: %v", kind, name, err)
			}
			err = b.net.Connect(t.Context(), l)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.HasPrefix(err.Error(), "link n1:eth1 -- ") {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
			if names := b.node.Names(); len(names) != 0 {
				t.Errorf("%s, %s: left behind: %q", kind, name, names)
			}
		}
	}
}

// What others have on the machine is never touched, and said to be in the way.
func TestStrangersAreLeftAlone(t *testing.T) {
	every(t, func(b *bench) {
		far := nstest.New(b.T)
		nstest.Cable(b.host, "eth7", "10.9.0.3/24", far, "eth0", "10.9.0.2/24", 1500)
		l := b.link("host:eth7", lab.Outside{Type: lab.OutsideHost, Interface: "eth7"})
		_, err := b.out.Check(b.Context(), lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}, nil)
		if !errors.Is(err, backends.ErrConflict) {
			b.Errorf("checked: %v", err)
		}
		if err := b.net.Connect(b.Context(), l); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "eth7") {
			b.Errorf("connected: %v", err)
		}
		b.ok(b.net.DeleteLink(b.Context(), l))
		b.ok(b.out.Cleanup(b.Context(), "l"))
		b.ok(nstest.Send(b.host, far, "10.9.0.2", 100))
		// Another lab's is not this one's either.
		theirs := b.link("host:eth8", lab.Outside{Type: lab.OutsideHost, Interface: "eth8"})
		theirs.Lab, theirs.A.Lab, theirs.B.Lab = "other", "other", "other"
		b.connect(theirs)
		ours := b.link("host:eth8", lab.Outside{Type: lab.OutsideHost, Interface: "eth8"})
		ours.A.Attachment.Interface = "eth2"
		if err := b.net.Connect(b.Context(), ours); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), "lab other") {
			b.Errorf("another lab's: %v", err)
		}
		b.ok(b.net.DeleteLink(b.Context(), ours))
		b.ok(b.out.Cleanup(b.Context(), "l"))
		if !slices.Contains(b.host.Names(), "eth8") {
			b.Error("another lab's interface is gone")
		}
	})
}

func TestCheckSaysWhatTheMachineLacks(t *testing.T) {
	b := newBench(t, "veth")
	for name, c := range map[string]struct {
		out  lab.Outside
		want error
		text string
	}{
		"no bridge":       {lab.Outside{Type: lab.OutsideBridge, Bridge: "br9", Interface: "p1"}, backends.ErrUnavailable, "ip link add br9"},
		"no bridge at lo": {lab.Outside{Type: lab.OutsideBridge, Bridge: "lo", Interface: "p1"}, backends.ErrConflict, "no bridge"},
		"no switch":       {lab.Outside{Type: lab.OutsideOVSBridge, Bridge: "br9", Interface: "p1"}, backends.ErrUnavailable, "Open vSwitch"},
		"no parent":       {lab.Outside{Type: lab.OutsideMacvlan, Interface: "eth9"}, backends.ErrUnavailable, "eth9"},
		"no such mode":    {lab.Outside{Type: lab.OutsideMacvlan, Interface: "lo", Mode: "bogus"}, backends.ErrUnsupported, "passthru"},
	} {
		l := b.link("x:y", c.out)
		_, err := b.out.Check(t.Context(), lab.Link{A: l.A.End, B: l.B.End, Outside: l.B.Outside}, nil)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What changes on the machine reaches whoever listens.
func TestEvents(t *testing.T) {
	b := newBench(t, "linuxbridge")
	b.lan(1500)
	far := nstest.New(t)
	nstest.Cable(b.host, "nic", "", far, "eth0", "", 1500)
	port := b.link("br-lan:lab1", lab.Outside{Type: lab.OutsideBridge, Bridge: "br-lan", Interface: "lab1"})
	lan := b.link("macvlan:nic", lab.Outside{Type: lab.OutsideMacvlan, Interface: "nic"})
	lan.A.End.Interface, lan.A.Attachment.Interface = "eth2", "eth2"
	ctx, cancel := context.WithCancel(t.Context())
	events, err := b.out.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.connect(port)
	b.connect(lan)
	heard := func(what string, id string, f func(backends.LinkStatus) bool) {
		t.Helper()
		for st := range events {
			if st.ID == id && st.Lab == "l" && f(st) {
				return
			}
		}
		t.Fatal("never heard: " + what)
	}
	heard("the port on its bridge", port.ID(), func(st backends.LinkStatus) bool { return st.Connected })
	dev, err := b.host.LinkByName("lab1")
	if err != nil {
		t.Fatal(err)
	}
	b.ok(b.host.LinkSetNoMaster(dev))
	heard("the port off its bridge", port.ID(), func(st backends.LinkStatus) bool { return !st.Connected && !st.Gone })
	b.ok(b.host.Delete("lab1"))
	heard("the port gone", port.ID(), func(st backends.LinkStatus) bool { return !st.Connected })
	far.Down("eth0")
	heard("carrier lost", lan.ID(), func(st backends.LinkStatus) bool { return st.Connected && st.Carrier == lab.CarrierOff })
	far.Address("eth0", "")
	heard("carrier back", lan.ID(), func(st backends.LinkStatus) bool { return st.Carrier == lab.CarrierOn })
	b.ok(b.node.Delete("eth2"))
	heard("the interface gone", lan.ID(), func(st backends.LinkStatus) bool { return st.Gone })
	cancel()
	for range events { // until it is closed
	}
}

// Every sort of link is spoken of, and one that the machine cannot have comes
// with the reason and what would help. Trying leaves nothing behind.
func TestOffers(t *testing.T) {
	nstest.Both(t, func(t *testing.T) {
		b := newBench(t, "veth")
		var types []lab.OutsideType
		for range 2 {
			types = nil
			for _, offer := range b.out.Offers(t.Context()) {
				types = append(types, offer.Type)
				if offer.OK == (offer.Reason != "") || !offer.OK && offer.Fix == "" {
					t.Errorf("%+v", offer)
				}
			}
		}
		for _, want := range lab.OutsideTypes() {
			if !slices.Contains(types, want) {
				t.Errorf("not a word of %s", want)
			}
		}
		if left := append(b.host.Names(), b.panel.Names()...); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}
