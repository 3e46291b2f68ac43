package cable

import (
	"errors"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// wanted says which far ends should be up, and whether any is not as it should
// be. Of a link that is cut, or not whole, it says nothing.
func (n *Network) wanted(v view) (want [2]bool, behind bool, err error) {
	if !v.whole() || !v.wired || v.half[0].cut() || v.half[1].cut() {
		return want, false, nil
	}
	want, behind, err = nsnet.Follow(n.here, [2]nsnet.Lead{{Port: v.half[0].Port, Far: v.half[0].far}, {Port: v.half[1].Port, Far: v.half[1].far}})
	for _, h := range v.half {
		behind = behind || err == nil && h.held && h.inTap
	}
	return want, behind, err
}

// follow has the far ends of a link, of which that view was had, be as wanted.
func (n *Network) follow(l backends.Link, v view) {
	if _, behind, err := n.wanted(v); !behind || err != nil {
		return
	}
	n.watch.Bring(l, &n.locks, func() (want [2]bool, behind bool, err error) {
		if v, err = n.view(l); err != nil {
			return want, false, err
		}
		return n.wanted(v)
	}, func(i int, up bool) {
		switch h := v.half[i]; {
		case !up:
			_ = n.hold(h.Port, h.far.Attrs().Index)
		case !h.up:
			_ = errors.Join(n.here.Plug(h.Attachment.Tap, true), n.set(h.Port, h.far.Attrs().Index, useFar, true))
		}
	})
}

// hold takes the carrier from an end for the other node's sake.
func (n *Network) hold(p backends.Port, far int) error {
	return errors.Join(n.set(p, far, useHeld, false), n.here.Plug(p.Attachment.Tap, false))
}

// set sets a far end up or down and marks it, at once.
func (n *Network) set(p backends.Port, far int, use string, up bool) error {
	errs, err := n.batch.Send(nsnet.StateRequest(far, up, farAlias(use, p)))
	return errors.Join(append(errs, err)...)
}
