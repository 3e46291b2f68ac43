package conformance

import (
	"fmt"
	"net/netip"
	"slices"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/lab"
)

// testCase is one line of the table.
type testCase struct {
	name   string // words joined by hyphens
	run    func(*bench)
	needs  int  // new interfaces on one node
	renews bool // links of the ring are made anew, so far ends may have other names
	ends   bool // the lab is no more afterwards
}

// cases come in the order in which the table shows them. The last ones take
// the nodes apart.
func cases() []testCase {
	list := []testCase{
		{name: "interfaces-before-init", run: interfacesBeforeInit},
		{name: "isolation-before-connect", run: isolation, needs: 2},
		{name: "connect", run: connect, needs: 1},
		{name: "connect-provisioned", run: connectProvisioned, needs: 2},
		{name: "disconnect", run: disconnect, needs: 1},
		{name: "reconnect", run: reconnect, needs: 1},
		{name: "reconnect-elsewhere", run: elsewhere, needs: 1},
		{name: "provision-again", run: provisionAgain, needs: 1},
		{name: "delete", run: remove, needs: 2},
		{name: "idempotence", run: idempotence, needs: 2},
		{name: "cancel-in-the-middle", run: cancelled, needs: 2},
		{name: "hundred-links-at-once", run: hundred, needs: 100},
		{name: "jumbo-frames", run: jumbo, needs: 1},
		{name: "tagged-frames", run: tagged, needs: 1},
	}
	for _, c := range controls {
		list = append(list, testCase{name: c.name, needs: 1, run: func(b *bench) { control(b, c) }})
	}
	return append(list,
		testCase{name: "tcp-transfer", run: transfer, needs: 1},
		testCase{name: "multi-point-segment", run: segment, needs: 2},
		testCase{name: "state-and-events", run: events, needs: 1},
		testCase{name: "carrier-follows-the-peer", run: carrierFollows, needs: 1},
		testCase{name: "stopped-node-has-no-carrier", run: switchedOff, needs: 1},
		testCase{name: "deleted-behind-our-back", run: behindOurBack, needs: 1},
		testCase{name: "foreign-interfaces-stay", run: foreign, needs: 2},
		testCase{name: "restart-keeps-links", run: restart, needs: 1},
		testCase{name: "node-made-anew", run: anew, renews: true},
		testCase{name: "cleanup-leaves-nothing", run: cleanup, needs: 2, ends: true},
	)
}

// The nodes would not have booted otherwise; this says it of each.
func interfacesBeforeInit(b *bench) {
	for _, node := range []string{"a", "b", "c"} {
		first := b.device(node, probe.Request{Op: probe.OpPing}).First
		if !slices.Contains(first, "eth1") || !slices.Contains(first, "eth2") {
			b.Errorf("at its first instruction %s saw only %v", node, first)
		}
	}
	for _, l := range b.ring {
		b.passes(l)
	}
}

func isolation(b *bench) {
	l := b.cable("a", "b")
	other := b.spare() // of the same node: it is no way in either
	for _, p := range []backends.Port{l.A, l.B, other} {
		b.must(b.network.Provision(b.Context(), p))
		if i := b.interfaceOf(p); i == nil || !i.Up {
			b.Fatalf("%s after provision: %+v", p.End, i)
		}
	}
	b.carrier(false, l.A, l.B, other) // a port without a cable
	b.has(l, true, true)
	token := b.sealed(l.A, l.B, other)
	b.connect(l)
	b.passes(l)
	b.unseen(token)
	b.sealed(other)
}

func connect(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	if b.env.Machine == nil { // a machine's is its hardware's
		l.A.End.MAC = "02:00:5e:10:00:01"
	}
	b.connect(l)
	b.passes(l)
	b.state(l, true, lab.CarrierOn)
	b.addresses(l.A)
	b.addresses(l.B)
	if got := b.interfaceOf(l.A).MAC; l.A.End.MAC != "" && got != l.A.End.MAC {
		b.Errorf("the file says MAC %s, it has %s", l.A.End.MAC, got)
	}
	for _, to := range []string{everybody, "01:00:5e:00:00:05", "33:33:00:00:00:05", "02:bb:00:00:00:01", b.interfaceOf(l.B).MAC} {
		token := b.token()
		b.intact(l.A, l.B, frame(to, l.A, typeTest, token, 64), token)
	}
	b.device("a", probe.Request{Op: probe.OpTransfer, To: l.B.End.IPv4[0].Addr().String(), Bytes: 1000})
	b.device("b", probe.Request{Op: probe.OpTransfer, To: l.A.End.IPv6[0].Addr().String(), Bytes: 1000})
}

