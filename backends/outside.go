package backends

import (
	"context"

	"archetype/lab"
)

// Outside makes links that leave the lab: to the machine, to its bridges and
// interfaces, through tunnels. Of such a link, B is the far end, and B.Outside
// says what it is; its attachment is found here.
type Outside interface {
	// Check says, before anything is touched, why a link could not be made
	// here, and in its notes what will be otherwise than a person might
	// expect.
	Check(ctx context.Context, l lab.Link, m *lab.Management) (notes []string, err error)
	// Offers says of every sort of link that leaves a lab whether this machine
	// can have it.
	Offers(ctx context.Context) []Offer
	// Over is a network as links that leave the lab see it: it does what is
	// to be done at the far end before and after the network does its part,
	// and by itself what no network has a part in. It has every optional
	// capability of networks; one that the network lacks is ErrUnsupported.
	Over(n Network) Network
	// Cleanup removes what is left of the lab's far ends, once its links and
	// nodes are gone.
	Cleanup(ctx context.Context, labName string) error
	// Events reports changes that the network of a link does not see. The
	// channel is closed when ctx ends or the source is lost.
	Events(ctx context.Context) (<-chan LinkStatus, error)
}

// Offer is a sort of link that leaves a lab, and whether it can be had.
type Offer struct {
	Type lab.OutsideType
	Availability
}
