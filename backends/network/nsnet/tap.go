package nsnet

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// A tap stays beside the program that has it open, in this machine's own
// namespace, and is its provider's: networks that work with ends in namespaces
// give it a leg, the end of a pair that stands for the node's interface. Each
// frame that comes in at one of the two leaves by the other, untouched.
//
// The tap is up while its cable is in: by that the provider knows what carrier
// to show to the node.

// UseTap marks a tap, as its provider writes it; see package mark.
const UseTap = "tap"

// Machine opens the namespace that this program is in.
func Machine() (*NS, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.Get()
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, err
	}
	return &NS{Handle: h, ns: ns, path: fmt.Sprintf("/proc/self/fd/%d", int(ns))}, nil
}

// Place is where an end of a link is: its namespace, opened, and the name of
// its interface there. Of a tap, machine is where that is; one that is gone is
// backends.ErrNotFound.
func Place(machine *NS, p backends.Port) (*NS, string, error) {
	tap := p.Attachment.Tap
	switch {
	case tap == "" && p.Attachment.Netns == "":
		return nil, "", fmt.Errorf("no place to attach to: %w", backends.ErrUnsupported)
	case tap == "":
		ns, err := Open(p.Attachment.Netns)
		return ns, p.Attachment.Interface, err
	}
	l, err := machine.Find(tap)
	if err != nil {
		return nil, "", err
	}
	if l == nil {
		return nil, "", fmt.Errorf("the tap %s of its machine is gone: stop and start the node (%w)", tap, backends.ErrNotFound)
	}
	ns, err := Open(machine.path)
	return ns, Leg(tap), err
}

// Leg is the name of a tap's leg.
func Leg(tap string) string {
	leg := "l" + strings.TrimPrefix(tap, "v")
	return leg[:min(len(leg), unix.IFNAMSIZ-1)]
}

// PatchTap makes frames go from a tap to its leg and back. It is called before
// the leg is up, and may be called again.
func (n *NS) PatchTap(tap string) error {
	a, err := n.LinkByName(tap)
	if err != nil {
		return err
	}
	b, err := n.LinkByName(Leg(tap))
	if err != nil {
		return err
	}
	for _, l := range []netlink.Link{a, b} {
		// This machine itself says nothing on them.
		if err := n.Sysctl("ipv6/conf/"+l.Attrs().Name+"/disable_ipv6", "1"); err != nil {
			return err
		}
		if err := n.LinkSetARPOff(l); err != nil {
			return err
		}
	}
	batch, err := n.Batch()
	if err != nil {
		return err
	}
	defer func() { _ = batch.Close() }()
	return batch.Patch(n, a.Attrs().Index, b.Attrs().Index)
}

// Plug sets a tap up or down, and so the carrier of the node's interface. One
// that is gone is an error only when it should be up.
func (n *NS) Plug(tap string, in bool) error {
	if tap == "" {
		return nil
	}
	l, err := n.Find(tap)
	switch {
	case err != nil:
		return err
	case l == nil && in:
		return fmt.Errorf("tap %s: %w", tap, backends.ErrNotFound)
	case l == nil:
		return nil
	case in:
		return n.LinkSetUp(l)
	default:
		return n.LinkSetDown(l)
	}
}

// Plugged reports whether a tap is there and its cable is in.
func (n *NS) Plugged(tap string) (there, in bool, err error) {
	l, err := n.Find(tap)
	if l == nil || err != nil {
		return false, false, err
	}
	return true, l.Attrs().RawFlags&unix.IFF_UP != 0, nil
}

// inUse reports whether somebody has a tap open: then the kernel gives it a
// carrier, which it keeps also while it is down.
func (n *NS) inUse(tap string) (carrier bool, err error) {
	err = n.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(tap)))
		msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
		for _, m := range msgs {
			attrs, perr := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
			err = errors.Join(err, perr)
			for _, a := range attrs {
				if a.Attr.Type == unix.IFLA_CARRIER && len(a.Value) > 0 {
					carrier = a.Value[0] != 0
				}
			}
		}
		return err
	})
	return carrier, err
}