// In each mixture of ends that are there already.
func connectProvisioned(b *bench) {
	for mask := 1; mask < 4; mask++ {
		l := b.addressed(b.cable("a", "b"))
		own := netip.MustParsePrefix("192.0.2.77/32")
		var was [2]int
		for i, p := range []backends.Port{l.A, l.B} {
			if mask&(1<<i) == 0 {
				continue
			}
			b.must(b.network.Provision(b.Context(), p))
			b.addresses(p)
			b.device(p.End.Node, probe.Request{Op: probe.OpAddress, Iface: p.End.Interface, Text: own.String()})
			was[i] = b.interfaceOf(p).Index
		}
		b.connect(l)
		b.passes(l)
		for i, p := range []backends.Port{l.A, l.B} {
			if mask&(1<<i) != 0 {
				b.addresses(p, own)
				b.same(p, was[i])
			}
			b.addresses(p)
		}
		b.remove()
	}
}

func disconnect(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	b.connect(l)
	b.passes(l)
	b.device("a", probe.Request{Op: probe.OpRoute, Iface: l.A.End.Interface, Text: "198.51.100.0/24", To: l.B.End.IPv4[0].Addr().String()})
	was := b.interfaceOf(l.A).Index
	b.disconnect(l)
	b.carrier(false, l.A, l.B)
	b.state(l, false, lab.CarrierOff)
	b.addresses(l.A)
	b.addresses(l.B)
	b.same(l.A, was)
	// What a node's routing makes of that is its own affair: nobody took a
	// route from it or set its interface down.
	want := "198.51.100.0/24 via " + l.B.End.IPv4[0].Addr().String() + probe.LinkDown
	b.eventually("the route while the cable is cut", func() error {
		if got := b.device("a", probe.Request{Op: probe.OpRoutes}).Routes; !slices.Contains(got, want) {
			return fmt.Errorf("there are %q, without %q", got, want)
		}
		return nil
	})
	token := b.sealed(l.A, l.B)
	b.connect(l)
	b.passes(l)
	b.unseen(token)
}

func reconnect(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	b.connect(l)
	b.passes(l)
	own := netip.MustParsePrefix("192.0.2.78/32")
	b.device("a", probe.Request{Op: probe.OpAddress, Iface: l.A.End.Interface, Text: own.String()})
	b.device("a", probe.Request{Op: probe.OpRoute, Iface: l.A.End.Interface, Text: "198.51.100.0/24", To: l.B.End.IPv4[0].Addr().String()})
	b.device("a", probe.Request{Op: probe.OpRoute, Iface: l.A.End.Interface, Text: "2001:db8:9::/48", To: l.B.End.IPv6[0].Addr().String()})
	want := b.device("a", probe.Request{Op: probe.OpRoutes}).Routes
	was := b.interfaceOf(l.A).Index
	for range 3 {
		b.disconnect(l)
		b.carrier(false, l.A, l.B)
		b.connect(l)
		b.passes(l)
	}
	b.state(l, true, lab.CarrierOn)
	b.same(l.A, was)
	b.addresses(l.A, own)
	b.addresses(l.B)
	if got := b.device("a", probe.Request{Op: probe.OpRoutes}).Routes; !slices.Equal(got, want) {
		b.Errorf("routes %v became %v", want, got)
	}
	b.device("a", probe.Request{Op: probe.OpTransfer, To: l.B.End.IPv6[0].Addr().String(), Bytes: 1000})
}

// The cable of a is plugged from b over to c and back.
func elsewhere(b *bench) {
	ab := b.addressed(b.cable("a", "b"))
	ac := b.between(b, ab.A.End.String(), "c:"+b.iface("c"), nil)
	ac.A.End.IPv4, ac.A.End.IPv6 = ab.A.End.IPv4, ab.A.End.IPv6
	b.links = append(b.links, ac)
	b.connect(ab)
	b.passes(ab)
	own := netip.MustParsePrefix("192.0.2.79/32")
	b.device("a", probe.Request{Op: probe.OpAddress, Iface: ab.A.End.Interface, Text: own.String()})
	from, to, was := ab, ac, b.interfaceOf(ab.A).Index
	for i := range 4 {
		if i == 2 {
			b.disconnect(from) // also one that is cut can be moved
		}
		unplug := from
		unplug.A.Keep = true
		b.must(b.network.DeleteLink(b.Context(), unplug))
		b.must(b.network.DeleteLink(b.Context(), unplug))
		b.gone(from.B)
		b.carrier(false, ab.A)
		b.addresses(ab.A, own)
		token := b.sealed(ab.A)
		b.connect(to)
		b.passes(to)
		b.unseen(token)
		b.state(to, true, lab.CarrierOn)
		b.addresses(ab.A, own)
		b.same(ab.A, was)
		token = b.token()
		b.intact(to.A, to.B, frame(everybody, to.A, typeTest, token, 64), token)
		from, to = to, from
	}
	if b.env.Machine != nil {
		return // its addresses are its own affair
	}
	// What the file gave for the old cable's sake goes with it, the rest stays.
	from.A.MTU, from.B.MTU = 1400, 1400
	b.connect(from)
	unplug := from
	unplug.A.Keep, unplug.A.Former, unplug.A.FormerMTU = true, from.A.End.Addresses(), true
	for range 2 {
		b.must(b.network.DeleteLink(b.Context(), unplug))
	}
	to.A.End.IPv4, to.A.End.IPv6 = []netip.Prefix{netip.MustParsePrefix("192.0.2.81/32")}, nil
	b.connect(to)
	b.addresses(to.A, own)
	if have := b.interfaceOf(to.A).Addresses; slices.ContainsFunc(unplug.A.Former, func(p netip.Prefix) bool { return slices.Contains(have, p) }) {
		b.Errorf("%s has %v, of which the former cable had %v", to.A.End, have, unplug.A.Former)
	}
	if i := b.interfaceOf(to.A); i.MTU != 1500 {
		b.Errorf("%s has MTU %d, which was the former cable's", to.A.End, i.MTU)
	}
}

