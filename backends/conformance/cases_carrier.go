package conformance

import (
	"errors"
	"fmt"
	"strings"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/lab"
)

// set sets an interface up or down inside its node.
func (b *bench) set(p backends.Port, up bool) {
	b.Helper()
	b.device(p.End.Node, probe.Request{Op: probe.OpSet, Iface: p.End.Interface, State: ptr(up)})
}

// dark waits until a link that is whole has no carrier because one node has its
// interface down.
func (b *bench) dark(l backends.Link, down backends.Port) {
	b.Helper()
	b.eventually("no carrier because of "+down.End.String(), func() error {
		st, err := b.network.State(b.Context(), l)
		switch {
		case err != nil:
			return err
		case !st.Connected || st.Cut || st.Carrier != lab.CarrierOff || !strings.Contains(st.Reason, down.End.String()):
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

// Each end's carrier is there while the other node has its interface up, in
// whatever order they are set up and down, cut and joined.
func carrierFollows(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	w := b.watch()
	b.connect(l)
	w.until("connected", l, up)
	for _, p := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		one, other := p[0], p[1]
		b.set(one, false)
		b.carrier(false, other)
		b.dark(l, one)
		b.set(one, true)
		b.passes(l)

		// Both are set down, and up in one order and in the other.
		for _, again := range []backends.Port{one, other} {
			b.set(one, false)
			b.dark(l, one)
			b.set(other, false)
			rest := one
			if again.End.String() == one.End.String() {
				rest = other
			}
			b.set(again, true)
			b.dark(l, rest)
			b.carrier(false, again)
			b.set(rest, true)
			b.passes(l)
		}

		// Cut meanwhile, it is cut and not dark, and stays so.
		b.set(one, false)
		b.carrier(false, other)
		b.disconnect(l)
		b.set(one, true)
		b.eventually("cut while one interface was down", func() error {
			st, err := b.network.State(b.Context(), l)
			if err == nil && (!st.Cut || st.Connected) {
				err = fmt.Errorf("%+v", st)
			}
			return err
		})
		b.carrier(false, one, other)

		// Joined while its node has it down, an interface is not set up.
		b.set(one, false)
		b.connect(l)
		b.dark(l, one)
		b.carrier(false, other)
		b.eventually("joined while one interface was down", func() error {
			if i := b.interfaceOf(one); i == nil || i.Up {
				return fmt.Errorf("%s is %+v", one.End, i)
			}
			if i := b.interfaceOf(other); i == nil || !i.Up {
				return errors.New(other.End.String() + " is down as well")
			}
			return nil
		})
		b.set(one, true)
		b.passes(l)
		w.until("joined", l, up)
	}
}
