// Package vxlan makes tunnels of the kernel's own VXLAN: an interface that
// sends from the machine's namespace and lives, with the bridge that joins it
// to a link, in the panel.
package vxlan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/backends/overlay"
	"archetype/internal/whole"
	"archetype/lab"
)

// Frames to 01:80:c2:00:00:0X that a cable carries and a bridge keeps back
// unless told otherwise; see the network linuxbridge.
const (
	bridgeForwards uint16 = 0xfff8
	portForwards   uint16 = 0xfffd
)

const (
	useTunnel = "tunnel"
	separator = " | " // between the two ends' names in an alias
)

// Overlay implements backends.Overlay.
type Overlay struct {
	underlay *nsnet.NS // whose addresses and routes the tunnels use
	panel    *nsnet.NS
	path     string // of the panel

	mu sync.Mutex // one at a time: two new tunnels must not pick one VNI
}

var _ backends.Overlay = (*Overlay)(nil)

// New makes the overlay. The underlay is the namespace that reaches other
// machines; the panel is one that no node uses. They may be the same.
func New(underlay, panel string) (*Overlay, error) {
	u, err := nsnet.Open(underlay)
	if err != nil {
		return nil, err
	}
	p, err := nsnet.Open(panel)
	if err != nil {
		u.Close()
		return nil, err
	}
	return &Overlay{underlay: u, panel: p, path: panel}, nil
}

// Close lets go of the namespaces. The tunnels stay.
func (o *Overlay) Close() error {
	o.underlay.Close()
	o.panel.Close()
	return nil
}

// Name is "vxlan".
func (o *Overlay) Name() string { return "vxlan" }

// Available tries an interface.
func (o *Overlay) Available(context.Context) backends.Availability {
	name := mark.Trial("vx")
	if err := o.panel.Delete(name); err != nil {
		return backends.Availability{Reason: "VXLAN: " + err.Error()}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// Without a remote and on a port of its own it is in nobody's way.
	err := o.panel.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: overlay.MaxVNI, Port: 1})
	_ = o.panel.Delete(name)
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return backends.Availability{Reason: "VXLAN: " + err.Error(), Fix: "a kernel with CONFIG_VXLAN (modprobe vxlan)"}
	}
	return backends.Availability{OK: true, Detail: "the kernel's VXLAN"}
}

func deviceName(t backends.Tunnel) string { return nsnet.Name("v", t.Lab, t.ID()) }
func bridgeName(t backends.Tunnel) string { return nsnet.Name("w", t.Lab, t.ID()) }
func portName(t backends.Tunnel) string   { return nsnet.Name("x", t.Lab, t.ID()) }
func alias(t backends.Tunnel) string {
	return mark.Mark{Use: useTunnel, Lab: t.Lab, ID: t.Near + separator + t.Far}.String()
}

// named reads whose tunnel an interface is from its alias.
func named(l netlink.Link) (t backends.Tunnel, ok bool) {
	m, ok := mark.Parse(l.Attrs().Alias)
	if !ok || m.Use != useTunnel {
		return t, false
	}
	near, far, ok := strings.Cut(m.ID, separator)
	return backends.Tunnel{Lab: m.Lab, Near: near, Far: far}, ok
}