// What is connected and then provisioned, because its peer is about to go,
// reaches nobody and keeps its addresses.
func provisionAgain(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	own := netip.MustParsePrefix("192.0.2.80/32")
	for range 2 {
		b.connect(l)
		b.passes(l)
		b.device("a", probe.Request{Op: probe.OpAddress, Iface: l.A.End.Interface, Text: own.String()})
		for range 2 {
			b.must(b.network.Provision(b.Context(), l.A))
			b.carrier(false, l.A)
			b.addresses(l.A, own)
			b.addresses(l.B)
		}
		token := b.sealed(l.A, l.B)
		was := b.interfaceOf(l.A).Index
		b.connect(l)
		b.passes(l)
		b.unseen(token)
		b.same(l.A, was)
		b.addresses(l.A, own)
		b.addresses(l.B)
		b.must(b.network.DeleteLink(b.Context(), l))
	}
}

func remove(b *bench) {
	l, spare := b.cable("a", "b"), b.spare()
	b.connect(l)
	b.passes(l)
	b.must(b.network.Provision(b.Context(), spare))
	b.must(b.network.DeletePort(b.Context(), spare))
	b.gone(spare)
	b.must(b.network.DeleteLink(b.Context(), l))
	b.absent(l)
	b.connect(l) // and it can be made again
	b.passes(l)
	b.disconnect(l)
	b.must(b.network.DeleteLink(b.Context(), l)) // also one that is cut
	b.absent(l)
	b.connect(l)
	b.must(b.network.DeletePort(b.Context(), l.A)) // and one end at a time
	b.has(l, false, true)
	b.must(b.network.DeletePort(b.Context(), l.B))
	b.absent(l)
	if b.env.Machine != nil {
		return // a machine's tap goes with the machine
	}
	b.connect(l)
	half := l
	half.A.Attachment = backends.Attachment{} // as when the node of one end is gone
	b.must(b.network.DeleteLink(b.Context(), half))
	b.absent(l)
}

func transfer(b *bench) {
	size := int64(16 << 20)
	if b.env.Machine != nil {
		size = 2 << 20 // an emulated processor takes its time
	}
	l := b.addressed(b.cable("a", "b"))
	b.connect(l)
	b.passes(l)
	for from, to := range map[string]string{"a": l.B.End.IPv4[0].Addr().String(), "b": l.A.End.IPv6[0].Addr().String()} {
		if got := b.device(from, probe.Request{Op: probe.OpTransfer, To: to, Bytes: size}).Bytes; got != size {
			b.Errorf("%d bytes of %d sent", got, size)
		}
	}
}

// A restart of either end keeps both ends of every link: connected, cut or
// only provisioned.
func restart(b *bench) {
	cut := b.addressed(b.cable("a", "b"))
	b.connect(cut)
	b.disconnect(cut)
	spare := b.spare()
	b.must(b.network.Provision(b.Context(), spare))
	for _, node := range []string{"a", "b"} {
		b.stop(b, node)
		b.start(b, node)
		interfacesBeforeInit(b)
		for _, l := range b.ring {
			b.state(l, true, lab.CarrierOn)
			b.addresses(l.A)
			b.addresses(l.B)
		}
		b.carrier(false, cut.A, cut.B)
		b.sealed(spare, cut.A, cut.B)
	}
	b.connect(cut)
	b.passes(cut)
}

// A node is removed and made anew: meanwhile its peers have interfaces that
// reach nobody, and the links are the same as before in the end.
func anew(b *bench) {
	b.hangUp("c")
	b.must(b.env.Provider.Remove(b.Context(), b.ref("c")))
	peers := []backends.Port{b.ring[1].A, b.ring[2].B}
	for _, p := range peers {
		b.must(b.network.Provision(b.Context(), p))
	}
	b.carrier(false, peers...) // and not only until the kernel has taken away what is left of c
	for _, p := range peers {
		b.addresses(p)
	}
	b.create(b, "c")
	for i, l := range b.ring[1:] {
		if i == 0 {
			l.B = b.port(b, b.env.Provider, l.B.End.String())
		} else {
			l.A = b.port(b, b.env.Provider, l.A.End.String())
		}
		l.A.End, l.B.End = b.ring[i+1].A.End, b.ring[i+1].B.End
		b.ring[i+1] = l
		b.connect(l)
	}
	b.start(b, "c")
	interfacesBeforeInit(b)
	for _, l := range b.ring {
		b.state(l, true, lab.CarrierOn)
		b.addresses(l.A)
		b.addresses(l.B)
	}
}
