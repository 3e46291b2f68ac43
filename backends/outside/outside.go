// Package outside makes links that leave the lab: to the machine's own
// namespace, onto bridges and interfaces that the machine has, and through
// tunnels. It works with any network and for any provider.
package outside

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/backends/overlay/vxlan"
	"archetype/lab"
)

// Switch is the Open vSwitch of the machine, where it has one.
type Switch interface {
	// HasBridge reports whether the bridge exists; an error says why that
	// cannot be known.
	HasBridge(ctx context.Context, bridge string) (bool, error)
	// AddPort puts an interface of the machine onto a bridge, marked as the
	// lab's. One that is on it is left so.
	AddPort(ctx context.Context, bridge, port, labName string) error
	// OnBridge reports whether an interface is a port of a bridge.
	OnBridge(ctx context.Context, bridge, port string) (bool, error)
	// Whole reports whether frames must come to the bridge with their
	// checksums in them.
	Whole(ctx context.Context, bridge string) bool
	// DelPort takes it off. One that is gone is no error.
	DelPort(ctx context.Context, bridge, port string) error
}

// Config is what the machine offers.
type Config struct {
	// Host is the path of the namespace that counts as the machine's own: of
	// a rootless lab, the one around its nodes.
	Host string
	// Panel is the path of a namespace that no node uses.
	Panel string
	// Owner tells our far ends from those of others; see package mark.
	Owner    string
	Rootless bool
	Tunnels  *vxlan.Overlay
	Switch   Switch // nil: there is none
}

// Outside implements backends.Outside.
type Outside struct {
	cfg  Config
	host *nsnet.NS
	// panel carries the far ends of interfaces that have no peer.
	panel *nsnet.NS

	mu    sync.Mutex
	known map[key]kept
	used  chan struct{} // closed once there is one
	once  sync.Once
	last  map[key]backends.LinkStatus
	ways  map[key]string // interface of the machine by which a tunnel leaves
}

type key struct{ lab, id string }

// kept is a link and the network that has a part in it.
type kept struct {
	link backends.Link
	over *over
}

var _ backends.Outside = (*Outside)(nil)

// New makes it. Close lets go of the namespaces; the links stay.
func New(cfg Config) (*Outside, error) {
	host, err := nsnet.Open(cfg.Host)
	if err != nil {
		return nil, err
	}
	panel, err := nsnet.Open(cfg.Panel)
	if err != nil {
		host.Close()
		return nil, err
	}
	return &Outside{cfg: cfg, host: host, panel: panel, known: map[key]kept{}, used: make(chan struct{}), last: map[key]backends.LinkStatus{}, ways: map[key]string{}}, nil
}

// Close lets go of the namespaces.
func (o *Outside) Close() error {
	o.host.Close()
	o.panel.Close()
	return nil
}

// Cleanup removes the lab's tunnels and what is left of its interfaces in the
// machine's namespace: most went with their nodes.
func (o *Outside) Cleanup(ctx context.Context, labName string) error {
	o.mu.Lock()
	for k := range o.known {
		if k.lab == labName {
			delete(o.known, k)
			delete(o.last, k)
			delete(o.ways, k)
		}
	}
	o.mu.Unlock()
	var errs []error
	all, err := o.Unused(ctx, labName)
	errs = append(errs, err)
	for _, s := range all {
		if s.Doubt == "" {
			errs = append(errs, o.Sweep(ctx, s))
		}
	}
	errs = append(errs, o.panel.DeleteGroup(group(labName)))
	return errors.Join(errs...)
}

// group is the number that interfaces without a peer have in the panel.
func group(labName string) uint32 { return nsnet.Group("outside\x00" + labName) }

// linkError says which link an error is about.
func linkError(l backends.Link, err error) error {
	head := fmt.Sprintf("link %s -- %s: ", l.A.End, l.B.End)
	if err == nil || strings.HasPrefix(err.Error(), head) { // the network's own errors say it already
		return err
	}
	return fmt.Errorf("%s%w", head, err)
}

// place is where a far end is met: in the machine's namespace, where others
// may have theirs.
func (o *Outside) place(name string) backends.Attachment {
	return backends.Attachment{Netns: o.cfg.Host, Interface: name, Owner: o.cfg.Owner}
}

// machine is how a person reads where a far end is.
func (o *Outside) machine() string {
	if o.cfg.Rootless {
		return "the user namespace around the lab"
	}
	return "this machine"
}

// rootlessHint explains why something of the machine's cannot be found.
func (o *Outside) rootlessHint() string {
	if o.cfg.Rootless {
		return ": an ordinary user's labs live in a user namespace of their own, which has none of the machine's interfaces and bridges: run as root for links to those"
	}
	return ""
}

// direct reports whether the far end is no attachment: the node's interface
// itself is all there is of the link.
func direct(t lab.OutsideType) bool {
	return t == lab.OutsideMacvlan || t == lab.OutsideVXLAN || t == lab.OutsideDummy
}
