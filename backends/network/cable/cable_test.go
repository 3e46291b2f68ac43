package cable_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/cable"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/nsnet"
	"archetype/backends/network/veth"
	"archetype/internal/nstest"
	"archetype/lab"
)

// program is one run of ours, which ends while its links stay.
type program struct {
	*testing.T
	*cable.Network
	events <-chan backends.LinkStatus
	last   map[string]backends.LinkStatus
	end    func()
}

// bench is two nodes and what our programs keep beside them.
type bench struct {
	*testing.T
	panel, a, b *nstest.NS
	network     func(panel string) (*cable.Network, error)
}

func (b *bench) start() *program {
	b.Helper()
	n, err := b.network(b.panel.Path)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	p := &program{T: b.T, Network: n, end: cancel, last: map[string]backends.LinkStatus{}}
	if p.events, err = n.Events(ctx); err != nil {
		b.Fatal(err)
	}
	return p
}

// stop ends it, and returns once it listens no more.
func (p *program) stop() {
	p.end()
	for range p.events {
	}
}

// until waits for an event of the link after which it is as wanted.
func (p *program) until(what string, l backends.Link, ok func(backends.LinkStatus) bool) {
	p.Helper()
	late := time.After(time.Minute)
	for !ok(p.last[l.ID()]) {
		select {
		case st, open := <-p.events:
			if !open {
				p.Fatalf("%s: the events ended", what)
			}
			p.last[st.ID] = st
		case <-late:
			p.Fatalf("%s: no event; the last one is %+v", what, p.last[l.ID()])
		}
	}
}

