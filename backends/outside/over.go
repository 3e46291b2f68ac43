package outside

import (
	"context"
	"errors"
	"fmt"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// over is a network as links that leave the lab see it.
type over struct {
	backends.Network
	nsnet.Ports // at the node's end, whatever the other one is
	o           *Outside
}

var (
	_ backends.Tagger   = (*over)(nil)
	_ backends.Impairer = (*over)(nil)
	_ backends.Capturer = (*over)(nil)
	_ backends.Counter  = (*over)(nil)
	_ backends.Handover = (*over)(nil)
	_ backends.Tunneler = (*over)(nil)
)

// Over implements backends.Outside.
func (o *Outside) Over(n backends.Network) backends.Network { return &over{Network: n, o: o} }

// Connect makes the far end, has the network join the node to it, and joins
// it in turn to what it is a port of.
func (n *over) Connect(ctx context.Context, l backends.Link) error {
	return linkError(l, n.connect(ctx, l))
}

func (n *over) connect(ctx context.Context, l backends.Link) error {
	if l.B.Outside == nil {
		return fmt.Errorf("it does not leave the lab (%w)", backends.ErrUnsupported)
	}
	l = settled(l)
	if direct(l.B.Outside.Type) {
		if err := n.o.connectDirect(ctx, l); err != nil {
			return err
		}
		n.o.remember(l, n)
		n.noteWay(ctx, l)
		return nil
	}
	at, mtu, err := n.o.end(ctx, l, true)
	if err != nil {
		return err
	}
	if err := n.Network.Connect(ctx, wire(l, at, mtu)); err != nil {
		return err
	}
	n.o.remember(l, n)
	if err := n.o.join(ctx, l); err != nil {
		return err
	}
	n.noteWay(ctx, l)
	return nil
}

// noteWay has what happens to that by which a tunnel leaves be news of the link
// from its making on, whether or not anybody asks for its state.
func (n *over) noteWay(ctx context.Context, l backends.Link) {
	if l.B.Outside.Type.Tunnel() {
		_, _ = n.state(ctx, l)
	}
}

// settled is the link with the far end's address chosen. A bridge takes over
// the lowest address of its ports: ours must never be that, or the machine's
// own bridge would change its address when a lab comes and goes.
func settled(l backends.Link) backends.Link {
	if l.B.Outside.Bridge == "" && l.B.Outside.Type != lab.OutsideManagement || l.B.End.MAC != "" {
		return l
	}
	if mac, err := nsnet.MAC(l.Lab, l.B.End); err == nil {
		// The highest that are locally administered and no group: those that
		// the kernel makes up begin with the first byte once in 64 times.
		mac[0], mac[1] = 0xfe, 0xff
		l.B.End.MAC = mac.String()
	}
	return l
}

// wire is the link between the node's attachment and the far end's.
func wire(l backends.Link, at backends.Attachment, mtu int) backends.Link {
	l.B.Attachment = at
	if l.A.MTU == 0 {
		l.A.MTU = mtu
	}
	if l.B.MTU == 0 || mtu > 0 {
		l.B.MTU = l.A.MTU
	}
	return l
}

// end says where the network meets the far end, and what MTU the link has if
// nobody chose one: 0 where any will do. With create, what carries the far
// end is made or must be there.
func (o *Outside) end(ctx context.Context, l backends.Link, create bool) (at backends.Attachment, mtu int, err error) {
	out := l.B.Outside
	at = o.place(out.Interface)
	switch out.Type {
	case lab.OutsideHost:
		return at, 0, o.mine(l)
	case lab.OutsideBridge, lab.OutsideManagement, lab.OutsideOVSBridge:
		if err := o.mine(l); err != nil {
			return at, 0, err
		}
		if !create {
			return at, 0, nil
		}
		br, err := o.bridge(ctx, out, l.B.Management)
		if err != nil || br == nil {
			return at, 0, err
		}
		// What is larger than its other ports carry would vanish in it.
		return at, br.Attrs().MTU, nil
	case lab.OutsideVXLANStitch:
		t, err := o.tunnel(ctx, l.A.End.Endpoint, l.B.End.Endpoint, l.Lab, out, l.A.MTU)
		if err != nil {
			return at, 0, err
		}
		if !create {
			st, err := o.cfg.Tunnels.Status(ctx, t)
			return st.Attachment, st.MTU, err
		}
		st, err := o.cfg.Tunnels.Create(ctx, t)
		return st.Attachment, st.MTU, err
	}
	return at, 0, fmt.Errorf("far ends of type %q: %w", out.Type, backends.ErrUnsupported)
}

// mine checks that the name on the machine is free or this lab's.
func (o *Outside) mine(l backends.Link) error {
	name := l.B.Outside.Interface
	have, err := o.host.Find(name)
	l.B.Attachment = o.place(name)
	if err != nil || have == nil || nsnet.Ours(have, l.B) {
		return err
	}
	by := "Archetype did not make (" + have.Type() + ")"
	if m, ok := mark.Parse(have.Attrs().Alias); ok {
		by = "is of lab " + m.Lab
		if !m.Admits(o.cfg.Owner) {
			by += " of another Archetype on this machine"
		}
	}
	return fmt.Errorf("%s has an interface %s already, which %s: choose another name for the end %s (%w)",
		o.machine(), name, by, l.B.End, backends.ErrConflict)
}

// join puts the interface that the network made onto what it is a port of.
func (o *Outside) join(ctx context.Context, l backends.Link) error {
	out := l.B.Outside
	switch out.Type {
	case lab.OutsideBridge, lab.OutsideManagement:
		br, err := o.bridge(ctx, out, l.B.Management)
		if err != nil {
			return err
		}
		port, err := o.host.LinkByName(out.Interface)
		if err != nil {
			return err
		}
		if port.Attrs().MasterIndex == br.Attrs().Index {
			return nil
		}
		return o.host.LinkSetMasterByIndex(port, br.Attrs().Index)
	case lab.OutsideOVSBridge:
		if err := o.cfg.Switch.AddPort(ctx, out.Bridge, out.Interface, l.Lab); err != nil {
			return err
		}
		if o.cfg.Switch.Whole(ctx, out.Bridge) {
			return wholeChecksums(l.A.Attachment)
		}
		return nil
	case lab.OutsideVXLANStitch:
		_, _, err := o.end(ctx, l, true)
		return err
	}
	return nil
}

// wholeChecksums has a node put them into what it sends.
func wholeChecksums(at backends.Attachment) error {
	if at.Netns == "" {
		return nil // a virtual machine's, which knows better
	}
	ns, err := nsnet.Open(at.Netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Checksums(at.Interface)
}

// Provision makes the node's interface alone; the far end is always there, so
// that nobody needs it.
func (n *over) Provision(ctx context.Context, p backends.Port) error {
	return n.Network.Provision(ctx, p)
}

// Disconnect cuts the cable; what the far end is a port of stays.
func (n *over) Disconnect(ctx context.Context, l backends.Link) error {
	l = settled(l)
	if direct(l.B.Outside.Type) {
		return linkError(l, n.o.cutDirect(l))
	}
	at, mtu, err := n.o.end(ctx, l, false)
	if errors.Is(err, backends.ErrNotFound) {
		return nil // the far end is gone: nothing crosses
	}
	if err != nil {
		return linkError(l, err)
	}
	return n.Network.Disconnect(ctx, wire(l, at, mtu))
}

// DeleteLink removes both interfaces and what was made for the far end.
func (n *over) DeleteLink(ctx context.Context, l backends.Link) error {
	l = settled(l)
	n.o.forget(l)
	out := l.B.Outside
	if direct(out.Type) {
		return linkError(l, n.o.deleteDirect(l))
	}
	if out.Type == lab.OutsideVXLANStitch {
		t, err := n.o.tunnel(ctx, l.A.End.Endpoint, l.B.End.Endpoint, l.Lab, out, 0)
		if err != nil { // its remote's name may be unknown by now
			t = backends.Tunnel{Lab: l.Lab, Near: l.A.End.String(), Far: l.B.End.String()}
		}
		l.B.Attachment = n.o.cfg.Tunnels.Attachment(t)
		return linkError(l, errors.Join(n.Network.DeleteLink(ctx, l), n.o.cfg.Tunnels.Delete(ctx, t)))
	}
	if err := n.o.mine(l); err != nil {
		if l.A.Attachment.Gone() {
			return nil
		}
		return n.DeletePort(ctx, l.A) // what stands at the far end is not ours
	}
	var first error
	if out.Type == lab.OutsideOVSBridge && n.o.cfg.Switch != nil {
		first = n.o.cfg.Switch.DelPort(ctx, out.Bridge, out.Interface)
	}
	l.B.Attachment = n.o.place(out.Interface)
	return linkError(l, errors.Join(first, n.Network.DeleteLink(ctx, l)))
}

// Tag implements backends.Tagger.
func (n *over) Tag(l backends.Link) int {
	if t, ok := n.Network.(backends.Tagger); ok && !direct(l.B.Outside.Type) {
		return t.Tag(l)
	}
	return 0
}

// Impair implements backends.Impairer.
func (n *over) Impair(ctx context.Context, l backends.Link) error {
	l = settled(l)
	if direct(l.B.Outside.Type) {
		return linkError(l, n.o.impairDirect(l))
	}
	i, ok := n.Network.(backends.Impairer)
	if !ok {
		return linkError(l, fmt.Errorf("network %s cannot impair links: %w", n.Name(), backends.ErrUnsupported))
	}
	at, mtu, err := n.o.end(ctx, l, false)
	if err != nil {
		return linkError(l, err)
	}
	return linkError(l, i.Impair(ctx, wire(l, at, mtu)))
}

// Release implements backends.Handover. What no network has a part in stays.
func (n *over) Release(ctx context.Context, l backends.Link) error {
	l = settled(l)
	if direct(l.B.Outside.Type) {
		return nil
	}
	h, ok := n.Network.(backends.Handover)
	if !ok {
		return linkError(l, fmt.Errorf("network %s cannot hand links over: %w", n.Name(), backends.ErrUnsupported))
	}
	at, mtu, err := n.o.end(ctx, l, false)
	if err != nil {
		return linkError(l, err)
	}
	return linkError(l, h.Release(ctx, wire(l, at, mtu)))
}

// State is the network's word on the link, and whether the far end is where it
// belongs.
func (n *over) State(ctx context.Context, l backends.Link) (backends.LinkStatus, error) {
	n.o.remember(l, n)
	st, err := n.state(ctx, l)
	if err != nil {
		return st, linkError(l, err)
	}
	return st, nil
}

func (n *over) state(ctx context.Context, l backends.Link) (backends.LinkStatus, error) {
	l = settled(l)
	if direct(l.B.Outside.Type) {
		return n.o.stateDirect(ctx, l)
	}
	none := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	at, mtu, err := n.o.end(ctx, l, false)
	if err != nil {
		return none, err
	}
	st, err := n.Network.State(ctx, wire(l, at, mtu))
	if err != nil || !st.Connected {
		return st, err
	}
	if why := n.o.apart(ctx, l); why != "" {
		st.Connected, st.Carrier, st.Reason = false, lab.CarrierOff, why
	}
	return st, nil
}

// apart says why a far end that exists reaches nothing.
func (o *Outside) apart(ctx context.Context, l backends.Link) string {
	out := l.B.Outside
	switch out.Type {
	case lab.OutsideBridge, lab.OutsideManagement:
		br, err := o.bridge(ctx, out, l.B.Management)
		if err != nil {
			return err.Error()
		}
		port, err := o.host.Find(out.Interface)
		if err == nil && port != nil && port.Attrs().MasterIndex != br.Attrs().Index {
			return fmt.Sprintf("%s is no port of %s any more", out.Interface, br.Attrs().Name)
		}
	case lab.OutsideOVSBridge:
		if _, err := o.bridge(ctx, out, nil); err != nil {
			return err.Error()
		}
		if on, err := o.cfg.Switch.OnBridge(ctx, out.Bridge, out.Interface); err != nil {
			return err.Error()
		} else if !on {
			return fmt.Sprintf("%s is no port of %s any more", out.Interface, out.Bridge)
		}
	case lab.OutsideVXLANStitch:
		t, err := o.tunnel(ctx, l.A.End.Endpoint, l.B.End.Endpoint, l.Lab, out, 0)
		if err != nil {
			return err.Error()
		}
		// Whether the far machine answers is no matter here: this end of the
		// cable is as it should be.
		st, err := o.cfg.Tunnels.Observe(t)
		o.leaves(l, st.Device)
		switch {
		case err != nil:
			return err.Error()
		case st.State != lab.TunnelActive || !st.Joined:
			return st.Reason
		}
	}
	return ""
}
