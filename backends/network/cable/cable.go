// Package cable makes links whose ends are a pair of interfaces each: one is
// the node's, its far end is in the panel, where a joint has frames go from
// far end to far end. A node's own interface is made once and stays whatever
// becomes of its link, so what the node itself has put on it (addresses, VLANs,
// a VRF) stays too; and its carrier comes and goes with the far end, which is up
// while the cable is in and the other node has its own interface up. The node's
// system decides alone whether it is set up or down.
package cable

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/internal/whole"
	"archetype/lab"
)

// Joint is what connects the two far ends of a link.
type Joint interface {
	Name() string
	// Letter begins the names of the far ends that it connects.
	Letter() string
	Available() backends.Availability
	// Join has frames go between two far ends, given by their numbers, that
	// may be joined already.
	Join(l backends.Link, a, b int) error
	// Joined reports whether they do.
	Joined(l backends.Link, a, b netlink.Link) (bool, error)
	// Part removes what the joint has beside the far ends.
	Part(l backends.Link) error
}

// Network implements backends.Network with a joint.
type Network struct {
	nsnet.Ports

	joint Joint
	path  string    // of the panel
	panel *nsnet.NS // where the far ends are
	here  *nsnet.NS // where taps are
	batch *nsnet.Batch
	locks nsnet.Locks
	watch *nsnet.Watch
}

var (
	_ backends.Network   = (*Network)(nil)
	_ backends.Impairer  = (*Network)(nil)
	_ backends.Capturer  = (*Network)(nil)
	_ backends.Counter   = (*Network)(nil)
	_ backends.Handover  = (*Network)(nil)
	_ backends.Lister    = (*Network)(nil)
	_ backends.Inventory = (*Network)(nil)
)

// New makes a network in the panel, a namespace that no node uses, with the
// joint that is made there.
func New(panel string, joint func(panel *nsnet.NS, batch *nsnet.Batch) Joint) (*Network, error) {
	ns, err := nsnet.Open(panel)
	if err != nil {
		return nil, err
	}
	here, err := nsnet.Machine()
	if err != nil {
		return nil, err
	}
	batch, err := ns.Batch()
	if err != nil {
		return nil, err
	}
	// The panel only carries frames: it has no addresses and sends nothing.
	if err := ns.Sysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return nil, err
	}
	return &Network{joint: joint(ns, batch), path: panel, panel: ns, here: here, batch: batch,
		watch: nsnet.NewWatch()}, nil
}

// Name is the joint's.
func (n *Network) Name() string { return n.joint.Name() }

// Available asks the joint.
func (n *Network) Available(context.Context) backends.Availability {
	return n.joint.Available()
}

// Initialize has nothing to make: all comes with the links.
func (n *Network) Initialize(context.Context, string) error { return nil }

// Cleanup removes every far end and joint of the lab, all at once: each by
// itself would make the kernel wait each time.
func (n *Network) Cleanup(_ context.Context, labName string) error {
	var errs []error
	n.watch.Forget(func(l backends.Link) bool {
		if l.Lab != labName {
			return false
		}
		for _, p := range []backends.Port{l.A, l.B} { // a tap stays, without its cable
			errs = append(errs, n.here.Plug(p.Attachment.Tap, false))
		}
		return true
	})
	return errors.Join(append(errs, n.panel.DeleteGroup(nsnet.Group(labName)))...)
}

// useFar marks the far end of a node's interface, and useHeld one that is down
// because the other node has its interface down; UseJoint marks whatever else
// is in the panel for a link.
const (
	useFar   = "far"
	useHeld  = "held"
	UseJoint = "joint"
)

// mine says of what an interface of the panel is, if it is this network's.
func (n *Network) mine(l netlink.Link) (m mark.Mark, ok bool) {
	m, ok = mark.Parse(l.Attrs().Alias)
	far := (m.Use == useFar || m.Use == useHeld) && l.Attrs().Name == nsnet.Name(n.joint.Letter(), m.Lab, m.ID)
	return m, ok && (far || m.Use == UseJoint+"-"+n.Name())
}

// Pieces implements backends.Inventory.
func (n *Network) Pieces(_ context.Context, labName string) ([]backends.Piece, error) {
	links, err := whole.List(n.panel.LinkList)
	if err != nil {
		return nil, err
	}
	var out []backends.Piece
	for _, l := range links {
		switch m, ok := n.mine(l); {
		case !ok || m.Lab != labName:
		case m.Use == useFar || m.Use == useHeld:
			if e, err := lab.ParseEndpoint(m.ID); err == nil {
				out = append(out, backends.Piece{End: e})
			}
		default:
			out = append(out, backends.Piece{Link: m.ID})
		}
	}
	return out, nil
}

