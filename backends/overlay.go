package backends

import (
	"context"
	"net/netip"

	"archetype/lab"
)

// Overlay carries links between machines: a tunnel's two ends, one on each,
// are made by each machine's own overlay without their talking to each other.
type Overlay interface {
	Name() string
	Available(ctx context.Context) Availability

	// Create makes the near end of a tunnel, changes it to what it shall be,
	// and joins to it the interface that a network has made at its
	// attachment, if there is one: so it is called once before the link that
	// meets it is connected, and once after. What it returns says what the
	// tunnel is in fact: the VNI and the MTU that were chosen, and where a
	// link meets it. A VNI that another tunnel of this machine has, or an MTU
	// that the path does not carry, is an ErrConflict.
	Create(ctx context.Context, t Tunnel) (TunnelStatus, error)
	// Delete removes the near end. One that is gone is no error.
	Delete(ctx context.Context, t Tunnel) error
	// Status observes the near end and, as far as can be told from here, the
	// far one. ErrNotFound when nothing of the near end exists.
	Status(ctx context.Context, t Tunnel) (TunnelStatus, error)
	// List finds the near ends that exist, of one lab or, with "", of all:
	// the truth after a crash. It does not ask whether their far ends answer.
	List(ctx context.Context, labName string) ([]TunnelStatus, error)
}

// Tunnel is one end of a tunnel, as it is wanted.
type Tunnel struct {
	Lab string
	// Near and Far name the two ends. The other machine is given the same two
	// the other way round.
	Near, Far string
	// Local and Remote are the machines' addresses. Local may be left out:
	// then it is the one from which the machine reaches the remote.
	Local, Remote netip.Addr
	VNI           uint32 // 0: from the two names, the same at both ends
	UDPPort       uint16 // 0: lab.DefaultVXLANPort
	SourcePort    uint16 // UDP; 0: many, by what is in the frames
	Parent        string // interface by which it leaves; empty: the route's
	// MTU of the frames' payload, in bytes. 0: 1500, or less where the path
	// carries less.
	MTU int
}

// ID identifies the tunnel within its lab, at both ends alike.
func (t Tunnel) ID() string {
	if t.Far < t.Near {
		return t.Far + "|" + t.Near
	}
	return t.Near + "|" + t.Far
}

// TunnelStatus is a tunnel as it is in fact.
type TunnelStatus struct {
	Tunnel
	State   lab.TunnelState
	Carrier lab.Carrier
	Device  string // interface of this machine through which the remote is reached
	PathMTU int    // bytes of an IP packet that arrives whole on the way; 0 where there is none
	// Attachment is where a link meets the tunnel; Joined, whether one does.
	Attachment Attachment
	Joined     bool
	// Whole says that frames must come to the attachment with their checksums
	// in them: what sends them may not leave those to its device.
	Whole  bool
	Rx, Tx Counters // from and to the far end
	Notes  []string // what was chosen for the user and why, such as a lower MTU
	Reason string   // why it is not active, or not joined
}

// Tunneler is implemented by networks of whose links some are tunnels.
type Tunneler interface {
	// Tunnel is a link's, as Overlay.Status has it. ErrNotFound when there is
	// none of it, ErrUnsupported when the link is no tunnel.
	Tunnel(ctx context.Context, l Link) (TunnelStatus, error)
}

// Counters count what went one way.
type Counters struct {
	Packets, Bytes, Errors, Dropped uint64
}
