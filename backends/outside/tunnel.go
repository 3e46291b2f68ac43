package outside

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/lab"
)

// Tunnel implements backends.Tunneler.
func (n *over) Tunnel(ctx context.Context, l backends.Link) (backends.TunnelStatus, error) {
	st, err := n.o.status(ctx, l)
	return st, linkError(l, err)
}

func (o *Outside) status(ctx context.Context, l backends.Link) (st backends.TunnelStatus, err error) {
	if l.B.Outside == nil || !l.B.Outside.Type.Tunnel() {
		return st, fmt.Errorf("it is no tunnel (%w)", backends.ErrUnsupported)
	}
	t, err := o.tunnel(ctx, l.A.End.Endpoint, l.B.End.Endpoint, l.Lab, l.B.Outside, 0)
	if err != nil { // its remote's name may be unknown by now, and stands in what was made
		t = backends.Tunnel{Lab: l.Lab, Near: l.A.End.String(), Far: l.B.End.String(), Parent: l.B.Outside.Parent}
	}
	if !direct(l.B.Outside.Type) {
		return o.cfg.Tunnels.Status(ctx, t)
	}
	ns, err := inNode(l)
	if err != nil {
		return st, err
	}
	defer ns.Close()
	dev, err := found(ns, l)
	if err != nil {
		return st, err
	}
	v, ok := dev.(*netlink.Vxlan)
	if !ok {
		return st, backends.ErrNotFound
	}
	return o.cfg.Tunnels.Inside(ctx, t, v, true), nil
}

// narrowed reports whether an interface is a tunnel that does not fit its path
// any more, or has none, and has the link's state say so.
func (o *Outside) narrowed(ctx context.Context, l backends.Link, dev netlink.Link, st *backends.LinkStatus) bool {
	v, ok := dev.(*netlink.Vxlan)
	if !ok {
		return false
	}
	in := o.cfg.Tunnels.Inside(ctx, backends.Tunnel{Lab: l.Lab, Near: l.A.End.String(), Far: l.B.End.String(), Parent: l.B.Outside.Parent}, v, false)
	o.leaves(l, in.Device)
	if in.State == lab.TunnelActive {
		return false
	}
	st.Connected, st.Reason = false, in.Reason
	return true
}

// leaves notes by which interface of the machine a tunnel leaves: what happens
// to that is news of the link.
func (o *Outside) leaves(l backends.Link, device string) {
	if device == "" {
		return // as it was: it may come back
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ways[key{l.Lab, l.ID()}] = device
}
