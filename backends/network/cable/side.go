package cable

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// side is one end of a link with its node's namespace open.
type side struct {
	backends.Port
	ns   *nsnet.NS
	name string // of the interface there
	far  int    // number of its far end in the panel
	up   bool   // the far end was made just now, and is up
	done bool   // the interface was brought to where it should be before
	off  bool   // and its node has set it down since
	had  nsnet.Settings
}

func (n *Network) open(p backends.Port) (*side, error) {
	ns, name, err := nsnet.Place(n.here, p)
	if err != nil {
		return nil, err
	}
	return &side{Port: p, ns: ns, name: name}, nil
}

// attempts are how often an interface is made when something is in the way.
const attempts = 8

// ensure makes sure that interfaces and their far ends exist. Most often there
// is nothing yet, so that is tried first; far ends that are made are up when
// wanted so.
func (n *Network) ensure(up bool, sides ...*side) error {
	for attempt := range attempts {
		if len(sides) == 0 {
			return nil
		}
		left, err := n.make(up, attempt, sides)
		if err != nil {
			return err
		}
		sides = sides[:0:0]
		for _, s := range left {
			found, err := n.look(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.End, err)
			}
			if !found {
				sides = append(sides, s)
			}
		}
	}
	return fmt.Errorf("%s: its interface vanishes again and again (%w)", sides[0].End, backends.ErrConflict)
}

// farAlias marks a far end: in the panel, which only one Archetype has.
func farAlias(use string, p backends.Port) string {
	return mark.Mark{Use: use, Lab: p.Lab, ID: p.End.String()}.String()
}

func index(p backends.Port, attempt int) int {
	return nsnet.FarIndex(fmt.Sprintf("%s %s %d", p.Lab, p.End, attempt))
}

// make makes pairs, and returns those that something is in the way of.
func (n *Network) make(up bool, attempt int, sides []*side) (left []*side, err error) {
	var reqs []*nl.NetlinkRequest
	for _, s := range sides {
		mac, err := nsnet.MAC(s.Lab, s.End)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.End, err)
		}
		far := nsnet.Half{Name: n.farName(s.Port), Index: index(s.Port, attempt), MTU: nsnet.CableMTU(s.MTU), Group: nsnet.Group(s.Lab), Up: up}
		reqs = append(reqs, nsnet.PairRequest(far, nsnet.Half{Name: s.name, NS: s.ns, MAC: mac, MTU: s.MTU}),
			nsnet.AliasRequest(far.Name, farAlias(useFar, s.Port)))
	}
	errs, err := n.batch.Send(reqs...)
	if err != nil {
		return nil, err
	}
	for i, s := range sides {
		switch err := errs[2*i]; {
		case err == nil:
			s.far, s.up = index(s.Port, attempt), up
		case errors.Is(err, unix.EEXIST):
			left = append(left, s)
		default:
			return nil, fmt.Errorf("%s: %w", s.End, err)
		}
	}
	return left, nil
}

// look finds what there is of an end, and reports whether it is whole. An
// interface that another network made is taken over with its far end; one
// whose far end is not to be had is removed, after its settings were read:
// another will take its place.
func (n *Network) look(s *side) (bool, error) {
	have, err := s.ns.Find(s.name)
	if err != nil {
		return false, err
	}
	far, err := n.panel.Find(n.farName(s.Port))
	if err != nil {
		return false, err
	}
	if have == nil {
		if far != nil {
			err = n.panel.Delete(n.farName(s.Port))
		}
		return false, err
	}
	if !nsnet.Ours(have, s.Port) {
		return false, nsnet.Conflict(s.End, have)
	}
	if far == nil || far.Attrs().Index != have.Attrs().ParentIndex || far.Attrs().ParentIndex != have.Attrs().Index {
		if far != nil {
			if err := n.panel.Delete(n.farName(s.Port)); err != nil {
				return false, err
			}
		}
		if far, err = n.panel.FarEnd(s.ns, have, s.Lab); err != nil {
			return false, err
		}
		if far == nil {
			if s.had, err = s.ns.Settings(s.name); err != nil {
				return false, err
			}
			return false, s.ns.Delete(s.name)
		}
		if err := errors.Join(n.loosen(far.Attrs().Index), n.panel.Rename(far, n.farName(s.Port)),
			n.panel.LinkSetAlias(far, farAlias(useFar, s.Port))); err != nil {
			return false, err
		}
	}
	s.far = far.Attrs().Index
	s.done = have.Attrs().Alias == nsnet.NodeAlias(s.Port)
	s.off = s.done && s.Attachment.Tap == "" && have.Attrs().Flags&net.FlagUp == 0
	return true, errors.Join(n.panel.Resize(far, nsnet.CableMTU(s.MTU)), s.ns.Resize(have, s.MTU))
}

