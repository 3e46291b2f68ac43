package ovs

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// Impair works on the switch's side, where a node cannot see or undo it: what
// leaves one end suffers on its way to the other.
func (n *Network) Impair(ctx context.Context, l backends.Link) error {
	s, panel, err := n.reach(ctx)
	if err != nil {
		return wrap(l, err)
	}
	for _, way := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		to := n.ports(s, way[1])
		if len(to) == 0 {
			return wrap(l, fmt.Errorf("%s: %w", way[1].End, backends.ErrNotFound))
		}
		if err := impair(panel, to[0].name, way[0].End.Impair); err != nil {
			return wrap(l, fmt.Errorf("from %s: %w", way[0].End, err))
		}
	}
	return nil
}

// impair makes what reaches a node suffer. An interface that is gone suffers
// no more.
func impair(panel *nsnet.NS, name string, i lab.Impairment) error {
	l, err := panel.Find(name)
	if err != nil {
		return err
	}
	if l == nil {
		if i.IsZero() {
			return nil
		}
		return fmt.Errorf("interface %s: %w", name, backends.ErrNotFound)
	}
	return panel.Impair(l, i)
}

// Release takes both ports from the switch. Their far ends go to where other
// networks find them.
func (n *Network) Release(ctx context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	n.watch.ForgetLink(l)
	return wrap(l, n.release(ctx, l))
}

func (n *Network) release(ctx context.Context, l backends.Link) error {
	s, panel, err := n.look(ctx)
	if err != nil {
		return err
	}
	rows := map[end]*portRow{}
	for _, p := range []backends.Port{l.A, l.B} {
		if p.Attachment == (backends.Attachment{}) {
			continue
		}
		for _, row := range n.ports(s, p) {
			rows[endOf(p)] = row
		}
	}
	if len(rows) == 0 {
		return nil
	}
	err = n.request(ctx, l.Lab, nil, func(p *plan) error {
		for e := range rows {
			p.remove(e)
		}
		p.drop = true
		return nil
	})
	if errors.Is(err, errStopped) {
		err = nil // it reads what it has no more when it starts
	}
	errs := []error{err}
	for e, row := range rows {
		errs = append(errs, impair(panel, row.name, lab.Impairment{}), n.handOver(panel, e, row.name))
	}
	return errors.Join(errs...)
}

// handOver moves a far end of ours to the other networks' namespace.
func (n *Network) handOver(panel *nsnet.NS, e end, name string) error {
	far, err := panel.Find(name)
	if far == nil || err != nil || n.cfg.Panel == "" {
		return err
	}
	if ours, _ := marked(far, e); !ours {
		return nil
	}
	theirs, err := nsnet.Open(n.cfg.Panel)
	if err != nil {
		return err
	}
	defer theirs.Close()
	if err := panel.LinkSetNsFd(far, int(theirs.FD())); err != nil {
		return err
	}
	moved, err := theirs.LinkByName(name)
	if err != nil {
		return err
	}
	return errors.Join(theirs.LinkSetGroup(moved, int(nsnet.Group(e.lab))), theirs.LinkSetARPOn(moved))
}

// adopt takes over the far end of an interface that another network made and
// released, and returns nil where there is none.
func (n *Network) adopt(panel *nsnet.NS, s *side) (netlink.Link, error) {
	if n.cfg.Panel == "" {
		return nil, nil
	}
	theirs, err := nsnet.Open(n.cfg.Panel)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	far, err := theirs.FarEnd(s.ns, s.have, s.Lab)
	if far == nil || err != nil {
		return nil, err
	}
	name := n.newName(s.Lab)
	if err := errors.Join(theirs.Impair(far, lab.Impairment{}), theirs.Rename(far, name), theirs.LinkSetNsFd(far, int(panel.FD()))); err != nil {
		return nil, err
	}
	moved, err := panel.LinkByName(name)
	if err != nil {
		return nil, err
	}
	return moved, errors.Join(panel.LinkSetGroup(moved, int(n.group(s.Lab))), hush(panel, moved),
		panel.LinkSetAlias(moved, n.farAlias(s.Port)))
}
