package conformance

import (
	"errors"
	"net/netip"
	"slices"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/lab"
)

// A node that does not run is as a device that is switched off: its neighbours
// have no carrier, whatever is done to its links meanwhile. When it starts it is
// as after any boot: what it did to its interfaces before is forgotten.
func switchedOff(b *bench) {
	l := b.cable("a", "b")
	w := b.watch()
	b.connect(l)
	w.until("connected", l, up)
	for _, p := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		one, other := p[0], p[1]
		node := one.End.Node
		added := netip.MustParsePrefix("192.0.2.1/32")
		if b.env.Machine == nil {
			b.device(node, probe.Request{Op: probe.OpAddress, Iface: one.End.Interface, Text: added.String()})
			b.device(node, probe.Request{Op: probe.OpForeign, Iface: "own0"})
			b.set(one, false)
			b.dark(l, one)
		}
		var neighbours []backends.Port
		for _, r := range b.ring {
			switch node {
			case r.A.End.Node:
				neighbours = append(neighbours, r.B)
			case r.B.End.Node:
				neighbours = append(neighbours, r.A)
			}
		}
		b.stop(b, node)
		b.carrier(false, append(neighbours, other)...)
		b.dark(l, one)
		w.until("stopped", l, func(st backends.LinkStatus) bool { return st.Connected && st.Carrier == lab.CarrierOff })

		// Cut and joined meanwhile, it stays dark.
		b.disconnect(l)
		b.connect(l)
		b.carrier(false, other)
		b.dark(l, one)

		b.start(b, node)
		b.passes(l)
		w.until("started", l, up)
		interfacesBeforeInit(b)
		for _, r := range b.ring {
			b.addresses(r.A)
			b.addresses(r.B)
		}
		if mine := one; b.env.Machine == nil {
			if mine.End.Interface = "own0"; b.interfaceOf(mine) != nil {
				b.Errorf("%s still has the interface that it made before it was stopped", node)
			}
		}
		if b.env.Machine == nil && slices.Contains(b.interfaceOf(one).Addresses, added) {
			b.Errorf("%s still has the address that its node gave it before it was stopped", one.End)
		}
	}
	if b.env.Machine != nil {
		return // its interfaces are made with it
	}

	// A cable that is put into a node that is off.
	late := b.cable("a", "b")
	b.stop(b, late.A.End.Node)
	late.A.Off = true
	b.connect(late)
	b.carrier(false, late.B)
	b.dark(late, late.A)
	b.start(b, late.A.End.Node)
	b.passes(late)
	if i := b.interfaceOf(late.A); i == nil || !i.Up {
		b.must(errors.New("an interface that was made while its node was off stays down"))
	}
	b.passes(l)
}
