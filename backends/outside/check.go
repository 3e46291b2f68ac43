package outside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/lab"
)

// Check looks at everything a link needs of the machine and changes nothing.
func (o *Outside) Check(ctx context.Context, l lab.Link, m *lab.Management) (notes []string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("link %s -- %s: %w", l.A, l.B, err)
		}
		for i := range notes {
			notes[i] = fmt.Sprintf("link %s -- %s: %s", l.A, l.B, notes[i])
		}
	}()
	out := l.Outside
	switch out.Type {
	case lab.OutsideHost:
		if o.cfg.Rootless {
			notes = append(notes, fmt.Sprintf("%s is in the user namespace around the lab, not on the machine itself: run as root for that", out.Interface))
		}
		return notes, o.free(out.Interface, l)
	case lab.OutsideBridge, lab.OutsideManagement, lab.OutsideOVSBridge:
		if _, err := o.bridge(ctx, out, m); err != nil {
			return nil, err
		}
		return nil, o.free(out.Interface, l)
	case lab.OutsideMacvlan:
		if _, err := o.parent(out.Interface); err != nil {
			return nil, err
		}
		_, err := macvlanMode(out.Mode)
		return nil, err
	case lab.OutsideVXLAN, lab.OutsideVXLANStitch:
		t, err := o.tunnel(ctx, l.A.Endpoint, l.B.Endpoint, "", out, l.MTU)
		if err != nil {
			return nil, err
		}
		_, note, err := o.cfg.Tunnels.Plan(t)
		if err != nil {
			// Of a lab that runs already, the tunnel itself is in the way.
			if errors.Is(err, backends.ErrConflict) && t.MTU == 0 {
				return nil, nil
			}
			return nil, fmt.Errorf("%w%s", err, o.rootlessHint())
		}
		if note != "" {
			notes = append(notes, note)
		}
		return notes, nil
	case lab.OutsideDummy:
		if !o.hasDummy() {
			notes = append(notes, "this kernel has no dummy interfaces (CONFIG_DUMMY): half of a veth pair stands in for it")
		}
		return notes, nil
	}
	return nil, fmt.Errorf("far ends of type %q: %w", out.Type, backends.ErrUnsupported)
}

// free reports as an error a name on the machine that is not ours to take.
func (o *Outside) free(name string, l lab.Link) error {
	have, err := o.host.Find(name)
	if err != nil || have == nil {
		return err
	}
	if _, ours := mark.Parse(have.Attrs().Alias); ours || have.Type() == "veth" && o.panelled(have) {
		return nil // whose it is, is looked at when it is made: that may have been interrupted before it was marked
	}
	return fmt.Errorf("%s has an interface %s already, which Archetype did not make (%s): choose another name for the end %s (%w)",
		o.machine(), name, have.Type(), l.B.Endpoint, backends.ErrConflict)
}

// parent finds the interface that a macvlan is to be built upon.
func (o *Outside) parent(name string) (netlink.Link, error) {
	l, err := o.host.Find(name)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, fmt.Errorf("%s has no interface %s for a macvlan to be built upon%s (%w)", o.machine(), name, o.rootlessHint(), backends.ErrUnavailable)
	}
	return l, nil
}

func macvlanMode(s string) (netlink.MacvlanMode, error) {
	switch s {
	case "", "bridge":
		return netlink.MACVLAN_MODE_BRIDGE, nil
	case "vepa":
		return netlink.MACVLAN_MODE_VEPA, nil
	case "private":
		return netlink.MACVLAN_MODE_PRIVATE, nil
	case "passthru":
		return netlink.MACVLAN_MODE_PASSTHRU, nil
	case "source":
		return netlink.MACVLAN_MODE_SOURCE, nil
	}
	return 0, fmt.Errorf("macvlan has no mode %q: it has bridge, vepa, private, passthru and source (%w)", s, backends.ErrUnsupported)
}

// bridge finds the bridge that an end is a port of. The link is nil for one
// of Open vSwitch.
func (o *Outside) bridge(ctx context.Context, out *lab.Outside, m *lab.Management) (netlink.Link, error) {
	name := out.Bridge
	switch out.Type {
	case lab.OutsideOVSBridge:
		if o.cfg.Switch == nil {
			return nil, fmt.Errorf("bridge %s: Open vSwitch is not running on this machine: install openvswitch-switch and start it%s (%w)",
				name, o.rootlessHint(), backends.ErrUnavailable)
		}
		ok, err := o.cfg.Switch.HasBridge(ctx, name)
		if err == nil && !ok {
			err = fmt.Errorf("no bridge %s on Open vSwitch: make it with: ovs-vsctl add-br %s (%w)", name, name, backends.ErrUnavailable)
		}
		return nil, err
	case lab.OutsideManagement:
		if m != nil && m.Bridge != "" {
			name = m.Bridge
		}
		if name == "" {
			return nil, fmt.Errorf("which bridge the management network has is not known: name it in the file, under mgmt: bridge: (%w)", backends.ErrUnavailable)
		}
	}
	l, err := o.host.Find(name)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, fmt.Errorf("%s has no bridge %s: make it with: ip link add %s type bridge && ip link set %s up%s (%w)",
			o.machine(), name, name, name, o.rootlessHint(), backends.ErrUnavailable)
	}
	if l.Type() != "bridge" {
		return nil, fmt.Errorf("interface %s is no bridge but of type %s (%w)", name, l.Type(), backends.ErrConflict)
	}
	return l, nil
}

// tunnel is what a link of VXLAN's wants.
func (o *Outside) tunnel(ctx context.Context, a, b lab.Endpoint, labName string, out *lab.Outside, mtu int) (backends.Tunnel, error) {
	remote, err := netip.ParseAddr(out.Remote)
	if err != nil {
		found, rerr := net.DefaultResolver.LookupNetIP(ctx, "ip", out.Remote)
		if rerr != nil || len(found) == 0 {
			return backends.Tunnel{}, fmt.Errorf("remote %q is no address and no name that is known: %w (%w)", out.Remote, rerr, backends.ErrUnavailable)
		}
		remote = found[0]
	}
	return backends.Tunnel{Lab: labName, Near: a.String(), Far: b.String(), Remote: remote, VNI: uint32(out.VNI),
		UDPPort: uint16(out.DestinationPort), SourcePort: uint16(out.SourcePort), Parent: out.Parent, MTU: mtu}, nil
}

// hasDummy reports whether the kernel has interfaces of type dummy.
func (o *Outside) hasDummy() bool {
	const name = "archetype-dummy"
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := o.panel.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if err == nil {
		_ = o.panel.Delete(name)
	}
	return err == nil || errors.Is(err, unix.EEXIST)
}