// finish brings the node's interface to where it should be. Once it was there,
// whether it is up is its node's own affair.
func (n *Network) finish(s *side) error {
	if tap := s.Attachment.Tap; tap != "" {
		l, err := s.ns.LinkByName(tap)
		if err != nil {
			return err
		}
		if err := errors.Join(s.ns.Resize(l, nsnet.CableMTU(s.MTU)), s.ns.PatchTap(tap)); err != nil {
			return err
		}
	}
	if tap := s.Attachment.Tap != ""; tap || !s.done {
		if err := s.ns.Change(s.name, nsnet.NodeAlias(s.Port), tap || !s.Off); err != nil || tap {
			return err // the addresses are inside the machine
		}
		s.off = s.Off
	}
	return errors.Join(s.ns.Address(s.name, s.End), s.ns.RestoreAddresses(s.name, s.had), s.ns.RestoreRoutes(s.name, s.had))
}

// plug gives the node's interface carrier, unless the other node has its own
// down.
func (n *Network) plug(s *side, awake bool) error {
	if !awake {
		return n.hold(s.Port, s.far)
	}
	if !s.up {
		if err := n.set(s.Port, s.far, useFar, true); err != nil {
			return err
		}
	}
	return s.ns.Plug(s.Attachment.Tap, true)
}

// unplug takes the carrier from an interface.
func (n *Network) unplug(p backends.Port, far int) error {
	return errors.Join(n.here.Plug(p.Attachment.Tap, false), n.set(p, far, useFar, false))
}

// isolate takes carrier and neighbour from an interface.
func (n *Network) isolate(p backends.Port, far int) error {
	if err := n.unplug(p, far); err != nil {
		return err
	}
	return n.loosen(far)
}

// loosen takes a far end out of whatever joins it, and its impairment from it.
func (n *Network) loosen(far int) error {
	l, err := n.panel.LinkByIndex(far)
	if err != nil {
		return err
	}
	if l.Attrs().MasterIndex != 0 {
		err = n.panel.LinkSetNoMaster(l)
	}
	return errors.Join(err, n.panel.Unpatch(far), n.panel.Impair(l, lab.Impairment{}))
}

// remove takes away far ends, and with them the nodes' interfaces: together,
// because the kernel waits as long for one as for several.
func (n *Network) remove(ps ...backends.Port) error {
	var errs []error
	var fars []string
	for _, p := range ps {
		err := n.here.Plug(p.Attachment.Tap, false)
		var far netlink.Link
		if err == nil {
			far, err = n.panel.Find(n.farName(p))
		}
		switch {
		case err != nil:
			errs = append(errs, err)
		case far != nil:
			fars = append(fars, n.farName(p))
		case !p.Attachment.Gone():
			errs = append(errs, n.removeNear(p))
		}
	}
	return errors.Join(append(errs, n.panel.Delete(fars...))...)
}

// removeNear takes away a node's interface that has no far end.
func (n *Network) removeNear(p backends.Port) error {
	s, err := n.open(p)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.ns.Close()
	have, err := s.ns.Find(s.name)
	if have == nil || err != nil || !nsnet.Ours(have, s.Port) {
		return err // a stranger's interface is not ours to remove
	}
	return s.ns.Delete(s.name)
}
