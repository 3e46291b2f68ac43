package cable

import (
	"context"
	"net"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// half is what was found of one end of a link.
type half struct {
	backends.Port
	far   netlink.Link // nil: not there
	up    bool         // the far end is
	held  bool         // it is down for the other node's sake; see follow
	tap   bool         // the end is a tap, which is there
	inTap bool         // and its cable is in
}

// cut reports whether the end's cable is.
func (h half) cut() bool { return !h.held && (!h.up || h.tap && !h.inTap) }

// view is what was found of a link.
type view struct {
	half  [2]half
	wired bool // the far ends are joined
}

// view finds what there is of a link.
func (n *Network) view(l backends.Link) (v view, err error) {
	for i, p := range []backends.Port{l.A, l.B} {
		h := &v.half[i]
		h.Port = p
		if h.far, err = n.panel.Find(n.farName(p)); err != nil {
			return v, err
		}
		if tap := p.Attachment.Tap; tap != "" && h.far != nil {
			if h.tap, h.inTap, err = n.here.Plugged(tap); err != nil {
				return v, err
			} else if !h.tap {
				h.far = nil
			}
		}
		if h.far != nil {
			m, _ := mark.Parse(h.far.Attrs().Alias)
			h.up = h.far.Attrs().Flags&net.FlagUp != 0
			h.held = !h.up && m.Use == useHeld
		}
	}
	if v.whole() {
		v.wired, err = n.joint.Joined(l, v.half[0].far, v.half[1].far)
	}
	return v, err
}

func (v view) whole() bool { return v.half[0].far != nil && v.half[1].far != nil }

// State looks at the two far ends and their joint.
func (n *Network) State(_ context.Context, l backends.Link) (backends.LinkStatus, error) {
	n.watch.Add(l)
	v, err := n.view(l)
	if err != nil {
		return backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}, wrap(l, err)
	}
	if _, behind, _ := n.wanted(v); behind {
		n.watch.Stir(nsnet.EndOf(l.A)) // its news were lost
	}
	st, err := v.status(l)
	return st, wrap(l, err)
}

func (v view) status(l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	if v.half[0].far == nil && v.half[1].far == nil {
		return st, backends.ErrNotFound
	}
	cut, without := 0, ""
	for i, h := range v.half {
		st.Ends[i] = h.far != nil
		switch other := v.half[1-i]; {
		case h.far == nil:
		case h.cut():
			cut++
		case h.held && without == "":
			without = other.End.String()
		case h.up && h.far.Attrs().OperState != netlink.OperUp:
			without = h.End.String()
		}
	}
	st.Connected, st.Cut = v.wired && cut == 0, v.wired && cut == 2
	switch {
	case !v.whole():
		st.Reason = "an interface is missing"
	case cut > 0:
		st.Reason = "cut"
	case !v.wired:
		st.Reason = "its two ends are not joined"
	case without == "":
		st.Carrier = lab.CarrierOn
	default:
		st.Reason = without + " is down in its node"
	}
	return st, nil
}
