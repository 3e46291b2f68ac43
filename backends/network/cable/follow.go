package cable

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// A cable between two devices is dark at both ends when one of them has its
// interface down. Here either end has a carrier of its own, from its far end;
// so while a node has its interface down, the far end of the other's is held:
// down, and marked as such, which tells it from one whose cable is cut. What
// is held is found from what is there alone, so it does not matter who did it,
// or how long ago.

// wanted says which far ends should be up, and whether any is not as it should
// be. Of a link that is cut, or not whole, it says nothing.
func (n *Network) wanted(v view) (want [2]bool, behind bool, err error) {
	if !v.whole() || !v.wired || v.half[0].cut() || v.half[1].cut() {
		return want, false, nil
	}
	for i, h := range v.half {
		if want[1-i], err = n.awake(h); err != nil {
			return want, false, err
		}
	}
	for i, h := range v.half {
		behind = behind || h.up != want[i] || h.held && h.inTap
	}
	return want, behind, nil
}

// awake reports whether a node has its interface up. What is inside a machine
// does not show at its tap.
func (n *Network) awake(h half) (bool, error) {
	if h.up { // then the carrier says so
		return h.far.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
	}
	s, err := n.open(h.Port)
	if err != nil {
		return false, err
	}
	defer s.ns.Close()
	have, err := s.ns.Find(s.name)
	return have != nil && have.Attrs().Flags&net.FlagUp != 0, err
}

// follow has the far ends of a link, of which that view was had, be as wanted.
// Where it fails, what made it fail is news of its own.
func (n *Network) follow(l backends.Link, v view) {
	if _, behind, err := n.wanted(v); !behind || err != nil {
		return
	}
	defer n.locks.Lock(l.A, l.B)() // whoever is at work on it may do so as well
	v, err := n.view(l)
	if err != nil || !n.watch.Knows(l) {
		return
	}
	want, behind, err := n.wanted(v)
	if !behind || err != nil {
		return
	}
	for i, h := range v.half {
		if !want[i] {
			_ = n.hold(h.Port, h.far.Attrs().Index)
		}
	}
	for i, h := range v.half {
		if want[i] && !h.up {
			_ = errors.Join(n.here.Plug(h.Attachment.Tap, true), n.set(h.Port, h.far.Attrs().Index, useFar, true))
		}
	}
}

// hold takes the carrier from an end for the other node's sake.
func (n *Network) hold(p backends.Port, far int) error {
	return errors.Join(n.set(p, far, useHeld, false), n.here.Plug(p.Attachment.Tap, false))
}

// set sets a far end up or down and marks it, at once.
func (n *Network) set(p backends.Port, far int, use string, up bool) error {
	errs, err := n.batch.Send(nsnet.StateRequest(far, up, nsnet.Alias(use, p.Lab, p.End.String())))
	return errors.Join(append(errs, err)...)
}
