package nsnet

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
)

// Settings are what was given to an interface since it was made, and what the
// kernel forgets when the interface goes down or is replaced.
type Settings struct {
	addresses []netlink.Addr
	routes    []netlink.Route
}

// Routes reports whether there are routes among the settings.
func (s Settings) Routes() bool { return len(s.routes) > 0 }

// Settings reads the addresses and routes of an interface; routes that the
// kernel makes by itself are left out.
func (n *NS) Settings(name string) (Settings, error) {
	var s Settings
	l, err := n.LinkByName(name)
	if err != nil {
		return s, err
	}
	if s.addresses, err = whole.List(func() ([]netlink.Addr, error) { return n.AddrList(l, netlink.FAMILY_ALL) }); err != nil {
		return s, err
	}
	all, err := whole.List(func() ([]netlink.Route, error) {
		return n.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: l.Attrs().Index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return s, err
	}
	for _, r := range all {
		if r.Protocol != unix.RTPROT_KERNEL && r.Protocol != unix.RTPROT_RA {
			s.routes = append(s.routes, r)
		}
	}
	return s, nil
}

// RestoreAddresses gives an interface addresses that it, or the one before
// it, had.
func (n *NS) RestoreAddresses(name string, s Settings) error {
	if len(s.addresses) == 0 {
		return nil
	}
	l, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range s.addresses {
		if a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil {
			continue // made by the kernel from the MAC address
		}
		add := netlink.Addr{IPNet: a.IPNet, Label: a.Label, Scope: a.Scope, Broadcast: a.Broadcast,
			Flags: a.Flags & (unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR)}
		if a.IP.To4() == nil {
			add.Flags |= unix.IFA_F_NODAD
		}
		if err := n.AddrAdd(l, &add); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("address %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// RestoreRoutes puts routes back that went away with the interface's carrier
// or with the interface.
func (n *NS) RestoreRoutes(name string, s Settings) error {
	if len(s.routes) == 0 {
		return nil
	}
	l, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	for _, r := range s.routes {
		r.LinkIndex = l.Attrs().Index
		r.Flags &^= unix.RTNH_F_LINKDOWN | unix.RTNH_F_DEAD
		// A routing daemon may have put it back, or have another opinion by now.
		if err := n.RouteAdd(&r); err != nil && !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.ENETUNREACH) {
			return fmt.Errorf("route %s: %w", r, err)
		}
	}
	return nil
}

// FarEnd finds, in the panel n, the other end of an interface in a node's
// namespace, whichever network made it; nil when it is not there.
func (n *NS) FarEnd(node *NS, have netlink.Link, labName string) (netlink.Link, error) {
	far, err := n.LinkByIndex(have.Attrs().ParentIndex)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || err == nil && far.Type() != have.Type() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Interfaces are numbered in each namespace anew: that the two name each
	// other says nothing unless they mean the same namespaces.
	id, err := n.GetNetNsIdByFd(int(node.ns))
	if err != nil {
		return nil, err
	}
	a := far.Attrs()
	if a.ParentIndex != have.Attrs().Index || a.NetNsID != id || a.Group != Group(labName) {
		return nil, nil
	}
	return far, nil
}

// Rename gives an interface another name, without taking its carrier where
// the kernel (6.2 and later) can.
func (n *NS) Rename(l netlink.Link, name string) error {
	if l.Attrs().Name == name {
		return nil
	}
	err := n.LinkSetName(l, name)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	if err := errors.Join(n.LinkSetDown(l), n.LinkSetName(l, name)); err != nil {
		return err
	}
	return n.LinkSetUp(l)
}