func (p *program) state(l backends.Link) backends.LinkStatus {
	p.Helper()
	st, err := p.State(p.Context(), l)
	if err != nil && !errors.Is(err, backends.ErrNotFound) {
		p.Fatal(err)
	}
	return st
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func up(st backends.LinkStatus) bool    { return st.Connected && st.Carrier == lab.CarrierOn }
func apart(st backends.LinkStatus) bool { return st.Gone || st.Lab != "" && !st.Connected }
func dark(st backends.LinkStatus) bool {
	return st.Connected && !st.Cut && st.Carrier == lab.CarrierOff
}

// every runs a test with every joint, as root and as an ordinary user.
func every(t *testing.T, f func(b *bench)) {
	nstest.Both(t, func(t *testing.T) {
		for name, network := range map[string]func(string) (*cable.Network, error){"veth": veth.New, "linuxbridge": linuxbridge.New} {
			t.Run(name, func(t *testing.T) {
				f(&bench{T: t, panel: nstest.New(t), a: nstest.New(t), b: nstest.New(t), network: network})
			})
		}
	})
}

// link is one between a's eth1, 10.9.0.1, and b's, 10.9.0.2.
func (b *bench) link() backends.Link {
	port := func(node string, ns *nstest.NS, address string) backends.Port {
		return backends.Port{Lab: "l", Attachment: ns.Attachment("eth1"), End: lab.End{
			Endpoint: lab.Endpoint{Node: node, Interface: "eth1"}, IPv4: []netip.Prefix{netip.MustParsePrefix(address)}}}
	}
	return backends.Link{Lab: "l", A: port("a", b.a, "10.9.0.1/24"), B: port("b", b.b, "10.9.0.2/24")}
}

func (b *bench) passes() {
	b.Helper()
	b.must(nstest.Send(b.a, b.b, "10.9.0.2", 100))
	b.must(nstest.Send(b.b, b.a, "10.9.0.1", 100))
}

func (b *bench) set(ns *nstest.NS, up bool) {
	b.Helper()
	l, err := ns.LinkByName("eth1")
	b.must(err)
	if up {
		b.must(ns.LinkSetUp(l))
	} else {
		b.must(ns.LinkSetDown(l))
	}
}

// carrier waits until a node's interface has it, or not.
func (b *bench) carrier(ns *nstest.NS, on bool) {
	b.Helper()
	nstest.Until(b.T, "carrier", func() bool {
		l, err := ns.LinkByName("eth1")
		b.must(err)
		return (l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0) == on
	})
}

// What a node does to its interface while no program of ours runs counts as
// soon as one does, and what one left another takes up.
func TestCarrierOutlivesTheProgram(t *testing.T) {
	every(t, func(b *bench) {
		l, p := b.link(), b.start()
		b.must(p.Connect(t.Context(), l))
		p.until("connected", l, up)
		b.set(b.a, false)
		b.carrier(b.b, false)
		p.stop()

		b.set(b.a, true) // and nobody gives b its carrier
		p = b.start()
		if st := p.state(l); !st.Connected || st.Cut {
			t.Errorf("an earlier program held it, and now it is %+v", st)
		}
		p.until("a is up again", l, up)
		b.passes()
		p.stop()

		b.set(b.b, false) // and nobody takes a's
		p = b.start()
		p.state(l)
		p.until("b is down", l, dark)
		b.carrier(b.a, false)
		p.stop()

		b.set(b.a, false)
		p = b.start()
		p.state(l)
		b.set(b.b, true)
		nstest.Until(t, "a is found to be down", func() bool { return strings.Contains(p.state(l).Reason, "a:eth1") })
		b.carrier(b.b, false)
		b.must(p.Disconnect(t.Context(), l))
		if st := p.state(l); !st.Cut {
			t.Errorf("cut while it was held: %+v", st)
		}
		p.stop()

		p = b.start()
		if st := p.state(l); !st.Cut {
			t.Errorf("cut before: %+v", st)
		}
		b.set(b.a, true)
		b.must(p.Connect(t.Context(), l))
		p.until("joined", l, up)
		b.passes()
		b.must(p.Cleanup(t.Context(), "l"))
		if left := b.panel.Names(); len(left) > 0 {
			t.Errorf("left in the panel: %v", left)
		}
		p.stop()
	})
}

// far is the far end of a's interface.
func (b *bench) far() netlink.Link {
	b.Helper()
	l, err := b.a.LinkByName("eth1")
	b.must(err)
	far, err := b.panel.LinkByIndex(l.Attrs().ParentIndex)
	b.must(err)
	return far
}

// harms are what others may do to what is ours.
func (b *bench) harms() map[string]func() {
	return map[string]func(){
		"interface deleted in its node": func() { b.must(b.a.Delete("eth1")) },
		"far end deleted":               func() { b.must(b.panel.LinkDel(b.far())) },
		"far end down":                  func() { b.must(b.panel.LinkSetDown(b.far())) },
		"far end renamed":               func() { b.must(b.panel.LinkSetName(b.far(), "another")) },
		"bridge deleted, or the patch": func() {
			far := b.far()
			if m := far.Attrs().MasterIndex; m != 0 {
				br, err := b.panel.LinkByIndex(m)
				b.must(err)
				b.must(b.panel.LinkDel(br))
				return
			}
			b.must(b.panel.Unpatch(far.Attrs().Index))
		},
		"bridge down, or the patch gone": func() {
			far := b.far()
			if m := far.Attrs().MasterIndex; m != 0 {
				br, err := b.panel.LinkByIndex(m)
				b.must(err)
				b.must(b.panel.LinkSetDown(br))
				return
			}
			b.must(b.panel.Unpatch(far.Attrs().Index))
		},
		"far end put on another bridge": func() {
			b.must(b.panel.Delete("stranger"))
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Flags = "stranger", net.FlagUp
			br := &netlink.Bridge{LinkAttrs: attrs}
			b.must(b.panel.LinkAdd(br))
			far := b.far()
			b.must(b.panel.Unpatch(far.Attrs().Index))
			b.must(b.panel.LinkSetMaster(far, br))
		},
		"everything deleted": func() { b.must(b.panel.DeleteGroup(nsnet.Group("l"))) },
	}
}

// What others do to our interfaces and bridges is told at once while we run,
// is seen by the first look when we did not, and is set right by connecting.
func TestBehindOurBack(t *testing.T) {
	every(t, func(b *bench) {
		l, p := b.link(), b.start()
		for what, harm := range b.harms() {
			b.must(p.Connect(t.Context(), l))
			p.until("connected", l, up)
			harm()
			p.until(what, l, apart)
			if st := p.state(l); st.Connected {
				t.Errorf("%s: %+v", what, st)
			}
			b.must(p.Connect(t.Context(), l))
			p.until(what+" set right", l, up)
			b.passes()
			p.stop()

			harm()
			p = b.start()
			if st := p.state(l); st.Connected {
				t.Errorf("%s while no program ran: %+v", what, st)
			}
			b.must(p.Connect(t.Context(), l))
			p.until(what+" set right by another program", l, up)
			b.passes()
		}
		p.stop()
	})
}

// What is no bridge and stands where a link's bridge goes is named, and stays.
func TestAStrangerInTheBridgesPlace(t *testing.T) {
	b := &bench{T: t, panel: nstest.New(t), a: nstest.New(t), b: nstest.New(t), network: linuxbridge.New}
	l, p := b.link(), b.start()
	defer p.stop()
	name := nsnet.Name("b", l.Lab, l.ID())
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	b.must(b.panel.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "stranger"}))
	if err := p.Connect(t.Context(), l); !errors.Is(err, backends.ErrConflict) || !strings.Contains(err.Error(), name) {
		t.Errorf("connected: %v", err)
	}
	b.must(p.DeleteLink(t.Context(), l))
	b.must(b.panel.Delete(name))
	b.must(p.Connect(t.Context(), l))
	b.passes()
}