// Create makes the near end and joins what stands at its attachment.
func (o *Overlay) Create(ctx context.Context, want backends.Tunnel) (backends.TunnelStatus, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, note, err := o.plan(want)
	if err != nil {
		return backends.TunnelStatus{}, err
	}
	if err := o.device(t); err != nil {
		return backends.TunnelStatus{}, err
	}
	if err := ctx.Err(); err != nil {
		return backends.TunnelStatus{}, err
	}
	if err := o.join(t); err != nil {
		return backends.TunnelStatus{}, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	st, err := o.observe(t)
	if note != "" {
		st.Notes = append(st.Notes, note)
	}
	return st, err
}

// device makes sure that the tunnel's VXLAN interface is as it shall be.
func (o *Overlay) device(t backends.Tunnel) error {
	name := deviceName(t)
	have, err := o.panel.Find(name)
	if err != nil {
		return err
	}
	if err := o.vacant(t, name); err != nil {
		return err
	}
	if v, ok := have.(*netlink.Vxlan); ok && o.same(v, t) {
		return o.adjust(t, v)
	}
	if have != nil {
		if err := o.panel.Delete(name); err != nil {
			return fmt.Errorf("tunnel %s: %w", t.ID(), err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group = name, nsnet.Group(t.Lab)
	if err := o.add(t, attrs, o.panel); err != nil {
		return err
	}
	made, err := o.panel.LinkByName(name)
	if err != nil {
		return fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	return o.adjust(t, made)
}

// add makes the interface in a namespace. Asked for in the underlay's, it goes
// on sending from there.
func (o *Overlay) add(t backends.Tunnel, attrs netlink.LinkAttrs, into *nsnet.NS) error {
	attrs.MTU, attrs.Namespace = t.MTU, into.FD()
	v := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: int(t.VNI), SrcAddr: t.Local.AsSlice(), Group: t.Remote.AsSlice(),
		Port: int(t.UDPPort), Learning: false, UDPCSum: true}
	if t.SourcePort != 0 {
		v.PortLow, v.PortHigh = int(t.SourcePort), int(t.SourcePort)+1 // the upper one is excluded
	}
	if t.Parent != "" {
		dev, err := o.underlay.LinkByName(t.Parent)
		if err != nil {
			return fmt.Errorf("tunnel %s: %w", t.ID(), err)
		}
		v.VtepDevIndex = dev.Attrs().Index
	}
	err := o.underlay.LinkAdd(v)
	// One that nobody sees may be in the namespace of a node that has gone,
	// which the kernel takes apart when it finds the time.
	for range 50 {
		if !errors.Is(err, syscall.EEXIST) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		err = o.underlay.LinkAdd(v)
	}
	if errors.Is(err, syscall.EEXIST) {
		return overlay.Taken(t, "another interface")
	}
	if err != nil {
		return fmt.Errorf("tunnel %s: VXLAN interface: %w", t.ID(), err)
	}
	return nil
}

// plan completes a tunnel by what its path allows.
func (o *Overlay) plan(want backends.Tunnel) (t backends.Tunnel, note string, err error) {
	if t, err = overlay.Complete(want); err != nil {
		return t, "", err
	}
	if len(alias(t)) > 255 { // bytes, what the kernel keeps
		return t, "", fmt.Errorf("tunnel %s: the names of its ends are too long", t.ID())
	}
	path, err := overlay.Find(o.underlay, t)
	if err != nil {
		return t, "", err
	}
	t.Local = path.Local
	t.MTU, note, err = overlay.Fit(t, path)
	return t, note, err
}

// Plan says what a tunnel would be, or why it could not be made.
func (o *Overlay) Plan(want backends.Tunnel) (t backends.Tunnel, note string, err error) {
	if t, note, err = o.plan(want); err == nil {
		err = o.vacant(t, deviceName(t))
	}
	return t, note, err
}

// Into makes a tunnel that ends in a namespace itself, without a bridge: the
// interface there is the tunnel. It is made anew where it is another.
func (o *Overlay) Into(want backends.Tunnel, attrs netlink.LinkAttrs, into *nsnet.NS) (backends.Tunnel, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, _, err := o.plan(want)
	if err != nil {
		return t, err
	}
	have, err := into.Find(attrs.Name)
	if err != nil {
		return t, err
	}
	if v, ok := have.(*netlink.Vxlan); ok && o.same(v, t) {
		if v.MTU != t.MTU {
			err = into.LinkSetMTU(v, t.MTU)
		}
		return t, err
	}
	if err := o.vacant(t, ""); err != nil {
		return t, err
	}
	if err := into.Delete(attrs.Name); err != nil {
		return t, err
	}
	return t, o.add(t, attrs, into)
}

func (o *Overlay) same(v *netlink.Vxlan, t backends.Tunnel) bool {
	parent := 0
	if dev, err := o.underlay.Find(t.Parent); t.Parent != "" && err == nil && dev != nil {
		parent = dev.Attrs().Index
	}
	remote, _ := netip.AddrFromSlice(v.Group)
	local, _ := netip.AddrFromSlice(v.SrcAddr)
	return v.VxlanId == int(t.VNI) && v.Port == int(t.UDPPort) && remote.Unmap() == t.Remote && local.Unmap() == t.Local &&
		v.VtepDevIndex == parent && (t.SourcePort == 0 || v.PortLow == int(t.SourcePort))
}

// vacant reports as an error who else on this machine has the tunnel's VNI.
func (o *Overlay) vacant(t backends.Tunnel, own string) error {
	for _, ns := range []*nsnet.NS{o.panel, o.underlay} {
		links, err := whole.List(ns.LinkList)
		if err != nil {
			return err
		}
		for _, l := range links {
			v, ok := l.(*netlink.Vxlan)
			if !ok || v.Name == own || v.VxlanId != int(t.VNI) || v.Port != int(t.UDPPort) {
				continue
			}
			if by, ok := named(v); ok {
				return overlay.Taken(t, fmt.Sprintf("tunnel %s of lab %s", by.ID(), by.Lab))
			}
			return overlay.Taken(t, "interface "+v.Name)
		}
	}
	return nil
}

// adjust makes the bridge and brings the interface to where it should be.
func (o *Overlay) adjust(t backends.Tunnel, v netlink.Link) error {
	fail := func(err error) error { return fmt.Errorf("tunnel %s: %w", t.ID(), err) }
	br, err := o.bridge(t)
	if err != nil {
		return fail(err)
	}
	if v.Attrs().Alias != alias(t) {
		if err := o.panel.LinkSetAlias(v, alias(t)); err != nil {
			return fail(err)
		}
	}
	if v.Attrs().MTU != t.MTU {
		if err := o.panel.LinkSetMTU(v, t.MTU); err != nil {
			return fail(fmt.Errorf("MTU %d: %w", t.MTU, err))
		}
	}
	if v.Attrs().MasterIndex != br {
		if err := o.panel.LinkSetMasterByIndex(v, br); err != nil {
			return fail(err)
		}
	}
	_ = o.panel.LinkSetBRSlaveGroupFwdMask(v, portForwards) // an old kernel keeps some frames back
	err = o.panel.LinkSetUp(v)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fail(fmt.Errorf("UDP port %d is in use on this machine by another program: choose another, at both ends (%w)", t.UDPPort, backends.ErrConflict))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func (o *Overlay) bridge(t backends.Tunnel) (index int, err error) {
	name := bridgeName(t)
	have, err := o.panel.Find(name)
	if err != nil {
		return 0, err
	}
	if have == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.Group = name, t.MTU, nsnet.Group(t.Lab)
		off, mask := false, bridgeForwards
		br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off, GroupFwdMask: &mask}
		if err := o.panel.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) {
			return 0, fmt.Errorf("bridge: %w", err)
		}
		// A bridge that is up would speak IPv6 on the link.
		if err := o.panel.Sysctl("ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil {
			return 0, err
		}
		if have, err = o.panel.LinkByName(name); err != nil {
			return 0, err
		}
	}
	if have.Attrs().MTU != t.MTU {
		if err := o.panel.LinkSetMTU(have, t.MTU); err != nil {
			return 0, err
		}
	}
	return have.Attrs().Index, o.panel.LinkSetUp(have)
}

// join puts what a network made at the attachment onto the bridge.
func (o *Overlay) join(t backends.Tunnel) error {
	port, err := o.panel.Find(portName(t))
	if port == nil || err != nil {
		return err
	}
	br, err := o.panel.LinkByName(bridgeName(t))
	if err != nil {
		return err
	}
	if port.Attrs().MTU != t.MTU {
		if err := o.panel.LinkSetMTU(port, t.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", t.MTU, err)
		}
	}
	if port.Attrs().MasterIndex != br.Attrs().Index {
		if err := o.panel.LinkSetMasterByIndex(port, br.Attrs().Index); err != nil {
			return err
		}
	}
	_ = o.panel.LinkSetBRSlaveGroupFwdMask(port, portForwards)
	// A cable's end has no address and says nothing.
	return o.panel.Sysctl("ipv6/conf/"+portName(t)+"/disable_ipv6", "1")
}

// Delete removes the near end; the interface at its attachment is the
// network's to remove.
func (o *Overlay) Delete(_ context.Context, t backends.Tunnel) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := errors.Join(o.panel.Delete(deviceName(t)), o.panel.Delete(bridgeName(t))); err != nil {
		return fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	return nil
}

// Status observes the near end and asks after the far one.
func (o *Overlay) Status(ctx context.Context, t backends.Tunnel) (backends.TunnelStatus, error) {
	st, err := o.observe(t)
	return o.asked(ctx, st), err
}

// asked is the status of a near end that could carry something, with what is
// known of the far one.
func (o *Overlay) asked(ctx context.Context, st backends.TunnelStatus) backends.TunnelStatus {
	if st.State != lab.TunnelActive {
		return st
	}
	why := overlay.Refused(ctx, o.underlay, st.Tunnel)
	if why == "" {
		why = overlay.Unanswered(o.underlay, st.Tunnel)
	}
	if why != "" {
		st.State, st.Carrier, st.Reason = lab.TunnelFailed, lab.CarrierOff, why
	}
	return st
}

// Inside observes a tunnel that Into has made; with ask, its far end, too.
func (o *Overlay) Inside(ctx context.Context, t backends.Tunnel, v *netlink.Vxlan, ask bool) backends.TunnelStatus {
	st := backends.TunnelStatus{Tunnel: t, State: lab.TunnelFailed, Carrier: lab.CarrierOff}
	if o.read(&st, v); st.Reason == "" {
		st.State, st.Carrier, st.Joined = lab.TunnelActive, lab.CarrierOn, true
	}
	if ask {
		st = o.asked(ctx, st)
	}
	return st
}

// List finds the interfaces by their aliases.
func (o *Overlay) List(_ context.Context, labName string) ([]backends.TunnelStatus, error) {
	links, err := whole.List(o.panel.LinkList)
	if err != nil {
		return nil, err
	}
	var out []backends.TunnelStatus
	for _, l := range links {
		t, ok := named(l)
		if !ok || l.Type() != "vxlan" || (labName != "" && labName != t.Lab) {
			continue
		}
		st, err := o.observe(t)
		if errors.Is(err, backends.ErrNotFound) {
			continue // it has just gone
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// Attachment is where a link meets the tunnel, made or not.
func (o *Overlay) Attachment(t backends.Tunnel) backends.Attachment {
	return backends.Attachment{Netns: o.path, Interface: portName(t)}
}

// Observe is Status without asking after the far end: at once.
func (o *Overlay) Observe(t backends.Tunnel) (backends.TunnelStatus, error) { return o.observe(t) }

// observe says what there is of the near end, and whether it could carry
// anything.
func (o *Overlay) observe(t backends.Tunnel) (backends.TunnelStatus, error) {
	st := backends.TunnelStatus{Tunnel: t, State: lab.TunnelFailed, Carrier: lab.CarrierOff,
		Attachment: o.Attachment(t)}
	dev, err := o.panel.Find(deviceName(t))
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	br, err := o.panel.Find(bridgeName(t))
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	v, ok := dev.(*netlink.Vxlan)
	switch {
	case dev == nil && br == nil:
		st.State = lab.TunnelPending
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), backends.ErrNotFound)
	case !ok || br == nil || v.MasterIndex != br.Attrs().Index || v.Flags&net.FlagUp == 0:
		st.Reason = "a part of it is missing: it is made anew when the tunnel is created again"
		return st, nil
	}
	if by, ok := named(v); ok {
		st.Near, st.Far = by.Near, by.Far
	}
	if o.read(&st, v); st.Reason != "" {
		return st, nil
	}
	st.State, st.Carrier = lab.TunnelActive, lab.CarrierOn
	port, err := o.panel.Find(portName(t))
	if err != nil {
		return st, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	st.Joined = port != nil && port.Attrs().MasterIndex == br.Attrs().Index
	switch {
	case port == nil:
		st.Reason = "no link meets it"
	case !st.Joined:
		st.Reason = "the link that meets it is not joined to it"
	}
	return st, nil
}

// read says what an interface is set to and has counted, and why it could not
// carry anything.
func (o *Overlay) read(st *backends.TunnelStatus, v *netlink.Vxlan) {
	remote, _ := netip.AddrFromSlice(v.Group)
	local, _ := netip.AddrFromSlice(v.SrcAddr)
	st.Local, st.Remote = local.Unmap(), remote.Unmap()
	st.VNI, st.UDPPort, st.MTU = uint32(v.VxlanId), uint16(v.Port), v.MTU
	if s := v.Statistics; s != nil {
		st.Rx = backends.Counters{Packets: s.RxPackets, Bytes: s.RxBytes, Errors: s.RxErrors, Dropped: s.RxDropped}
		st.Tx = backends.Counters{Packets: s.TxPackets, Bytes: s.TxBytes, Errors: s.TxErrors, Dropped: s.TxDropped}
	}
	path, err := overlay.Find(o.underlay, st.Tunnel)
	st.Device, st.PathMTU = path.Device, path.MTU
	if err != nil {
		st.Reason = err.Error()
	} else {
		st.Reason = overlay.Narrowed(st.Tunnel, path)
	}
}
