package ovs

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
)

// use marks the far end of a node's interface, and useHeld one that is down
// because the other node has its interface down.
const (
	use     = "port"
	useHeld = "held"
)

// marked reports whether an interface is the far end of that end's, and whether
// it is held.
func marked(l netlink.Link, e end) (far, held bool) {
	m, ok := mark.Parse(l.Attrs().Alias)
	held = m.Use == useHeld || m.Use == nsnet.UseTap && l.Attrs().Group == heldTaps
	return ok && isFar(m) && m.Lab == e.lab && m.ID == e.end, held
}

// heldTaps is the group of taps that are held: their aliases are their provider's.
var heldTaps = nsnet.Group("held taps")

func isFar(m mark.Mark) bool { return m.Use == use || m.Use == useHeld }

// farAlias marks a far end: in the switch's namespace, which others share.
func (n *Network) farAlias(p backends.Port) string {
	return mark.Mark{Use: use, Owner: n.owner, Lab: p.Lab, ID: p.End.String()}.String()
}

func endOf(p backends.Port) end { return end{p.Lab, p.End.String()} }

// group is the number that the far ends of a lab have in common. The host's
// namespace is everybody's, another Archetype's included.
func (n *Network) group(labName string) uint32 { return nsnet.Group(n.owner + "/" + labName) }

// side is one end of a link with its node's namespace open.
type side struct {
	backends.Port
	ns   *nsnet.NS
	have netlink.Link // the node's interface; nil: not there
	far  netlink.Link // its far end at the switch; nil: not there
	had  nsnet.Settings
	off  bool // its node has it down
}

// open looks at an end. An interface that another network made and released
// is taken over with its far end; where that is not to be had, its settings
// are read, because another interface will take its place.
func (n *Network) open(panel *nsnet.NS, p backends.Port) (*side, error) {
	s := &side{Port: p}
	if p.Attachment.Tap != "" {
		l, err := panel.Find(p.Attachment.Tap)
		if err == nil && l == nil {
			err = fmt.Errorf("tap %s: %w", p.Attachment.Tap, backends.ErrNotFound)
		}
		s.far = l
		return s, err
	}
	if p.Attachment.Netns == "" {
		return nil, fmt.Errorf("no place to attach to: %w", backends.ErrUnsupported)
	}
	ns, err := nsnet.Open(p.Attachment.Netns)
	if err != nil {
		return nil, err
	}
	s.ns = ns
	if err := n.examine(panel, s); err != nil {
		ns.Close()
		return nil, err
	}
	return s, nil
}

func (n *Network) examine(panel *nsnet.NS, s *side) (err error) {
	name := s.Attachment.Interface
	if s.have, err = s.ns.Find(name); s.have == nil || err != nil {
		return err
	}
	if !nsnet.Ours(s.have, s.Port) {
		return nsnet.Conflict(s.End, s.have)
	}
	if s.far, err = n.farEnd(panel, s.have, s.Port); s.far != nil || err != nil {
		return err
	}
	if s.far, err = n.adopt(panel, s); s.far != nil || err != nil {
		return err
	}
	s.had, err = s.ns.Settings(name)
	return err
}

// index is that of a tap, which tells it from a later one of its name; 0 where
// the side is no tap.
func (s *side) index() int {
	if s.ns != nil || s.far == nil {
		return 0
	}
	return s.far.Attrs().Index
}

func (s *side) close() {
	if s.ns != nil {
		s.ns.Close()
	}
}

// attach makes sure that a node's interface is there and returns the name of
// its far end, where the switch finds it. The far end of a new one is down.
func (n *Network) attach(panel *nsnet.NS, s *side, plain bool) (far string, err error) {
	if s.ns == nil {
		return s.Attachment.Tap, panel.Resize(s.far, nsnet.CableMTU(s.MTU))
	}
	name := s.Attachment.Interface
	if s.far != nil {
		far = s.far.Attrs().Name
		err = errors.Join(s.ns.Resize(s.have, s.MTU), panel.Resize(s.far, nsnet.CableMTU(s.MTU)))
	} else {
		if err = s.ns.Delete(name); err == nil { // the rest of another network's link
			far, err = n.pair(panel, s.ns, s.Port)
		}
	}
	if err != nil {
		return "", err
	}
	if plain {
		if err := s.ns.Checksums(name); err != nil {
			return "", fmt.Errorf("turn checksum offload off: %w", err)
		}
	}
	if alias := nsnet.NodeAlias(s.Port); s.far == nil || s.have.Attrs().Alias != alias {
		if err := s.ns.Change(name, alias, !s.Off); err != nil {
			return "", err
		}
		s.off = s.Off
	} else { // since it was made, that is its node's own affair
		s.off = s.have.Attrs().Flags&net.FlagUp == 0
	}
	return far, errors.Join(s.ns.Address(name, s.End), s.ns.RestoreAddresses(name, s.had), s.ns.RestoreRoutes(name, s.had))
}

