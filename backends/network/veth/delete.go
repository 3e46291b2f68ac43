package veth

import (
	"context"
	"errors"
	"fmt"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// DeleteLink removes the pair.
func (n *Network) DeleteLink(ctx context.Context, l backends.Link) error {
	n.mu.Lock()
	delete(n.known, key{l.Lab, l.ID()})
	delete(n.last, key{l.Lab, l.ID()})
	n.mu.Unlock()
	switch {
	case l.A.Keep && l.B.Keep:
		return wrap(l, n.split(ctx, l))
	case l.A.Keep:
		return wrap(l, n.withdraw(l.B, l.A))
	case l.B.Keep:
		return wrap(l, n.withdraw(l.A, l.B))
	}
	return wrap(l, errors.Join(n.DeletePort(ctx, l.A), n.DeletePort(ctx, l.B)))
}

// Release leaves a pair that is in use as it is: whoever takes an end over
// makes another of it. One that is cut becomes two isolated interfaces.
func (n *Network) Release(ctx context.Context, l backends.Link) error {
	n.mu.Lock()
	delete(n.known, key{l.Lab, l.ID()})
	delete(n.last, key{l.Lab, l.ID()})
	n.mu.Unlock()
	s, err := n.openSide(l.A)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	if err != nil {
		return wrap(l, err)
	}
	defer s.Close()
	if s.link == nil || s.alias() != nsnet.Alias(useCut, l.Lab, l.ID()) {
		return nil
	}
	return wrap(l, n.split(ctx, l))
}

// split makes two isolated interfaces of a pair, with the settings of both.
func (n *Network) split(ctx context.Context, l backends.Link) error {
	var had [2]nsnet.Settings
	for i, p := range []backends.Port{l.A, l.B} {
		s, err := n.openSide(p)
		if err != nil {
			return err
		}
		if s.link != nil {
			had[i], err = s.Settings(s.name)
		}
		s.Close()
		if err != nil {
			return err
		}
	}
	if err := errors.Join(n.withdraw(l.B, l.A), n.Provision(ctx, l.A), n.Provision(ctx, l.B)); err != nil {
		return err
	}
	for i, p := range []backends.Port{l.A, l.B} {
		s, err := n.openSide(p)
		if err != nil {
			return err
		}
		err = errors.Join(s.Change(s.name, nsnet.Alias(useHalf, p.Lab, p.End.String()), true),
			s.RestoreAddresses(s.name, had[i]), s.RestoreRoutes(s.name, had[i]), n.restoreRoutes(s))
		s.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
	}
	return nil
}

// withdraw takes one end of a pair out of its node into the panel, so that
// the other stays as if it had been provisioned.
func (n *Network) withdraw(gone, kept backends.Port) error {
	if err := n.here.Plug(gone.Attachment.Tap, false); err != nil {
		return err
	}
	k, err := n.openSide(kept)
	if errors.Is(err, backends.ErrNotFound) {
		return n.DeletePort(context.Background(), gone)
	}
	if err != nil {
		return err
	}
	defer k.Close()
	if err := n.park(k, gone); err != nil {
		return fmt.Errorf("%s: %w", gone.End, err)
	}
	far, err := n.panelNS.Find(parked(kept))
	if far == nil || k.link == nil || err != nil || k.link.Attrs().ParentIndex != far.Attrs().Index {
		return err
	}
	return errors.Join(n.here.Plug(kept.Attachment.Tap, false), n.panelNS.LinkSetGroup(far, int(nsnet.Group(kept.Lab))), k.Impair(k.link, lab.Impairment{}),
		k.LinkSetAlias(k.link, nsnet.Alias(useHalf, kept.Lab, kept.End.String())))
}

// park moves the end that goes to where the far end of k waits. Where the two
// are no pair it is removed.
func (n *Network) park(k *side, gone backends.Port) error {
	g, err := n.openSide(gone)
	if errors.Is(err, backends.ErrNotFound) {
		return nil // and the pair with it
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if g.link == nil || g.mine() != nil {
		return nil // moved already, or a stranger's
	}
	whole, err := joined(k, g)
	if err != nil {
		return err
	}
	if !whole || k.mine() != nil {
		return g.Delete(g.name)
	}
	if err := n.panelNS.Delete(parked(k.Port)); err != nil {
		return err
	}
	return errors.Join(g.Impair(g.link, lab.Impairment{}), g.LinkSetDown(g.link),
		g.LinkSetName(g.link, parked(k.Port)), g.LinkSetNsFd(g.link, int(n.panelNS.FD())))
}

// DeletePort removes one interface and with it its far end.
func (n *Network) DeletePort(_ context.Context, p backends.Port) error {
	return errors.Join(n.here.Plug(p.Attachment.Tap, false), n.deletePort(p))
}

func (n *Network) deletePort(p backends.Port) error {
	n.remember(p, nsnet.Settings{})
	s, err := n.openSide(p)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if s.link == nil || s.mine() != nil {
		return nil // a stranger's interface is not ours to remove
	}
	return s.Delete(s.name)
}
