package engine

import (
	"context"
	"errors"

	"archetype/backends"
	"archetype/lab"
)

// Some providers' nodes take their interfaces along into another namespace
// whenever they start. Until they have arrived nothing is done to their links,
// what a network says of them meanwhile is not believed, and afterwards the
// network looks at them where they are now.

// mover reports whether the node's interfaces move when it starts.
func (c *controller) mover(n *node) bool {
	p, ok := c.e.opt.Backends.Provider(n.provider)
	if !ok {
		return false
	}
	_, ok = p.(backends.Mover)
	return ok
}

// moving reports whether an end of the link is on its way right now.
func (c *controller) moving(l *link) bool {
	for _, n := range []*node{l.a, l.b} {
		if n.busy != nil && n.busy.verb == doStart && c.mover(n) {
			return true
		}
	}
	return false
}

// mayMove reports whether nothing is being done to the node's links.
func (c *controller) mayMove(n *node) bool {
	if !c.mover(n) {
		return true
	}
	for _, l := range n.links {
		if l.busy != nil {
			return false
		}
	}
	return true
}

// arrived has the node's links looked at where they are now.
func (c *controller) arrived(n *node) {
	c.impairAnew(n)
	if !c.mover(n) || c.m.destroying {
		return
	}
	for _, l := range n.links {
		if l.made {
			l.look()
		}
		if l.made || c.half(l) {
			c.verify(l, nil)
		}
	}
}

// impairAnew notes that a node was started, which may have taken what its links
// suffer: the way took it from an interface's own end, and libvirt gives a tap
// another queue.
func (c *controller) impairAnew(n *node) {
	for _, l := range n.links {
		if l.made {
			l.impair.rewired(impairedOf(l.spec))
			l.look()
		}
	}
}

// verify asks the network for the truth about a link, once its ends have
// arrived where they go. News, where there are any, stand for it when it
// cannot be had. What was asked for before something was begun at the link, or
// before the latest news, says nothing any more.
func (c *controller) verify(l *link, news *backends.LinkStatus) {
	name := l.network(c)
	network, ok := c.networkOf(l, name)
	if !ok {
		return
	}
	if l.verifying {
		l.doubt = true
		return
	}
	l.verifying, l.doubt = true, false
	turn, half := l.turns, c.half(l)
	attached := c.attaching(l)
	c.e.spawn(func() {
		ctx, cancel := context.WithTimeout(c.ctx, effectTimeout)
		defer cancel()
		var st backends.LinkStatus
		err := limit(ctx, func() error {
			bl, err := attached(ctx)
			if err == nil || half && errors.Is(err, backends.ErrNotFound) { // its peer is not there
				st, err = network.State(ctx, bl)
			}
			return err
		}, c.e.slots)
		c.post(func(c *controller) {
			l.verifying = false
			if l.doubt || l.turns != turn {
				l.missed = l.busy != nil
				if l.busy == nil && (l.made || c.linkLeftAlone(l) || c.half(l)) && c.m.links[l.id] == l {
					c.verify(l, news)
				}
				return
			}
			switch {
			case half:
				if err == nil || errors.Is(err, backends.ErrNotFound) {
					c.settleHalf(l, st.Ends)
				}
				return
			case errors.Is(err, backends.ErrNotFound):
				st = backends.LinkStatus{Lab: c.m.info.Name, ID: l.id, Carrier: lab.CarrierOff, Gone: true}
			case err != nil && news == nil:
				return
			case err != nil:
				st = *news
			}
			c.settle(name, st)
		})
	})
}
