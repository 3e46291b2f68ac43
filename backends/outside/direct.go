package outside

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/internal/fail"
	"archetype/lab"
)

// What an interface without a peer is used as, in its alias.
const (
	useDirect = "direct"
	useCut    = "cut"
)

// alias marks such an interface: in its node's namespace.
func alias(use string, l backends.Link) string {
	return mark.Mark{Use: use, Lab: l.Lab, ID: l.ID()}.String()
}

func inNode(l backends.Link) (*nsnet.NS, error) {
	at := l.A.Attachment
	if at.Tap != "" || at.Netns == "" {
		return nil, fmt.Errorf("%s: a link of type %s ends in a network namespace, which a virtual machine has not: use vxlan-stitch or a bridge (%w)",
			l.A.End, l.B.Outside.Type, backends.ErrUnsupported)
	}
	return nsnet.Open(at.Netns)
}

// found is the node's interface: nil when there is none, an error when it is
// not ours.
func found(ns *nsnet.NS, l backends.Link) (netlink.Link, error) {
	have, err := ns.Find(l.A.Attachment.Interface)
	if err != nil || have == nil {
		return nil, err
	}
	if m, ok := mark.Parse(have.Attrs().Alias); ok && m.Lab == l.Lab {
		return have, nil
	}
	// Made, and then interrupted before it was marked?
	if mac, err := nsnet.MAC(l.Lab, l.A.End); err == nil && have.Attrs().HardwareAddr.String() == mac.String() {
		return have, nil
	}
	return nil, nsnet.Conflict(l.A.End, have)
}

// isOf reports whether an interface is of the sort that the link wants.
func (o *Outside) isOf(have netlink.Link, l backends.Link) bool {
	out := l.B.Outside
	switch v := have.(type) {
	case *netlink.Macvlan:
		parent, err := o.host.Find(out.Interface)
		mode, merr := macvlanMode(out.Mode)
		return out.Type == lab.OutsideMacvlan && err == nil && merr == nil && parent != nil &&
			v.ParentIndex == parent.Attrs().Index && v.Mode == mode
	case *netlink.Vxlan:
		return out.Type == lab.OutsideVXLAN
	case *netlink.Dummy:
		return out.Type == lab.OutsideDummy
	case *netlink.Veth:
		m, _ := mark.Parse(v.Alias)
		return out.Type == lab.OutsideDummy && m.ID == l.ID()
	}
	return false
}

func (o *Outside) connectDirect(ctx context.Context, l backends.Link) error {
	ns, err := inNode(l)
	if err != nil {
		return err
	}
	defer ns.Close()
	have, err := found(ns, l)
	if err != nil {
		return err
	}
	name := l.A.Attachment.Interface
	if have != nil && !o.isOf(have, l) {
		if err := ns.Delete(name); err != nil {
			return err
		}
		have = nil
	}
	if have == nil || l.B.Outside.Type == lab.OutsideVXLAN {
		if err := o.make(ctx, ns, l); err != nil {
			return err
		}
	}
	dev, err := ns.LinkByName(name)
	if err != nil {
		return err
	}
	if alias := alias(useDirect, l); dev.Attrs().Alias != alias {
		if err := ns.LinkSetAlias(dev, alias); err != nil {
			return err
		}
	}
	if l.A.MTU > 0 && dev.Attrs().MTU != l.A.MTU && l.B.Outside.Type != lab.OutsideVXLAN {
		if err := ns.LinkSetMTU(dev, l.A.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", l.A.MTU, err)
		}
	}
	if err := o.carry(ns, dev, l, true); err != nil {
		return err
	}
	if err := ns.LinkSetUp(dev); err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("UDP port %d is in use on this machine by another program: choose another, at both ends (%w)", l.B.Outside.DestinationPort, backends.ErrConflict)
		}
		return err
	}
	return ns.Address(name, l.A.End)
}

// make makes the interface straight in the node's namespace.
func (o *Outside) make(ctx context.Context, ns *nsnet.NS, l backends.Link) error {
	out := l.B.Outside
	mac, err := nsnet.MAC(l.Lab, l.A.End)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = l.A.Attachment.Interface, mac
	switch out.Type {
	case lab.OutsideVXLAN:
		t, err := o.tunnel(ctx, l.A.End.Endpoint, l.B.End.Endpoint, l.Lab, out, l.A.MTU)
		if err != nil {
			return err
		}
		_, err = o.cfg.Tunnels.Into(t, attrs, ns)
		return err
	case lab.OutsideMacvlan:
		parent, err := o.parent(out.Interface)
		if err != nil {
			return err
		}
		mode, err := macvlanMode(out.Mode)
		if err != nil {
			return err
		}
		if mode == netlink.MACVLAN_MODE_PASSTHRU {
			attrs.HardwareAddr = nil // it has its parent's
		}
		attrs.ParentIndex, attrs.Namespace = parent.Attrs().Index, ns.FD()
		err = o.host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: mode})
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("this kernel has no macvlan (CONFIG_MACVLAN; modprobe macvlan) (%w)", backends.ErrUnsupported)
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
			return fmt.Errorf("macvlan in mode %s on %s: %w: an interface in a bridge or with another macvlan in mode passthru takes none (%w)",
				orBridge(out.Mode), out.Interface, err, backends.ErrConflict)
		}
		return err
	default:
		return o.dummy(ns, l, attrs)
	}
}

