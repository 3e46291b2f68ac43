package backends

import "context"

// Sweeper is implemented by providers, networks and what makes links that
// leave a lab, where they have something on the machine beside nodes and the
// links of labs.
type Sweeper interface {
	// Unused lists what of ours nothing uses any more, and what was made for
	// labs: whether there is one of that name is for others to judge. With a
	// lab's name it lists only what was made for that.
	Unused(ctx context.Context, labName string) ([]Spare, error)
	// Sweep removes one of them, unless it is gone, or has come into use.
	Sweep(ctx context.Context, s Spare) error
}

// Spare is something of ours beside nodes and links.
type Spare struct {
	Type string // network, network remains, interface, tap, tunnel, port, bridge, holder
	Name string
	Lab  string // that it was made for; empty when it is no lab's
	Node string // of the lab that it was made for; empty when it is no node's
	// Doubt says why it cannot be told whether it is ours or that of another
	// Archetype on the machine; such a thing is left alone.
	Doubt string
}
