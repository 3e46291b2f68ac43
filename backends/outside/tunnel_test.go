package outside_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/internal/nstest"
	"archetype/lab"
)

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

// What is told of a tunnel is what was made and what has passed, whether
// anything ever came included; and a path that becomes narrower is no hole in
// which large frames vanish: the link says so, and is made anew to fit it.
func TestTunnelsTell(t *testing.T) {
	every(t, func(b *bench) {
		tell := b.net.(backends.Tunneler)
		events, err := b.out.Events(b.Context())
		b.ok(err)
		for _, kind := range []lab.OutsideType{lab.OutsideVXLAN, lab.OutsideVXLANStitch} {
			far := nstest.New(b.T)
			nstest.Cable(b.host, "nic", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
			l := b.link("vxlan:192.0.2.2/77", lab.Outside{Type: kind, Remote: "192.0.2.2", VNI: 77})
			if _, err := tell.Tunnel(b.Context(), l); !errors.Is(err, backends.ErrNotFound) {
				b.Errorf("%s before it is made: %v", kind, err)
			}
			before := b.host.Names()
			b.connect(l)
			st, err := tell.Tunnel(b.Context(), l)
			if err != nil || st.State != lab.TunnelFailed || !strings.Contains(st.Reason, "192.0.2.2 takes nothing on UDP port 14789") || st.Rx.Packets != 0 {
				b.Errorf("%s without its far end: %+v, %v", kind, st, err)
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU = "vx", 1450
			b.ok(far.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 77, Port: 14789, Group: netip.MustParseAddr("192.0.2.1").AsSlice()}))
			far.Address("vx", "10.9.0.2/24")
			const many, size = 20, 1000
			for range many {
				b.ok(nstest.Send(b.node, far, "10.9.0.2", size))
				b.ok(nstest.Send(far, b.node, "10.9.0.1", size))
			}
			st, err = tell.Tunnel(b.Context(), l)
			if err != nil || st.State != lab.TunnelActive || st.VNI != 77 || st.UDPPort != lab.DefaultVXLANPort ||
				st.Remote.String() != "192.0.2.2" || st.Local.String() != "192.0.2.1" || st.Device != "nic" || st.PathMTU != 1500 || st.MTU != 1450 {
				b.Errorf("%s: %+v, %v", kind, st, err)
			}
			for way, c := range map[string]backends.Counters{"sent": st.Tx, "received": st.Rx} {
				if c.Packets < many || c.Bytes < many*size || c.Errors+c.Dropped > 0 {
					b.Errorf("%s: of %d packets of %d bytes %s: %+v", kind, many, size, way, c)
				}
			}

			nic, err := b.host.LinkByName("nic")
			b.ok(err)
			b.ok(b.host.LinkSetMTU(nic, 1400))
			for late := time.After(time.Minute); ; { // it is heard of, though nobody asks
				select {
				case st := <-events:
					if st.ID != l.ID() || st.Connected {
						continue
					}
				case <-late:
					b.Fatalf("%s: nothing is heard of a path that is narrower", kind)
				}
				break
			}
			if st := b.state(l); st.Connected || !strings.Contains(st.Reason, "1400") {
				b.Errorf("%s on a path that is narrower: %+v", kind, st)
			}
			b.connect(l)
			b.ok(nstest.Send(b.node, far, "10.9.0.2", 1350))
			if err := nstest.Send(b.node, far, "10.9.0.2", 1351); !errors.Is(err, unix.EMSGSIZE) {
				b.Errorf("%s: more than the narrower path carries: %v", kind, err)
			}
			if st, err := tell.Tunnel(b.Context(), l); err != nil || st.MTU != 1350 || st.PathMTU != 1400 {
				b.Errorf("%s on a narrower path: %+v, %v", kind, st, err)
			}
			b.gone(l, before)
			b.ok(b.host.Delete("nic"))
		}
		l := b.link("host:other", lab.Outside{Type: lab.OutsideHost, Interface: "other"})
		if _, err := tell.Tunnel(b.Context(), l); !errors.Is(err, backends.ErrUnsupported) {
			b.Errorf("of a link that is no tunnel: %v", err)
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
