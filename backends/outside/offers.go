package outside

import (
	"context"
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/lab"
)

// Offers implements backends.Outside: it tries what the kernel may lack.
func (o *Outside) Offers(ctx context.Context) []backends.Offer {
	ok := func(rootful, rootless string) backends.Availability {
		if o.cfg.Rootless {
			return backends.Availability{OK: true, Detail: rootless}
		}
		return backends.Availability{OK: true, Detail: rootful}
	}
	none := func(a backends.Availability) backends.Availability {
		if o.cfg.Rootless {
			return backends.Availability{Reason: "an ordinary user's labs are in a user namespace without the machine's interfaces and bridges", Fix: "run as root"}
		}
		return a
	}
	out := []backends.Offer{
		{Type: lab.OutsideHost, Availability: ok("interfaces in the machine's namespace", "interfaces in the user namespace around the labs")},
		{Type: lab.OutsideBridge, Availability: none(ok("ports of bridges that the machine has", ""))},
		{Type: lab.OutsideManagement, Availability: none(ok("ports of the management network's bridge", ""))},
		{Type: lab.OutsideMacvlan, Availability: none(o.tryMacvlan())},
	}
	sw := backends.Availability{Reason: "Open vSwitch is not used", Fix: "install openvswitch-switch and start it"}
	if o.cfg.Switch != nil {
		if _, err := o.cfg.Switch.HasBridge(ctx, "none"); err != nil {
			sw.Reason = err.Error()
		} else {
			sw = ok("ports of Open vSwitch's bridges", "")
		}
	}
	out = append(out, backends.Offer{Type: lab.OutsideOVSBridge, Availability: none(sw)})
	dummy := ok("interfaces without a peer", "interfaces without a peer")
	if !o.hasDummy() {
		dummy.Detail = "half of a veth pair stands in: this kernel has no dummy interfaces (CONFIG_DUMMY)"
	}
	tunnels := o.cfg.Tunnels.Available(ctx)
	return append(out, backends.Offer{Type: lab.OutsideDummy, Availability: dummy},
		backends.Offer{Type: lab.OutsideVXLAN, Availability: none(tunnels)},
		backends.Offer{Type: lab.OutsideVXLANStitch, Availability: none(tunnels)})
}

// tryMacvlan makes one upon an interface of its own.
func (o *Outside) tryMacvlan() backends.Availability {
	const parent, name = "archetype-mvp", "archetype-mvl"
	defer func() { _ = o.panel.Delete(parent) }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = parent
	err := o.panel.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "archetype-mvq"})
	var p netlink.Link
	if err == nil || errors.Is(err, unix.EEXIST) {
		if p, err = o.panel.LinkByName(parent); err == nil {
			attrs.Name, attrs.ParentIndex = name, p.Attrs().Index
			err = o.panel.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
		}
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return backends.Availability{Reason: "macvlan: " + err.Error(), Fix: "a kernel with CONFIG_MACVLAN (modprobe macvlan)"}
	}
	return backends.Availability{OK: true, Detail: "upon interfaces of the machine"}
}
