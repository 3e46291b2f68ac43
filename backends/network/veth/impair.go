package veth

import (
	"context"
	"fmt"

	"archetype/backends"
)

// Impair works on the interfaces in the nodes, there being nothing between.
func (n *Network) Impair(_ context.Context, l backends.Link) error {
	for _, p := range []backends.Port{l.A, l.B} {
		if err := n.impairSide(p); err != nil {
			return wrap(l, fmt.Errorf("from %s: %w", p.End, err))
		}
	}
	return nil
}

func (n *Network) impairSide(p backends.Port) error {
	s, err := n.openSide(p)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.link == nil {
		return backends.ErrNotFound
	}
	return s.Impair(s.link, p.End.Impair)
}
