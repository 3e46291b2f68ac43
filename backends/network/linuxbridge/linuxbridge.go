// Package linuxbridge gives each link a bridge of its own, so that a cable
// can be cut, joined and watched without touching the nodes.
package linuxbridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// Frames to 01:80:c2:00:00:0X that a cable carries and a bridge by itself
// does not: all that the kernel lets be forwarded. A bridge may not forward
// X = 0, 1, 2 (spanning tree, pause, LACP); a port may, except pause.
const (
	bridgeForwards uint16 = 0xfff8
	portForwards   uint16 = 0xfffd
)

// Network implements backends.Network.
type Network struct {
	path  string
	panel *nsnet.NS // where bridges and the far ends of interfaces live
	here  *nsnet.NS // where taps are

	mu    sync.Mutex
	known map[string]backends.Link // by the name of each far end
	last  map[string]backends.LinkStatus
}

var (
	_ backends.Network  = (*Network)(nil)
	_ backends.Impairer = (*Network)(nil)
	_ backends.Handover = (*Network)(nil)
)

// New makes the backend. The panel is a namespace that no node uses.
func New(panel string) (*Network, error) {
	ns, err := nsnet.Open(panel)
	if err != nil {
		return nil, err
	}
	here, err := nsnet.Machine()
	if err != nil {
		return nil, err
	}
	n := &Network{path: panel, panel: ns, here: here, known: map[string]backends.Link{}, last: map[string]backends.LinkStatus{}}
	// The panel only carries frames: it has no addresses and sends nothing.
	if err := ns.Sysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return nil, err
	}
	return n, nil
}

// Name is "linuxbridge".
func (n *Network) Name() string { return "linuxbridge" }

// Available tries a bridge.
func (n *Network) Available(context.Context) backends.Availability {
	const name = "archetype-probe"
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := n.panel.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return backends.Availability{Reason: "bridges: " + err.Error(), Fix: "a kernel with CONFIG_BRIDGE (modprobe bridge)"}
	}
	_ = n.panel.Delete(name)
	return backends.Availability{OK: true, Detail: "a bridge per link"}
}

// Initialize has nothing to make: bridges come with their links.
func (n *Network) Initialize(context.Context, string) error { return nil }

// Cleanup removes every bridge and far end of the lab, all at once: each by
// itself would make the kernel wait each time.
func (n *Network) Cleanup(_ context.Context, labName string) error {
	n.mu.Lock()
	for far, l := range n.known {
		if l.Lab == labName {
			delete(n.known, far)
			delete(n.last, l.Lab+"\x00"+l.ID())
		}
	}
	n.mu.Unlock()
	return n.panel.DeleteGroup(nsnet.Group(labName))
}

func bridgeName(l backends.Link) string { return nsnet.Name("b", l.Lab, l.ID()) }
func farName(p backends.Port) string    { return nsnet.Name("h", p.Lab, p.End.String()) }

func wrap(l backends.Link, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("link %s -- %s: %w", l.A.End, l.B.End, err)
}

// side is one end of a link with its node's namespace open.
type side struct {
	backends.Port
	ns   *nsnet.NS
	have netlink.Link // the node's interface; nil: not there
	far  netlink.Link // its far end; nil: not there, or not that of have
	had  nsnet.Settings
}

// open looks at an end. An interface that another network made and released
// is taken over with its far end; where that is not to be had, its settings
// are read, because another interface will take its place.
func (n *Network) open(p backends.Port) (*side, error) {
	ns, name, err := nsnet.Place(n.here, p)
	if err != nil {
		return nil, err
	}
	s := &side{Port: p, ns: ns}
	s.Attachment.Interface = name
	if err := n.look(s); err != nil {
		ns.Close()
		return nil, err
	}
	return s, nil
}

func (n *Network) look(s *side) (err error) {
	name := s.Attachment.Interface
	if s.have, err = s.ns.Find(name); s.have == nil || err != nil {
		return err
	}
	if !nsnet.Ours(s.have, s.Lab, s.End) {
		return nsnet.Conflict(s.End, s.have)
	}
	if s.far, err = n.panel.Find(farName(s.Port)); err != nil {
		return err
	}
	if s.far != nil && s.have.Attrs().ParentIndex == s.far.Attrs().Index {
		return nil
	}
	if s.far, err = n.adopt(s.ns, s.Port, s.have); s.far != nil || err != nil {
		return err
	}
	s.had, err = s.ns.Settings(name)
	return err
}

