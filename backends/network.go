package backends

import (
	"context"
	"io"
	"net/netip"

	"archetype/lab"
)

// Network turns attachments into links.
type Network interface {
	Name() string
	Available(ctx context.Context) Availability

	// Initialize makes what a lab's links share, if anything; Cleanup removes
	// it and every port and link of the lab that is left.
	Initialize(ctx context.Context, labName string) error
	Cleanup(ctx context.Context, labName string) error

	// Provision makes an interface that reaches nobody, so that a node whose
	// peer is not there yet boots with all its interfaces.
	Provision(ctx context.Context, p Port) error
	// Connect makes both ends reach each other, whether they were
	// provisioned, cut, or never made. Interfaces that exist keep their
	// addresses.
	Connect(ctx context.Context, l Link) error
	// Disconnect cuts the cable: the interfaces stay, neither end sees
	// carrier nor reaches anybody.
	Disconnect(ctx context.Context, l Link) error
	// DeleteLink removes the link and its interfaces, but for those that are
	// to be kept; DeletePort one provisioned interface, for who makes a link of
	// it with something that is no network's (package outside). Ends that are gone
	// already, also those whose attachment is Gone, are no error: what there is
	// of the link beside them goes all the same.
	DeleteLink(ctx context.Context, l Link) error
	DeletePort(ctx context.Context, p Port) error

	// State observes a link. ErrNotFound when nothing of it exists.
	State(ctx context.Context, l Link) (LinkStatus, error)
	// Events reports links whose carrier or existence changed, whoever did
	// it, for every link that this process has connected or asked the State
	// of. The channel is closed when ctx ends or the source is lost.
	Events(ctx context.Context) (<-chan LinkStatus, error)
}

// Tagger is implemented by networks that keep links apart by VLAN tags.
type Tagger interface {
	// Tag is the one of a link that is connected, 0 when it has none. It
	// answers at once, from what the network knows already.
	Tag(l Link) int
}

// Batcher is implemented by networks that carry out as one what is asked of
// them at once: a call mostly waits, and the more calls there are, the less
// each of them costs.
type Batcher interface {
	// Batches has no use but to tell such a network from others.
	Batches()
}

// Lister is implemented by networks that can tell which labs they have
// something of, whoever is running: what a crash has left behind.
type Lister interface {
	Labs(ctx context.Context) ([]string, error)
}

// Inventory is implemented by networks that can tell what they have of a lab's
// links, also of those that nobody knows any more.
type Inventory interface {
	Pieces(ctx context.Context, labName string) ([]Piece, error)
	// Discard removes one, and the interface in the node with its end's.
	Discard(ctx context.Context, labName string, p Piece) error
}

// Piece is what a network has of one end of a link, or of a link beside its ends.
// The other is empty.
type Piece struct {
	End  lab.Endpoint
	Link string // the link's ID
}

// Impairer is implemented by networks that can make a link worse than a cable.
type Impairer interface {
	// Impair gives each direction of a connected link the impairment that
	// its end names; none where it is zero. What this kernel cannot do is
	// ErrUnsupported, and then nothing has changed. A link that is connected
	// anew may have lost its impairments.
	Impair(ctx context.Context, l Link) error
}

// Capturer is implemented by networks that can show what passes an interface.
type Capturer interface {
	// Capture is what passes the interface of a port, both ways, as it comes:
	// a stream in pcap's format that begins with the first frame after the
	// call, and in which a record without bytes says how many were lost. It ends when the interface goes down or away, and is to be closed.
	Capture(ctx context.Context, p Port) (io.ReadCloser, error)
}

// Counter is implemented by networks that can tell how much has passed an
// interface.
type Counter interface {
	// Count is that of a port's interface since it was made, as its node sees it.
	Count(ctx context.Context, p Port) (Traffic, error)
}

// Traffic is how much has passed an interface.
type Traffic struct {
	Sent, Received               uint64 // bytes
	SentPackets, ReceivedPackets uint64
}

// Handover is implemented by networks between which a link can be moved while
// its nodes run. Connect and Provision of such a network take over interfaces
// that another one made and released, with their addresses and routes.
type Handover interface {
	// Release removes what the network has of a link but leaves the nodes'
	// interfaces, and their far ends where there are any, for another
	// network to take over. An end without an attachment is left out.
	Release(ctx context.Context, l Link) error
}

// Port is one interface to be made.
type Port struct {
	Lab        string
	End        lab.End
	Attachment Attachment
	MTU        int // bytes; 0 means the backend's default
	// Outside says what the end is when it is no node's, and Management which
	// network the nodes are managed by; networks need not care.
	Outside    *lab.Outside
	Management *lab.Management
	// Off says that the node does not run: an interface that is made for it is
	// left down, until its provider starts it.
	Off bool
	// Keep, in DeleteLink, has the interface stay, isolated like a
	// provisioned one: another link is about to have it.
	Keep bool
	// Former, with Keep, are addresses that the interface had for this link's
	// sake and is to lose; what its node gave it stays.
	Former []netip.Prefix
	// FormerMTU, with Keep, says that the interface had its MTU for this link's
	// sake, too: it is to have the usual one again.
	FormerMTU bool
}

// Link is a cable to be made between two ports.
type Link struct {
	Lab  string
	A, B Port
}

// ID identifies the link within its lab.
func (l Link) ID() string { return lab.LinkID(l.A.End.Endpoint, l.B.End.Endpoint) }

// OneEnd reports whether the interface of one end is there and the other's is not.
func (s LinkStatus) OneEnd() bool { return s.Ends[0] != s.Ends[1] }

// LinkStatus is what a network observes of a link.
type LinkStatus struct {
	Lab, ID   string
	Connected bool // both ends exist and are wired to each other
	// Ends says of which ends, A and B, there is an interface, be it provisioned
	// only; of a link that leaves the lab it says nothing.
	Ends [2]bool
	// Carrier is on when both ends see it.
	Carrier lab.Carrier
	VLAN    int // 0 where the backend uses none
	Gone    bool
	Cut     bool   // whole but for its cable, which Disconnect has cut
	Reason  string // why it is not as it should be, when known
}