// farEnd finds the other end of a node's interface, and nil when it is not
// among the switch's.
func (n *Network) farEnd(panel *nsnet.NS, have netlink.Link, p backends.Port) (netlink.Link, error) {
	if have.Attrs().ParentIndex == 0 {
		return nil, nil
	}
	l, err := panel.LinkByIndex(have.Attrs().ParentIndex)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := l.Attrs()
	if ours, _ := marked(l, endOf(p)); !ours || a.ParentIndex != have.Attrs().Index || a.Group != n.group(p.Lab) {
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
		PeerNamespace: ns.FD(), PeerMTU: uint32(cmp.Or(p.MTU, 1500))} // else it would have the far end's
	v.MTU, v.Group = nsnet.CableMTU(p.MTU), n.group(p.Lab)
	v.NumTxQueues, v.NumRxQueues = 1, 1 // more would be made, and taken away again
	for range 3 {
		v.Name = n.newName(p.Lab)
		v.Index = nsnet.FarIndex(v.Name)
		if err = panel.LinkAdd(v); !errors.Is(err, syscall.EEXIST) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	return v.Name, errors.Join(hush(panel, v), panel.LinkSetAlias(v, n.farAlias(p)))
}

func (n *Network) newName(labName string) string {
	var random [4]byte
	_, _ = rand.Read(random[:])
	return n.farName(labName) + hex.EncodeToString(random[:])
}

// farName is what the names of a lab's far ends begin with.
func (n *Network) farName(labName string) string { return nsnet.Prefix("o", n.owner+"/"+labName) }

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
		default:
			err = set(panel, l, use, up)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
	}
	return nil
}

// hold takes the carrier from a far end for the other node's sake.
func hold(panel *nsnet.NS, name string) error {
	l, err := panel.LinkByName(name)
	if err != nil {
		return err
	}
	return set(panel, l, useHeld, false)
}

// set marks a far end and sets it up or down, at once: a mark without what it
// says would stay. A tap has its provider's mark, and ours beside it.
func set(panel *nsnet.NS, l netlink.Link, as string, up bool) error {
	if m, ok := mark.Parse(l.Attrs().Alias); ok && m.Use == nsnet.UseTap {
		group := uint32(0)
		if as == useHeld {
			group = heldTaps
		}
		if l.Attrs().Group != group {
			if err := panel.LinkSetGroup(l, int(group)); err != nil {
				return err
			}
		}
	}
	if m, ok := mark.Parse(l.Attrs().Alias); ok && isFar(m) && m.Use != as {
		b, err := panel.Batch()
		if err != nil {
			return err
		}
		m.Use = as
		errs, err := b.Send(nsnet.StateRequest(l.Attrs().Index, up, m.String()))
		return errors.Join(append(errs, err, b.Close())...)
	}
	if up {
		return panel.LinkSetUp(l)
	}
	return panel.LinkSetDown(l)
}

// unplug removes far ends that we made, and with them the nodes' interfaces. A
// tap is its provider's, and is left without its cable.
func unplug(panel *nsnet.NS, names map[end]string) error {
	var errs []error
	var gone []string
	for e, name := range names {
		l, err := panel.Find(name)
		if l == nil || err != nil {
			errs = append(errs, err)
			continue
		}
		if m, ok := mark.Parse(l.Attrs().Alias); ok && m.Use == nsnet.UseTap && m.Lab == e.lab && m.ID == e.end {
			errs = append(errs, carrier(panel, false, name))
		} else if ours, _ := marked(l, e); ours {
			gone = append(gone, name)
		}
	}
	return errors.Join(append(errs, panel.Delete(gone...))...)
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