// port makes sure that a node's interface and its far end exist. The far end
// is down, so the interface sees no carrier, unless up.
func (n *Network) port(s *side, master int, up bool) (err error) {
	name := s.Attachment.Interface
	if s.far == nil {
		if s.have != nil {
			if err := s.ns.Delete(name); err != nil {
				return err
			}
		}
		err = n.make(s, master, up)
	} else {
		err = n.adjust(s, master, up)
	}
	if err != nil {
		return err
	}
	if tap := s.Attachment.Tap; tap != "" {
		if err := s.ns.Patch(tap); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = s.ns.Plug(tap, up)
			}
		}()
	}
	if err := s.ns.Change(name, nsnet.Alias("", s.Lab, s.End.String()), true); err != nil || s.Attachment.Tap != "" {
		return err // the addresses are inside the machine
	}
	return errors.Join(s.ns.Address(name, s.End), s.ns.RestoreAddresses(name, s.had), s.ns.RestoreRoutes(name, s.had))
}

// adopt takes over the far end of an interface that another network made, and
// returns nil where there is none.
func (n *Network) adopt(ns *nsnet.NS, p backends.Port, have netlink.Link) (netlink.Link, error) {
	far, err := n.panel.FarEnd(ns, have, p.Lab)
	if far == nil || err != nil {
		return nil, err
	}
	if err := n.panel.Delete(farName(p)); err != nil {
		return nil, err
	}
	if err := n.panel.Rename(far, farName(p)); err != nil {
		return nil, err
	}
	return far, n.panel.Impair(far, lab.Impairment{})
}

func (n *Network) make(s *side, master int, up bool) error {
	if err := s.resizeTap(); err != nil {
		return err
	}
	far, p := farName(s.Port), s.Port
	if err := n.panel.Delete(far); err != nil {
		return err
	}
	mac, err := nsnet.MAC(p.Lab, p.End)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex, attrs.Group = far, p.MTU, master, nsnet.Group(p.Lab)
	if up {
		attrs.Flags = net.FlagUp
	}
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: p.Attachment.Interface, PeerHardwareAddr: mac,
		PeerNamespace: s.ns.FD(), PeerMTU: uint32(max(0, p.MTU))}
	if err := n.panel.LinkAdd(v); err != nil {
		return err
	}
	if master != 0 {
		n.forwardAll(v)
	}
	return nil
}

// adjust brings what exists to where it should be.
func (n *Network) adjust(s *side, master int, up bool) error {
	far := s.far
	if err := s.resizeTap(); err != nil {
		return err
	}
	if s.MTU > 0 {
		for h, l := range map[*nsnet.NS]netlink.Link{s.ns: s.have, n.panel: far} {
			if l.Attrs().MTU != s.MTU {
				if err := h.LinkSetMTU(l, s.MTU); err != nil {
					return fmt.Errorf("MTU %d: %w", s.MTU, err)
				}
			}
		}
	}
	if far.Attrs().MasterIndex != master {
		if err := n.panel.LinkSetMasterByIndex(far, master); err != nil {
			return err
		}
		if master != 0 {
			n.forwardAll(far)
		}
	}
	if up {
		return n.panel.LinkSetUp(far)
	}
	return n.panel.LinkSetDown(far)
}

// resizeTap has the tap of a machine carry as much as its leg.
func (s *side) resizeTap() error {
	if s.Attachment.Tap == "" || s.MTU <= 0 {
		return nil
	}
	return s.ns.Resize(s.Attachment.Tap, s.MTU)
}

// forwardAll lets a port pass what a bridge keeps back. An old kernel that
// cannot still has a working link.
func (n *Network) forwardAll(l netlink.Link) { _ = n.panel.LinkSetBRSlaveGroupFwdMask(l, portForwards) }

// Provision makes an interface without carrier.
func (n *Network) Provision(_ context.Context, p backends.Port) error {
	err := nsnet.Again(func() error {
		s, err := n.open(p)
		if err != nil {
			return err
		}
		defer s.ns.Close()
		return n.port(s, 0, false)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	return nil
}

// Connect makes the bridge and puts both ends on it.
func (n *Network) Connect(ctx context.Context, l backends.Link) error {
	return wrap(l, nsnet.Again(func() error { return n.connect(ctx, l) }))
}

func (n *Network) connect(ctx context.Context, l backends.Link) error {
	br, err := n.bridge(l)
	if err != nil {
		return err
	}
	n.watch(l)
	var sides [2]*side // both looked at before one end takes the other along
	for i, p := range []backends.Port{l.A, l.B} {
		if sides[i], err = n.open(p); err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
		defer sides[i].ns.Close()
	}
	for _, s := range sides {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.port(s, br, true); err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
	}
	return nil
}

func (n *Network) bridge(l backends.Link) (index int, err error) {
	name := bridgeName(l)
	have, err := n.panel.Find(name)
	if err != nil {
		return 0, err
	}
	mtu := max(l.A.MTU, l.B.MTU)
	if have != nil {
		if mtu > 0 && have.Attrs().MTU != mtu {
			if err := n.panel.LinkSetMTU(have, mtu); err != nil {
				return 0, err
			}
		}
		return have.Attrs().Index, nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags, attrs.Group = name, mtu, net.FlagUp, nsnet.Group(l.Lab)
	off, mask := false, bridgeForwards
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off, GroupFwdMask: &mask}
	if err := n.panel.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) {
		return 0, fmt.Errorf("bridge: %w", err)
	}
	if br.Index != 0 {
		return br.Index, nil
	}
	made, err := n.panel.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return made.Attrs().Index, nil
}

// Disconnect takes the carrier from both interfaces; they keep their
// addresses and routes.
func (n *Network) Disconnect(_ context.Context, l backends.Link) error {
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(farName(p))
		if err != nil {
			return wrap(l, err)
		}
		if far == nil {
			continue
		}
		if err := errors.Join(n.here.Plug(p.Attachment.Tap, false), n.panel.LinkSetDown(far)); err != nil {
			return wrap(l, err)
		}
	}
	return nil
}

