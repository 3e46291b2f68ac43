package nsnet

import (
	"github.com/vishvananda/netlink"

	"archetype/internal/fail"
)

// Every change that the kernel is asked for comes through here, so that a test
// can end the program just before and just after it.

// LinkAdd makes an interface.
func (n *NS) LinkAdd(l netlink.Link) error {
	return fail.Around("kernel.add."+l.Type(), func() error { return n.Handle.LinkAdd(l) })
}

// LinkDel removes one.
func (n *NS) LinkDel(l netlink.Link) error {
	return fail.Around("kernel.delete."+l.Type(), func() error { return n.Handle.LinkDel(l) })
}

// LinkModify changes several things of one at once.
func (n *NS) LinkModify(l netlink.Link) error {
	return fail.Around("kernel.modify", func() error { return n.Handle.LinkModify(l) })
}

// LinkSetAlias marks one.
func (n *NS) LinkSetAlias(l netlink.Link, alias string) error {
	return fail.Around("kernel.alias", func() error { return n.Handle.LinkSetAlias(l, alias) })
}

// LinkSetName renames one.
func (n *NS) LinkSetName(l netlink.Link, name string) error {
	return fail.Around("kernel.name", func() error { return n.Handle.LinkSetName(l, name) })
}

// LinkSetMTU sets what it carries.
func (n *NS) LinkSetMTU(l netlink.Link, mtu int) error {
	return fail.Around("kernel.mtu", func() error { return n.Handle.LinkSetMTU(l, mtu) })
}

// LinkSetUp switches one on.
func (n *NS) LinkSetUp(l netlink.Link) error {
	return fail.Around("kernel.up", func() error { return n.Handle.LinkSetUp(l) })
}

// LinkSetDown switches one off.
func (n *NS) LinkSetDown(l netlink.Link) error {
	return fail.Around("kernel.down", func() error { return n.Handle.LinkSetDown(l) })
}

// LinkSetMasterByIndex makes one a port of a bridge.
func (n *NS) LinkSetMasterByIndex(l netlink.Link, bridge int) error {
	return fail.Around("kernel.master", func() error { return n.Handle.LinkSetMasterByIndex(l, bridge) })
}

// LinkSetNoMaster takes one out of its bridge.
func (n *NS) LinkSetNoMaster(l netlink.Link) error {
	return fail.Around("kernel.nomaster", func() error { return n.Handle.LinkSetNoMaster(l) })
}

// LinkSetNsFd moves one into another namespace.
func (n *NS) LinkSetNsFd(l netlink.Link, fd int) error {
	return fail.Around("kernel.move", func() error { return n.Handle.LinkSetNsFd(l, fd) })
}

// LinkSetGroup gives one the number that it has in common with others.
func (n *NS) LinkSetGroup(l netlink.Link, group int) error {
	return fail.Around("kernel.group", func() error { return n.Handle.LinkSetGroup(l, group) })
}

// LinkSetARPOff has this machine not answer on it.
func (n *NS) LinkSetARPOff(l netlink.Link) error {
	return fail.Around("kernel.arpoff", func() error { return n.Handle.LinkSetARPOff(l) })
}

// LinkSetARPOn has it answer again.
func (n *NS) LinkSetARPOn(l netlink.Link) error {
	return fail.Around("kernel.arpon", func() error { return n.Handle.LinkSetARPOn(l) })
}

// LinkSetIP6AddrGenMode says how it comes to addresses of its own.
func (n *NS) LinkSetIP6AddrGenMode(l netlink.Link, mode int) error {
	return fail.Around("kernel.addrgen", func() error { return n.Handle.LinkSetIP6AddrGenMode(l, mode) })
}

// LinkSetBRSlaveGroupFwdMask lets a bridge's port pass what bridges keep back.
func (n *NS) LinkSetBRSlaveGroupFwdMask(l netlink.Link, mask uint16) error {
	return fail.Around("kernel.fwdmask", func() error { return n.Handle.LinkSetBRSlaveGroupFwdMask(l, mask) })
}

// AddrAdd gives one an address of the protocol's.
func (n *NS) AddrAdd(l netlink.Link, a *netlink.Addr) error {
	return fail.Around("kernel.address", func() error { return n.Handle.AddrAdd(l, a) })
}

// RouteAdd adds a route.
func (n *NS) RouteAdd(r *netlink.Route) error {
	return fail.Around("kernel.route", func() error { return n.Handle.RouteAdd(r) })
}

// QdiscReplace makes an interface worse than a cable.
func (n *NS) QdiscReplace(q netlink.Qdisc) error {
	return fail.Around("kernel.qdisc", func() error { return n.Handle.QdiscReplace(q) })
}

// QdiscDel makes it good again.
func (n *NS) QdiscDel(q netlink.Qdisc) error {
	return fail.Around("kernel.noqdisc", func() error { return n.Handle.QdiscDel(q) })
}

// QdiscChange makes it worse in another way.
func (n *NS) QdiscChange(q netlink.Qdisc) error {
	return fail.Around("kernel.qdisc", func() error { return n.Handle.QdiscChange(q) })
}
