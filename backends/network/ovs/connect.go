package ovs

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// Connect gives both ends one tag, and carrier.
func (n *Network) Connect(ctx context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	defer n.watch.Calling(l)()
	return wrap(l, nsnet.Again(func() error { return n.connect(ctx, l) }))
}

func (n *Network) connect(ctx context.Context, l backends.Link) error {
	ready := n.writer.prepare()
	defer ready()
	s, panel, err := n.reach(ctx)
	if err != nil {
		return err
	}
	bridge, _ := n.bridge(l.Lab)
	plain := n.userspace(s, bridge)
	var sides [2]*side // both looked at before one end takes the other along
	for i, p := range []backends.Port{l.A, l.B} {
		if sides[i], err = n.open(panel, p); err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
		defer sides[i].close()
	}
	var far [2]string
	for i, x := range sides {
		if err := ctx.Err(); err != nil {
			return err
		}
		if far[i], err = n.attach(panel, x, plain); err != nil {
			return fmt.Errorf("%s: %w", x.End, err)
		}
		if err := n.evict(ctx, s, bridge, x); err != nil {
			return err
		}
	}
	a, b := endOf(l.A), endOf(l.B)
	ready()
	err = n.request(ctx, l.Lab, []end{a, b}, func(p *plan) error { return p.join(p.at(sides[0], far[0]), p.at(sides[1], far[1]), l.ID()) })
	if err != nil {
		return err
	}
	hot, err := n.plug(ctx, s, panel, sides, far)
	if err != nil {
		return err
	}
	if hot {
		n.reexamined(ctx)
	}
	return ctx.Err()
}

// plug gives both ends carrier, and waits until the switch and the kernel act on
// it: the switch drops what is for a port until it has seen its carrier. Hot is
// a cable to an interface that was without.
func (n *Network) plug(ctx context.Context, s *session, panel *nsnet.NS, sides [2]*side, far [2]string) (hot bool, err error) {
	var waking []end
	for _, x := range sides {
		if x.far != nil && x.far.Attrs().Flags&net.FlagUp == 0 {
			waking = append(waking, endOf(x.Port))
		}
	}
	n.noticed(ctx, s, false, waking...) // else old news of its being up is taken for new
	for i, x := range sides {
		if other := sides[1-i]; other.off && x.ns != nil {
			err = hold(panel, far[i])
		} else {
			err = carrier(panel, true, far[i])
		}
		if err != nil {
			return false, err
		}
	}
	if sides[0].off || sides[1].off {
		return false, nil
	}
	if sides[0].ns == nil || sides[1].ns == nil { // a virtual machine gives its tap carrier when it wants to
		return false, nil
	}
	n.noticed(ctx, s, true, endOf(sides[0].Port), endOf(sides[1].Port))
	if len(waking) == 0 {
		return false, nil
	}
	for i, x := range sides {
		panel.Awake(ctx, far[i])
		x.ns.Awake(ctx, x.Attachment.Interface)
	}
	return true, nil
}

// noticed waits for the switch to have seen the carrier of ports. It does not
// wait for long, because somebody may have changed it again.
func (n *Network) noticed(ctx context.Context, s *session, up bool, ends ...end) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.until(ctx, func(v *view) bool {
		for _, e := range ends {
			if p := v.port(e); p != nil && v.forwards(p) != up {
				return false
			}
		}
		return true
	})
}

// evict removes the port of an end from another bridge than it should be on,
// because the mode was changed, and that of a tap that was made anew: the
// switch still has the one before.
func (n *Network) evict(ctx context.Context, s *session, bridge string, x *side) error {
	e, tap := endOf(x.Port), x.index()
	var other string
	s.see(func(v *view) {
		p := v.port(e)
		if p == nil {
			return
		}
		if b := v.bridgeOf(p); b != nil && (b.name != bridge || tap > 0 && p.ids[idIndex] != strconv.Itoa(tap)) {
			other = b.name
		}
	})
	if other == "" {
		return nil
	}
	return n.writer.do(&request{ctx: ctx, bridge: other, plan: func(p *plan) error { p.remove(e); p.drop = true; return nil }})
}
