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

	mu    sync.Mutex
	known map[string]backends.Link // by the name of each far end
	last  map[string]backends.LinkStatus
}

var _ backends.Network = (*Network)(nil)

// New makes the backend. The panel is a namespace that no node uses.
func New(panel string) (*Network, error) {
	ns, err := nsnet.Open(panel)
	if err != nil {
		return nil, err
	}
	n := &Network{path: panel, panel: ns, known: map[string]backends.Link{}, last: map[string]backends.LinkStatus{}}
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

// port makes sure that a node's interface and its far end exist. The far end
// is down, so the interface sees no carrier, unless up.
func (n *Network) port(p backends.Port, master int, up bool) error {
	if p.Attachment.Tap != "" || p.Attachment.Netns == "" {
		return fmt.Errorf("taps: %w", backends.ErrUnsupported)
	}
	ns, err := nsnet.Open(p.Attachment.Netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	name, far := p.Attachment.Interface, farName(p)
	have, err := ns.Find(name)
	if err != nil {
		return err
	}
	if have != nil && !nsnet.Ours(have, p.Lab, p.End) {
		return nsnet.Conflict(p.End, have)
	}
	hl, err := n.panel.Find(far)
	if err != nil {
		return err
	}
	if have != nil && (hl == nil || have.Attrs().ParentIndex != hl.Attrs().Index) {
		if err := ns.Delete(name); err != nil { // the rest of another backend's link
			return err
		}
		have = nil
	}
	if have == nil {
		if err := n.make(ns, p, far, master, up); err != nil {
			return err
		}
	} else if err := n.adjust(ns, p, have, hl, master, up); err != nil {
		return err
	}
	if err := ns.Change(name, nsnet.Alias("", p.Lab, p.End.String()), true); err != nil {
		return err
	}
	return ns.Address(name, p.End)
}

func (n *Network) make(ns *nsnet.NS, p backends.Port, far string, master int, up bool) error {
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
		PeerNamespace: ns.FD(), PeerMTU: uint32(max(0, p.MTU))}
	if err := n.panel.LinkAdd(v); err != nil {
		return err
	}
	if master != 0 {
		n.forwardAll(v)
	}
	return nil
}

// adjust brings what exists to where it should be.
func (n *Network) adjust(ns *nsnet.NS, p backends.Port, have, far netlink.Link, master int, up bool) error {
	if p.MTU > 0 {
		for h, l := range map[*nsnet.NS]netlink.Link{ns: have, n.panel: far} {
			if l.Attrs().MTU != p.MTU {
				if err := h.LinkSetMTU(l, p.MTU); err != nil {
					return fmt.Errorf("MTU %d: %w", p.MTU, err)
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

// forwardAll lets a port pass what a bridge keeps back. An old kernel that
// cannot still has a working link.
func (n *Network) forwardAll(l netlink.Link) { _ = n.panel.LinkSetBRSlaveGroupFwdMask(l, portForwards) }

// Provision makes an interface without carrier.
func (n *Network) Provision(_ context.Context, p backends.Port) error {
	if err := n.port(p, 0, false); err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	return nil
}

// Connect makes the bridge and puts both ends on it.
func (n *Network) Connect(ctx context.Context, l backends.Link) error {
	return wrap(l, n.connect(ctx, l))
}

func (n *Network) connect(ctx context.Context, l backends.Link) error {
	br, err := n.bridge(l)
	if err != nil {
		return err
	}
	n.watch(l)
	for _, p := range []backends.Port{l.A, l.B} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.port(p, br, true); err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
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
		if err := n.panel.LinkSetDown(far); err != nil {
			return wrap(l, err)
		}
	}
	return nil
}

// DeleteLink removes the bridge and both interfaces.
func (n *Network) DeleteLink(ctx context.Context, l backends.Link) error {
	n.mu.Lock()
	delete(n.known, farName(l.A))
	delete(n.known, farName(l.B))
	delete(n.last, l.Lab+"\x00"+l.ID())
	n.mu.Unlock()
	return wrap(l, errors.Join(n.DeletePort(ctx, l.A), n.DeletePort(ctx, l.B), n.panel.Delete(bridgeName(l))))
}

// DeletePort removes a far end, and with it the node's interface.
func (n *Network) DeletePort(_ context.Context, p backends.Port) error {
	return n.panel.Delete(farName(p))
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
		if far == nil {
			continue
		}
		there++
		if br != nil && far.Attrs().MasterIndex == br.Attrs().Index {
			wired++
		}
		switch {
		case far.Attrs().Flags&net.FlagUp == 0:
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
