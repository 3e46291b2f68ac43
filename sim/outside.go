package sim

import (
	"context"

	"archetype/backends"
	"archetype/lab"
)

// Outside has links that leave the machine be made as all others are.
type Outside struct{ w *World }

// Outside returns the world's.
func (w *World) Outside() *Outside { return &Outside{w} }

// Check finds nothing wrong.
func (*Outside) Check(context.Context, lab.Link, *lab.Management) ([]string, error) { return nil, nil }

// Offers says that tunnels can be had.
func (*Outside) Offers(context.Context) []backends.Offer {
	return []backends.Offer{{Type: lab.OutsideVXLAN, Availability: backends.Availability{OK: true, Detail: "simulated: tunnels are made up"}}}
}

// Over is the network itself.
func (*Outside) Over(n backends.Network) backends.Network { return n }

// Cleanup has nothing to do: a far end goes with its link.
func (*Outside) Cleanup(context.Context, string) error { return nil }

// Events reports what tunnels do.
func (o *Outside) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	s, err := o.w.subscribe(ctx, "")
	if err != nil {
		return nil, err
	}
	return s.link, nil
}
