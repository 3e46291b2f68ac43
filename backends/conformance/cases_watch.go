package conformance

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// watcher keeps the latest event of each link.
type watcher struct {
	*bench
	mu     sync.Mutex
	last   map[string]backends.LinkStatus
	closed bool
	more   chan struct{}
}

func (b *bench) watch() *watcher {
	b.Helper()
	ch, err := b.network.Events(b.Context())
	b.must(err)
	w := &watcher{bench: b, last: map[string]backends.LinkStatus{}, more: make(chan struct{})}
	go func() {
		tell := func(f func()) {
			w.mu.Lock()
			defer w.mu.Unlock()
			f()
			close(w.more)
			w.more = make(chan struct{})
		}
		for st := range ch {
			tell(func() { w.last[st.Lab+"/"+st.ID] = st })
		}
		tell(func() { w.closed = true })
	}()
	return w
}

// until waits for an event of the link after which it is as wanted.
func (w *watcher) until(what string, l backends.Link, ok func(backends.LinkStatus) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	for {
		w.mu.Lock()
		st, seen := w.last[l.Lab+"/"+l.ID()]
		closed, more := w.closed, w.more
		w.mu.Unlock()
		if seen && ok(st) {
			return
		}
		if closed {
			w.Fatalf("%s: the events ended", what)
		}
		select {
		case <-more:
		case <-ctx.Done():
			w.Fatalf("%s: no event says so; the last one is %+v", what, st)
		}
	}
}

func up(st backends.LinkStatus) bool {
	return st.Connected && st.Carrier == lab.CarrierOn && !st.Gone
}

func events(b *bench) {
	l := b.cable("a", "b")
	w := b.watch()
	b.connect(l)
	w.until("connected", l, up)
	b.disconnect(l)
	w.until("cut", l, func(st backends.LinkStatus) bool { return !st.Connected && st.Carrier == lab.CarrierOff })
	b.connect(l)
	w.until("joined", l, up)
	for _, p := range []backends.Port{l.A, l.B} {
		if b.env.Machine != nil {
			break // what it does to its own interface does not show at the tap
		}
		b.device(p.End.Node, probe.Request{Op: probe.OpSet, Iface: p.End.Interface, State: ptr(false)})
		w.until("set down in "+p.End.Node, l, func(st backends.LinkStatus) bool { return st.Carrier == lab.CarrierOff && st.Reason != "" })
		b.state(l, true, lab.CarrierOff)
		b.device(p.End.Node, probe.Request{Op: probe.OpSet, Iface: p.End.Interface, State: ptr(true)})
		w.until("set up in "+p.End.Node, l, up)
	}
	b.passes(l)
}

// harm takes an interface from its node; of a machine, which cannot lose one,
// it takes the cable out.
func (b *bench) harm(p backends.Port) {
	b.Helper()
	if b.env.Machine == nil {
		b.device(p.End.Node, probe.Request{Op: probe.OpDelete, Iface: p.End.Interface})
		return
	}
	tap, err := netlink.LinkByName(p.Attachment.Tap)
	b.must(err)
	b.must(netlink.LinkSetDown(tap))
}

// An interface is deleted in its node while nobody is asked: it is told, and
// connecting puts it right.
func behindOurBack(b *bench) {
	l := b.addressed(b.cable("a", "b"))
	w := b.watch()
	b.connect(l)
	w.until("connected", l, up)
	for _, p := range []backends.Port{l.A, l.B} {
		b.harm(p)
		w.until("deleted in "+p.End.Node, l, func(st backends.LinkStatus) bool { return st.Gone || !st.Connected })
		st, err := b.network.State(b.Context(), l)
		if err != nil && !errors.Is(err, backends.ErrNotFound) || err == nil && (st.Connected || st.Reason == "") {
			b.Fatalf("state after an interface was deleted: %+v, %v", st, err)
		}
		b.connect(l)
		w.until("made again", l, up)
		b.passes(l)
		b.addresses(l.A)
		b.addresses(l.B)
	}
	// Cut, and then deleted.
	b.disconnect(l)
	b.harm(l.A)
	b.connect(l)
	b.passes(l)
}

// The lab ends while another has links between the same nodes and strangers
// have interfaces of such names in the panel.
func cleanup(b *bench) {
	ns, err := nsnet.Open(b.panel)
	b.must(err)
	defer ns.Close()
	var strangers []string
	for _, letter := range []string{"b", "h", "p", "o"} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Flags = nsnet.Name(letter, b.lab, "a stranger"), net.FlagUp
		b.must(ns.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		defer func() { _ = ns.Delete(attrs.Name) }()
		strangers = append(strangers, "panel: "+attrs.Name+" bridge")
	}
	other := b.cable("a", "b")
	other.Lab += "-other"
	other.A.Lab, other.B.Lab = other.Lab, other.Lab
	b.links[len(b.links)-1] = other
	b.must(b.network.Initialize(b.Context(), other.Lab))
	b.connect(other)
	b.passes(other)
	b.must(b.network.Provision(b.Context(), b.spare()))
	cut := b.cable("b", "c")
	b.connect(cut)
	b.disconnect(cut)
	b.labs(b.lab, other.Lab)
	for range 2 {
		b.must(b.network.Cleanup(b.Context(), b.lab))
	}
	b.labs(other.Lab)
	for _, l := range append(slices.Clone(b.ring), cut) {
		b.absent(l)
	}
	b.passes(other)
	b.hangUp("a", "b", "c")
	if !b.stay {
		for _, node := range []string{"a", "b", "c"} {
			b.must(b.env.Provider.Remove(b.Context(), b.ref(node)))
		}
		list, err := b.env.Provider.List(b.Context(), b.lab)
		if err != nil || len(list) > 0 {
			b.Errorf("nodes that were removed: %+v, %v", list, err)
		}
	}
	b.links, b.ports = nil, nil
	for range 2 {
		b.must(b.network.Cleanup(b.Context(), other.Lab))
	}
	b.labs()
	want := append(slices.Clone(b.bare), strangers...)
	slices.Sort(want)
	b.eventually("nothing is left but strangers", func() error {
		if got := b.inventory(b); !slices.Equal(got, want) {
			return errors.New("there is\n  " + join(got) + "\nand there was\n  " + join(want))
		}
		return nil
	})
}

// labs checks of which labs the network says that it has something, however
// that came to be.
func (b *bench) labs(want ...string) {
	b.Helper()
	lister, ok := b.network.(backends.Lister)
	if !ok {
		b.Fatal("it cannot say of which labs it has something")
	}
	got, err := lister.Labs(b.Context())
	b.must(err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.Errorf("the network has something of the labs %q instead of %q", got, want)
	}
}
