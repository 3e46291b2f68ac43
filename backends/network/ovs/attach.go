package ovs

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// use marks the far end of a node's interface.
const use = "port"

func endOf(p backends.Port) end { return end{p.Lab, p.End.String()} }

// group is the number that the far ends of a lab have in common. The host's
// namespace is everybody's, another Archetype's included.
func (n *Network) group(labName string) uint32 { return nsnet.Group(n.owner + "/" + labName) }

// attach makes sure that a node's interface is there and returns the name of
// its far end, where the switch finds it. The far end of a new one is down.
func (n *Network) attach(panel *nsnet.NS, p backends.Port, plain bool) (far string, err error) {
	if p.Attachment.Tap != "" {
		return p.Attachment.Tap, n.tap(panel, p)
	}
	if p.Attachment.Netns == "" {
		return "", fmt.Errorf("no place to attach to: %w", backends.ErrUnsupported)
	}
	ns, err := nsnet.Open(p.Attachment.Netns)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	name := p.Attachment.Interface
	have, err := ns.Find(name)
	if err != nil {
		return "", err
	}
	if have != nil && !nsnet.Ours(have, p.Lab, p.End) {
		return "", nsnet.Conflict(p.End, have)
	}
	if have != nil {
		l, err := n.farEnd(panel, have, p)
		switch {
		case err != nil:
			return "", err
		case l != nil:
			far = l.Attrs().Name
			err = resize(p.MTU, map[*nsnet.NS]netlink.Link{ns: have, panel: l})
		default: // the rest of another network's link
			err = ns.Delete(name)
			have = nil
		}
		if err != nil {
			return "", err
		}
	}
	if have == nil {
		if far, err = n.pair(panel, ns, p); err != nil {
			return "", err
		}
	}
	if plain {
		if err := ns.Checksums(name); err != nil {
			return "", fmt.Errorf("turn checksum offload off: %w", err)
		}
	}
	if err := ns.Change(name, nsnet.Alias("", p.Lab, p.End.String()), true); err != nil {
		return "", err
	}
	return far, ns.Address(name, p.End)
}

// farEnd finds the other end of a node's interface, and nil when it is not
// among the switch's.
func (n *Network) farEnd(panel *nsnet.NS, have netlink.Link, p backends.Port) (netlink.Link, error) {
	l, err := panel.LinkByIndex(have.Attrs().ParentIndex)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := l.Attrs()
	if what, labName, id, ok := nsnet.ParseAlias(a.Alias); !ok || what != use || labName != p.Lab || id != p.End.String() ||
		a.ParentIndex != have.Attrs().Index || a.Group != n.group(p.Lab) {
		return nil, nil
	}
	return l, nil
}

// pair makes both ends. The far one has a name that no other had before: the
// switch does not notice when an interface is replaced by one of its name.
func (n *Network) pair(panel, ns *nsnet.NS, p backends.Port) (far string, err error) {
	mac, err := nsnet.MAC(p.Lab, p.End)
	if err != nil {
		return "", err
	}
	v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: p.Attachment.Interface, PeerHardwareAddr: mac,
		PeerNamespace: ns.FD(), PeerMTU: uint32(max(0, p.MTU))}
	v.MTU, v.Group = p.MTU, n.group(p.Lab)
	for range 3 {
		var random [4]byte
		_, _ = rand.Read(random[:])
		v.Name = nsnet.Prefix("o", n.owner+"/"+p.Lab) + hex.EncodeToString(random[:])
		if err = panel.LinkAdd(v); !errors.Is(err, syscall.EEXIST) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if err := hush(panel, v); err != nil {
		return "", err
	}
	return v.Name, panel.LinkSetAlias(v, nsnet.Alias(use, p.Lab, p.End.String()))
}

// hush makes a far end only carry frames: the host neither says anything on it
// nor heeds what it hears. A switch in the kernel takes every frame, but one in
// user space gets copies; without this the host would answer a node's ARP and
// believe its router advertisements.
func hush(panel *nsnet.NS, l netlink.Link) error {
	if err := panel.LinkSetARPOff(l); err != nil {
		return err
	}
	err := panel.LinkSetIP6AddrGenMode(l, nl.IN6_ADDR_GEN_MODE_NONE)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	name := l.Attrs().Name
	return panel.Do(func() error {
		return errors.Join(setting("ipv4/conf/"+name+"/rp_filter", "1"), setting("ipv6/conf/"+name+"/accept_ra", "0"))
	})
}

// setting writes one of a namespace. One that this kernel lacks is no error.
func setting(name, value string) error {
	err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// tap checks one that a provider made.
func (n *Network) tap(panel *nsnet.NS, p backends.Port) error {
	l, err := panel.Find(p.Attachment.Tap)
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("tap %s: %w", p.Attachment.Tap, backends.ErrNotFound)
	}
	return resize(p.MTU, map[*nsnet.NS]netlink.Link{panel: l})
}

func resize(mtu int, links map[*nsnet.NS]netlink.Link) error {
	for ns, l := range links {
		if mtu > 0 && l.Attrs().MTU != mtu {
			if err := ns.LinkSetMTU(l, mtu); err != nil {
				return fmt.Errorf("MTU %d: %w", mtu, err)
			}
		}
	}
	return nil
}

// carrier sets far ends up or down, and so the carrier that the nodes see.
// One that is gone is an error only when it should be up.
func carrier(panel *nsnet.NS, up bool, names ...string) error {
	for _, name := range names {
		l, err := panel.Find(name)
		switch {
		case err != nil:
			return err
		case l == nil && up:
			return fmt.Errorf("interface %s: %w", name, backends.ErrNotFound)
		case l == nil:
			continue
		case up:
			err = panel.LinkSetUp(l)
		default:
			err = panel.LinkSetDown(l)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
	}
	return nil
}

// unplug removes a far end that we made, and with it the node's interface. A
// tap is its provider's.
func unplug(panel *nsnet.NS, e end, name string) error {
	l, err := panel.Find(name)
	if l == nil || err != nil {
		return err
	}
	if what, labName, id, ok := nsnet.ParseAlias(l.Attrs().Alias); !ok || what != use || labName != e.lab || id != e.end {
		return nil
	}
	return panel.Delete(name)
}

// dedicated is the name of a lab's own bridge, as telling as 15 letters allow.
func dedicated(owner, labName string) string {
	short := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, labName)
	return nsnet.Prefix("ar", owner+"/"+labName) + "-" + short[:min(6, len(short))]
}
