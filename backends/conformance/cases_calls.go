package conformance

import (
	"errors"
	"fmt"
	"net/netip"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/lab"
)

// Every call is made twice, also after its opposite is complete, and from
// several goroutines at once.
func idempotence(b *bench) {
	l, spare := b.addressed(b.cable("a", "b")), b.spare()
	ctx := b.Context()
	twice := func(what string, f func() error) {
		b.Helper()
		for i := range 2 {
			if err := f(); err != nil {
				b.Fatalf("%s, call %d: %v", what, i+1, err)
			}
		}
		errs := make(chan error, 3)
		for range cap(errs) {
			go func() { errs <- f() }()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				b.Fatalf("%s, from three goroutines: %v", what, err)
			}
		}
	}
	twice("initialize", func() error { return b.network.Initialize(ctx, b.lab) })
	for range 2 {
		twice("provision", func() error { return b.network.Provision(ctx, spare) })
		twice("provision an end", func() error { return b.network.Provision(ctx, l.A) })
		b.sealed(spare, l.A)
		twice("connect", func() error { return b.network.Connect(ctx, l) })
		b.passes(l)
		twice("disconnect", func() error { return b.network.Disconnect(ctx, l) })
		b.carrier(false, l.A, l.B)
		twice("provision what is cut", func() error { return b.network.Provision(ctx, l.B) })
		b.carrier(false, l.A, l.B)
		b.sealed(l.A, l.B)
		twice("connect again", func() error { return b.network.Connect(ctx, l) })
		b.passes(l)
		reversed := backends.Link{Lab: l.Lab, A: l.B, B: l.A} // it is the same link
		twice("connect, the ends the other way round", func() error { return b.network.Connect(ctx, reversed) })
		b.passes(l)
		b.state(reversed, true, lab.CarrierOn)
		twice("delete the link", func() error { return b.network.DeleteLink(ctx, l) })
		b.absent(l)
		twice("delete an end of it", func() error { return b.network.DeletePort(ctx, l.A) })
		twice("disconnect what is gone", func() error { return b.network.Disconnect(ctx, l) })
		twice("delete a port", func() error { return b.network.DeletePort(ctx, spare) })
	}
}

// A hundred links between two nodes, all at the same time: each goes to its
// own peer and to no other.
func hundred(b *bench) {
	const many = 100
	links := make([]backends.Link, many)
	for i := range links {
		links[i] = b.cable("a", "b")
	}
	all := func(what string, f func(backends.Link) error) {
		b.Helper()
		errs := make(chan error, many)
		for _, l := range links {
			go func() { errs <- f(l) }()
		}
		for range links {
			if err := <-errs; err != nil {
				b.Errorf("%s: %v", what, err)
			}
		}
		if b.Failed() {
			b.FailNow()
		}
	}
	all("connect", func(l backends.Link) error { return b.network.Connect(b.Context(), l) })
	for _, l := range links {
		b.carrier(true, l.A, l.B)
	}
	b.passes(links[many-1])
	common := b.token()
	req := probe.Request{Op: probe.OpSend}
	for i, l := range links {
		req.Send = append(req.Send, probe.Frame{Iface: l.A.End.Interface, Data: frame(everybody, l.A, typeTest, fmt.Sprintf("%s%03d", common, i), 64)})
	}
	b.device("a", req)
	got := b.device("b", probe.Request{Op: probe.OpSeen, Token: common, Count: many}).Frames
	if len(got) != many {
		b.Fatalf("%d frames sent, %d arrived", many, len(got))
	}
	for _, f := range got {
		var i int
		if _, err := fmt.Sscanf(string(f.Data[14+len(common):14+len(common)+3]), "%d", &i); err != nil || links[i].B.End.Interface != f.Iface {
			b.Errorf("the frame of %s arrived at %s (%v)", links[i].ID(), f.Iface, err)
		}
	}
	all("disconnect", func(l backends.Link) error { return b.network.Disconnect(b.Context(), l) })
	all("connect again", func(l backends.Link) error { return b.network.Connect(b.Context(), l) })
	b.passes(links[0])
	all("delete", func(l backends.Link) error { return b.network.DeleteLink(b.Context(), l) })
}

// What is not ours is not touched, whatever its name; nor is another lab's.
func foreign(b *bench) {
	l := b.cable("a", "b")
	b.device("a", probe.Request{Op: probe.OpForeign, Iface: l.A.End.Interface})
	defer b.device("a", probe.Request{Op: probe.OpDelete, Iface: l.A.End.Interface})
	b.device("a", probe.Request{Op: probe.OpAddress, Iface: l.A.End.Interface, Text: "192.0.2.1/32"})
	b.device("a", probe.Request{Op: probe.OpSet, Iface: l.A.End.Interface, State: ptr(true)})
	for what, err := range map[string]error{
		"provision": b.network.Provision(b.Context(), l.A),
		"connect":   b.network.Connect(b.Context(), l),
	} {
		if !errors.Is(err, backends.ErrConflict) {
			b.Errorf("%s over a stranger's interface: %v", what, err)
		}
	}
	if err := b.network.Disconnect(b.Context(), l); err != nil && !errors.Is(err, backends.ErrConflict) {
		b.Errorf("disconnect of a stranger's interface: %v", err)
	}
	b.must(b.network.DeletePort(b.Context(), l.A))
	b.must(b.network.DeleteLink(b.Context(), l))
	i := b.interfaceOf(l.A)
	if i == nil || !i.Up {
		b.Fatalf("the stranger's interface: %+v", i)
	}
	b.addresses(l.A, netip.MustParsePrefix("192.0.2.1/32"))
}

func ptr[T any](v T) *T { return &v }
