// Package linuxbridge gives each link a bridge of its own.
package linuxbridge

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/cable"
	"archetype/backends/network/nsnet"
)

// Frames to 01:80:c2:00:00:0X that a cable carries and a bridge by itself
// does not: all that the kernel lets be forwarded. A bridge may not forward
// X = 0, 1, 2 (spanning tree, pause, LACP); a port may, except pause.
const (
	bridgeForwards uint16 = 0xfff8
	portForwards   uint16 = 0xfffd
)

// New makes the backend. The panel is a namespace that no node uses.
func New(panel string) (*cable.Network, error) {
	return cable.New(panel, func(ns *nsnet.NS, _ *nsnet.Batch) cable.Joint { return &bridge{ns} })
}

// bridge implements cable.Joint.
type bridge struct{ panel *nsnet.NS }

func (b *bridge) Name() string   { return "linuxbridge" }
func (b *bridge) Letter() string { return "h" }

// Available tries a bridge.
func (b *bridge) Available() backends.Availability {
	name := mark.Trial("probe")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := b.panel.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return backends.Availability{Reason: "bridges: " + err.Error(), Fix: "a kernel with CONFIG_BRIDGE (modprobe bridge)"}
	}
	_ = b.panel.Delete(name)
	return backends.Availability{OK: true, Detail: "a bridge per link"}
}

func bridgeName(l backends.Link) string { return nsnet.Name("b", l.Lab, l.ID()) }

// Join makes the bridge and puts both far ends on it.
func (b *bridge) Join(l backends.Link, x, y int) error {
	br, err := b.make(l)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	for _, index := range []int{x, y} {
		far, err := b.panel.LinkByIndex(index)
		if err != nil {
			return err
		}
		if far.Attrs().MasterIndex == br {
			continue
		}
		if err := b.panel.Unpatch(index); err != nil {
			return err
		}
		if err := b.panel.LinkSetMasterByIndex(far, br); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
		// An old kernel that cannot do this still has a working link.
		_ = b.panel.LinkSetBRSlaveGroupFwdMask(far, portForwards)
	}
	return nil
}

func (b *bridge) make(l backends.Link) (index int, err error) {
	name, mtu := bridgeName(l), nsnet.CableMTU(l.A.MTU, l.B.MTU)
	have, err := b.panel.Find(name)
	if err != nil {
		return 0, err
	}
	if have != nil {
		return have.Attrs().Index, b.adjust(have, l, mtu)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags, attrs.Group = name, mtu, net.FlagUp, nsnet.Group(l.Lab)
	off, mask := false, bridgeForwards
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off, GroupFwdMask: &mask}
	if err := b.panel.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) {
		return 0, err
	}
	made, err := b.panel.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return made.Attrs().Index, b.mark(made, l)
}

// adjust brings a bridge that is there to where it should be.
func (b *bridge) adjust(have netlink.Link, l backends.Link, mtu int) error {
	if have.Type() != "bridge" {
		return fmt.Errorf("interface %s stands in its place, and is no bridge (%s): remove it (%w)", have.Attrs().Name, have.Type(), backends.ErrConflict)
	}
	errs := []error{b.panel.Resize(have, mtu)}
	if have.Attrs().Flags&net.FlagUp == 0 {
		errs = append(errs, b.panel.LinkSetUp(have))
	}
	return errors.Join(append(errs, b.mark(have, l))...)
}

// mark sets the bridge's mark, also on one whose maker ended before it did.
func (b *bridge) mark(br netlink.Link, l backends.Link) error {
	alias := mark.Mark{Use: cable.UseJoint + "-" + b.Name(), Lab: l.Lab, ID: l.ID()}.String()
	if br.Attrs().Alias == alias {
		return nil
	}
	return b.panel.LinkSetAlias(br, alias)
}

func (b *bridge) Joined(l backends.Link, x, y netlink.Link) (bool, error) {
	br, err := b.panel.Find(bridgeName(l))
	if br == nil || err != nil {
		return false, err
	}
	up := br.Attrs().Flags&net.FlagUp != 0 // one that is down carries nothing, though its ports have carrier
	return up && x.Attrs().MasterIndex == br.Attrs().Index && y.Attrs().MasterIndex == br.Attrs().Index, nil
}

// Part removes the bridge. What is none, in its place, is not ours.
func (b *bridge) Part(l backends.Link) error {
	br, err := b.panel.Find(bridgeName(l))
	if br == nil || err != nil || br.Type() != "bridge" {
		return err
	}
	return b.panel.Delete(bridgeName(l))
}