func orBridge(mode string) string {
	if mode == "" {
		return "bridge"
	}
	return mode
}

// dummy makes an interface without a peer; on a kernel that has none, half of
// a pair whose other half nobody has.
func (o *Outside) dummy(ns *nsnet.NS, l backends.Link, attrs netlink.LinkAttrs) error {
	err := ns.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	far := farName(l)
	if err := o.panel.Delete(far); err != nil {
		return err
	}
	lone := netlink.NewLinkAttrs()
	lone.Name, lone.Flags, lone.MTU, lone.Group = far, net.FlagUp, l.A.MTU, group(l.Lab)
	if err := o.panel.Sysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return err
	}
	return o.panel.LinkAdd(&netlink.Veth{LinkAttrs: lone, PeerName: attrs.Name, PeerNamespace: ns.FD(),
		PeerHardwareAddr: attrs.HardwareAddr, PeerMTU: uint32(max(0, l.A.MTU))})
}

func farName(l backends.Link) string { return nsnet.Name("y", l.Lab, l.ID()) }

// carry gives an interface its carrier or takes it away.
func (o *Outside) carry(ns *nsnet.NS, dev netlink.Link, l backends.Link, on bool) error {
	switch dev.Type() {
	case "veth":
		far, err := o.panel.Find(farName(l))
		if err != nil || far == nil {
			return err
		}
		if on {
			return o.panel.LinkSetUp(far)
		}
		return o.panel.LinkSetDown(far)
	case "dummy":
		return setLink(ns, dev, unix.IFLA_CARRIER, on)
	default:
		return setLink(ns, dev, unix.IFLA_PROTO_DOWN, !on)
	}
}

// setLink sets an attribute of one byte.
func setLink(ns *nsnet.NS, dev netlink.Link, attribute int, on bool) error {
	value := byte(0)
	if on {
		value = 1
	}
	return ns.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(dev.Attrs().Index)
		req.AddData(msg)
		req.AddData(nl.NewRtAttr(attribute, []byte{value}))
		return fail.Around("kernel.set", func() error {
			_, err := req.Execute(unix.NETLINK_ROUTE, 0)
			return err
		})
	})
}

func (o *Outside) cutDirect(l backends.Link) error {
	ns, err := inNode(l)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	dev, err := found(ns, l)
	if err != nil || dev == nil {
		return err
	}
	if err := ns.LinkSetAlias(dev, alias(useCut, l)); err != nil {
		return err
	}
	return o.carry(ns, dev, l, false)
}

func (o *Outside) deleteDirect(l backends.Link) error {
	ns, err := inNode(l)
	if errors.Is(err, backends.ErrNotFound) || errors.Is(err, backends.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	dev, err := found(ns, l)
	if errors.Is(err, backends.ErrConflict) || dev == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return ns.Delete(dev.Attrs().Name)
}

func (o *Outside) stateDirect(ctx context.Context, l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	ns, err := inNode(l)
	if err != nil {
		return st, err
	}
	defer ns.Close()
	dev, err := found(ns, l)
	if err != nil || dev == nil {
		return st, errors.Join(err, backends.ErrNotFound)
	}
	m, _ := mark.Parse(dev.Attrs().Alias)
	st.Connected = m.Use == useDirect && o.isOf(dev, l)
	attrs := dev.Attrs()
	switch {
	case m.Use == useCut:
		st.Reason = "cut"
	case !st.Connected:
		st.Reason = "the interface is not what the link wants"
	case o.narrowed(ctx, l, dev, &st):
	case attrs.Flags&net.FlagUp == 0:
		st.Reason = "the interface is set down in its node"
	case attrs.RawFlags&unix.IFF_LOWER_UP == 0:
		st.Reason = "no carrier"
		if l.B.Outside.Type == lab.OutsideMacvlan {
			st.Reason = "no carrier: " + l.B.Outside.Interface + " is down"
		}
	default:
		st.Carrier = lab.CarrierOn
	}
	return st, nil
}

// impairDirect gives what the node sends its impairment; what comes from
// outside comes as it is.
func (o *Outside) impairDirect(l backends.Link) error {
	if !l.B.End.Impair.IsZero() {
		return fmt.Errorf("what comes from %s cannot be impaired: only what %s sends (%w)", l.B.End, l.A.End.Node, backends.ErrUnsupported)
	}
	ns, err := inNode(l)
	if err != nil {
		return err
	}
	defer ns.Close()
	dev, err := found(ns, l)
	if err != nil || dev == nil {
		return errors.Join(err, backends.ErrNotFound)
	}
	return ns.Impair(dev, l.A.End.Impair)
}