// Discard implements backends.Inventory.
func (n *Network) Discard(ctx context.Context, labName string, p backends.Piece) error {
	if p.Link == "" {
		return n.DeletePort(ctx, backends.Port{Lab: labName, End: lab.End{Endpoint: p.End}})
	}
	a, b, _ := strings.Cut(p.Link, "|")
	ea, errA := lab.ParseEndpoint(a)
	eb, errB := lab.ParseEndpoint(b)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	l := backends.Link{Lab: labName, A: backends.Port{Lab: labName, End: lab.End{Endpoint: ea}}, B: backends.Port{Lab: labName, End: lab.End{Endpoint: eb}}}
	return wrap(l, n.joint.Part(l))
}

// Labs lists the labs that have far ends of this network in the panel.
func (n *Network) Labs(context.Context) ([]string, error) {
	links, err := whole.List(n.panel.LinkList)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	var labs []string
	for _, l := range links {
		if m, ok := n.mine(l); ok && !found[m.Lab] {
			found[m.Lab] = true
			labs = append(labs, m.Lab)
		}
	}
	return labs, nil
}

func (n *Network) farName(p backends.Port) string {
	return nsnet.Name(n.joint.Letter(), p.Lab, p.End.String())
}

func wrap(l backends.Link, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("link %s -- %s: %w", l.A.End, l.B.End, err)
}

// Provision makes an interface without carrier.
func (n *Network) Provision(_ context.Context, p backends.Port) error {
	defer n.locks.Lock(p)()
	err := nsnet.Again(func() error {
		s, err := n.open(p)
		if err != nil {
			return err
		}
		defer s.ns.Close()
		if err := n.ensure(false, s); err != nil {
			return err
		}
		if err := n.isolate(p, s.far); err != nil {
			return err
		}
		return n.finish(s)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	return nil
}

// Connect joins the far ends of both interfaces.
func (n *Network) Connect(ctx context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	defer n.watch.Calling(l)()
	return wrap(l, nsnet.Again(func() error { return n.connect(ctx, l) }))
}

func (n *Network) connect(ctx context.Context, l backends.Link) error {
	var sides [2]*side
	for i, p := range []backends.Port{l.A, l.B} {
		s, err := n.open(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
		defer s.ns.Close()
		sides[i] = s
	}
	if err := n.ensure(true, sides[:]...); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.joint.Join(l, sides[0].far, sides[1].far); err != nil {
		return err
	}
	for _, s := range sides {
		if err := n.finish(s); err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
	}
	for i, s := range sides {
		if err := n.plug(s, !sides[1-i].off); err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
	}
	for i, s := range sides { // so that the first frame crosses
		if !s.up && s.Attachment.Tap == "" && !s.off && !sides[1-i].off {
			s.ns.Awake(ctx, s.name)
		}
	}
	return ctx.Err()
}

// Disconnect takes the carrier from both interfaces. They stay as they are
// but for that.
func (n *Network) Disconnect(_ context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	defer n.watch.Calling(l)()
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(n.farName(p))
		if err != nil {
			return wrap(l, err)
		}
		if far == nil {
			continue
		}
		if err := n.unplug(p, far.Attrs().Index); err != nil {
			return wrap(l, err)
		}
	}
	return nil
}

// DeleteLink removes the link and its interfaces, but for those to be kept.
func (n *Network) DeleteLink(_ context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	n.watch.ForgetLink(l)
	var errs []error
	var gone []backends.Port
	for _, p := range []backends.Port{l.A, l.B} {
		if !p.Keep {
			gone = append(gone, p)
			continue
		}
		far, err := n.panel.Find(n.farName(p))
		if err == nil && far != nil {
			err = n.isolate(p, far.Attrs().Index)
		}
		errs = append(errs, err, nsnet.TakeFormer(p))
	}
	return wrap(l, errors.Join(append(errs, n.remove(gone...), n.joint.Part(l))...))
}

// DeletePort removes one interface.
func (n *Network) DeletePort(_ context.Context, p backends.Port) error {
	defer n.locks.Lock(p)()
	return n.remove(p)
}

// Release takes the far ends apart, and leaves them where others find them.
func (n *Network) Release(_ context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	n.watch.ForgetLink(l)
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(n.farName(p))
		if err == nil && far != nil {
			err = n.loosen(far.Attrs().Index)
		}
		if err != nil {
			return wrap(l, err)
		}
	}
	return wrap(l, n.joint.Part(l))
}

// Impair works in the panel, where a node cannot see or undo it: what leaves
// one end suffers on its way to the other.
func (n *Network) Impair(_ context.Context, l backends.Link) error {
	for _, way := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		far, err := n.panel.Find(n.farName(way[1]))
		if err == nil && far == nil {
			err = backends.ErrNotFound
		}
		if err == nil {
			err = n.panel.Impair(far, way[0].End.Impair)
		}
		if err != nil {
			return wrap(l, fmt.Errorf("from %s: %w", way[0].End, err))
		}
	}
	return nil
}