// DeleteLink removes the bridge and both interfaces.
func (n *Network) DeleteLink(ctx context.Context, l backends.Link) error {
	n.forget(l)
	var errs []error
	for _, p := range []backends.Port{l.A, l.B} {
		if p.Keep {
			errs = append(errs, n.isolate(p))
		} else {
			errs = append(errs, n.DeletePort(ctx, p))
		}
	}
	return wrap(l, errors.Join(append(errs, n.panel.Delete(bridgeName(l)))...))
}

// Release removes the bridge; the far ends stay where they are.
func (n *Network) Release(_ context.Context, l backends.Link) error {
	n.forget(l)
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(farName(p))
		if err == nil && far != nil {
			err = n.panel.Impair(far, lab.Impairment{})
		}
		if err != nil {
			return wrap(l, err)
		}
	}
	return wrap(l, n.panel.Delete(bridgeName(l)))
}

func (n *Network) forget(l backends.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, farName(l.A))
	delete(n.known, farName(l.B))
	delete(n.last, l.Lab+"\x00"+l.ID())
}

// isolate takes a far end from its bridge, so that its interface reaches
// nobody and sees no carrier.
func (n *Network) isolate(p backends.Port) error {
	far, err := n.panel.Find(farName(p))
	if far == nil || err != nil {
		return err
	}
	return errors.Join(n.here.Plug(p.Attachment.Tap, false), n.panel.LinkSetDown(far), n.panel.LinkSetNoMaster(far), n.panel.Impair(far, lab.Impairment{}))
}

// DeletePort removes a far end, and with it the node's interface.
func (n *Network) DeletePort(_ context.Context, p backends.Port) error {
	return errors.Join(n.here.Plug(p.Attachment.Tap, false), n.panel.Delete(farName(p)))
}

// State looks at the bridge and its two ports.
func (n *Network) State(_ context.Context, l backends.Link) (backends.LinkStatus, error) {
	n.watch(l)
	return n.state(l)
}

func (n *Network) state(l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	br, err := n.panel.Find(bridgeName(l))
	if err != nil {
		return st, wrap(l, err)
	}
	there, wired, carrier, down := 0, 0, 0, 0
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(farName(p))
		if err != nil {
			return st, wrap(l, err)
		}
		in := true
		if tap := p.Attachment.Tap; tap != "" && far != nil {
			var there bool
			if there, in, err = n.here.Plugged(tap); err != nil {
				return st, wrap(l, err)
			} else if !there {
				continue
			}
		}
		if far == nil {
			continue
		}
		there++
		if br != nil && far.Attrs().MasterIndex == br.Attrs().Index {
			wired++
		}
		switch {
		case far.Attrs().Flags&net.FlagUp == 0 || !in:
			down++
		case far.Attrs().OperState == netlink.OperUp:
			carrier++
		}
	}
	if there == 0 {
		return st, wrap(l, backends.ErrNotFound)
	}
	st.Connected, st.Cut = wired == 2 && down == 0, wired == 2 && down == 2
	switch {
	case there < 2:
		st.Reason = "an interface is missing"
	case down > 0:
		st.Reason = "cut"
	case wired < 2:
		st.Reason = "an interface is not on the link's bridge"
	case carrier == 2:
		st.Carrier = lab.CarrierOn
	default:
		st.Reason = "an interface is set down in its node"
	}
	return st, nil
}

// Impair works on the bridge's side, where a node cannot see or undo it: what
// leaves one end suffers on its way to the other.
func (n *Network) Impair(_ context.Context, l backends.Link) error {
	for _, way := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		far, err := n.panel.LinkByName(farName(way[1]))
		if err == nil {
			err = n.panel.Impair(far, way[0].End.Impair)
		}
		if err != nil {
			return wrap(l, fmt.Errorf("from %s: %w", way[0].End, err))
		}
	}
	return nil
}
