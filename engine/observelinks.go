package engine

import (
	"context"
	"fmt"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// followLinks keeps subscribed to a network's events. Without a name they are
// about links of any network.
func (e *Engine) followLinks(network string, events <-chan backends.LinkStatus, subscribe func(context.Context) (<-chan backends.LinkStatus, error)) {
	silence := silence{backend: network}
	for {
		var err error
		if events == nil {
			events, err = subscribe(e.ctx)
			if network != "" {
				silence.note(e, err)
			}
		}
		if err == nil {
			for st := range events {
				if c, err := e.controller(st.Lab); err == nil {
					c.post(func(c *controller) { c.observeLink(network, st) })
				}
			}
		}
		events = nil
		if !pause(e.ctx, resubscribe) {
			return
		}
	}
}

// startFollowing subscribes before anybody asks for the state of a link, so
// that nothing falls in between.
func (e *Engine) startFollowing(network string, subscribe func(context.Context) (<-chan backends.LinkStatus, error)) {
	events, err := subscribe(e.ctx)
	if err != nil {
		events = nil
	}
	e.spawn(func() { e.followLinks(network, events, subscribe) })
}

// lookAtLinks is the safety net under the networks' events.
func (e *Engine) lookAtLinks() {
	tick := e.lookTicks(time.Second)
	defer tick.Stop()
	for ; ; tick.again() {
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			return
		}
		for _, c := range e.all() {
			c.post((*controller).verifySome)
		}
	}
}

// verifySome asks for the truth about some of the links that are believed to
// be as they should: a few at a time of a large lab, each in its turn.
func (c *controller) verifySome() {
	if c.m.destroying {
		return
	}
	count := len(c.m.linkOrder)
	for range min(count, max(200, count/10)) {
		c.looked++
		l := c.m.linkOrder[c.looked%count]
		whole := (l.made || c.linkLeftAlone(l)) && c.bothThere(l) && !c.m.leaving(l.a) && !c.m.leaving(l.b)
		if (whole || c.half(l)) && l.busy == nil && !c.moving(l) {
			c.verify(l, nil)
		}
	}
}

// observeLink takes in what a network says of a link.
func (c *controller) observeLink(network string, st backends.LinkStatus) {
	l := c.m.links[st.ID]
	if l == nil || network != "" && l.network(c) != network || c.m.destroying || c.moving(l) {
		return
	}
	if l.busy != nil {
		l.meanwhile = &linkNews{network, st}
		return
	}
	if c.half(l) {
		c.verify(l, nil)
		return
	}
	if l.made || c.linkLeftAlone(l) {
		// It may come late: from the middle of what was done at the link, or
		// while an end is on its way because its node was started behind our
		// back. So it only says that there is something to look at.
		if st.Gone || st.Connected != (l.actual != lab.LinkDown) || st.Carrier != l.carrier || st.VLAN != l.vlan {
			c.verify(l, &st)
		}
		return
	}
	c.settle(network, st)
}

// linkNews is what a network has said of a link.
type linkNews struct {
	network string
	status  backends.LinkStatus
}

// catchUp takes in what was said last while something was done to the link: it
// may be older than that, or newer.
func (c *controller) catchUp(l *link) {
	if m := l.meanwhile; m != nil {
		l.meanwhile = nil
		c.observeLink(m.network, m.status)
	}
}

// settle takes in what is true of a link.
func (c *controller) settle(network string, st backends.LinkStatus) {
	l := c.m.links[st.ID]
	if l == nil || network != "" && l.network(c) != network || l.busy != nil || c.m.destroying || c.moving(l) {
		return
	}
	if st.Carrier != "" && st.Carrier != l.carrier && l.made {
		l.carrier = st.Carrier
		l.news()
		if l.actual == lab.LinkUp && st.Connected {
			c.event(api.Event{Link: l.name(), Text: fmt.Sprintf("%s: carrier %s", l.name(), st.Carrier)})
		}
	}
	if l.vlan != st.VLAN {
		l.vlan = st.VLAN
		l.news()
	}
	if !l.made && st.Connected && !st.Gone && c.linkLeftAlone(l) && l.desired == lab.WishUp {
		c.linkWhole(l, st)
		return
	}
	if !l.made && st.Connected && !st.Gone && l.actual == lab.LinkError {
		l.retryAt = time.Time{} // what was in the way has gone: now, not when the next try was due
		l.touch()
	}
	if l.made && st.Connected && !st.Gone && l.actual == lab.LinkDown && l.desired == lab.WishDown && !l.remove {
		c.linkJoined(l)
		return
	}
	if !l.made || st.Connected && !st.Gone || c.m.leaving(l.a) || c.m.leaving(l.b) || l.remove {
		return
	}
	if l.actual == lab.LinkDown && !st.Gone && !st.OneEnd() {
		return // cut, as wished
	}
	c.linkDrifted(l, either(st.Reason, "an interface of it was removed"))
}

// half reports whether all there is of a link is an isolated interface, at the
// end of a node whose peer is not there.
func (c *controller) half(l *link) bool {
	return !l.made && len(l.ready) > 0 && !c.bothThere(l) && l.spec.Outside == nil
}

// ends are the link's nodes, in the order of its spec.
func (l *link) ends() [2]*node { return [2]*node{l.a, l.b} }

// settleHalf takes in which isolated interfaces of a link are there. One that a
// node has not any more, and was to have, has been removed by somebody else.
func (c *controller) settleHalf(l *link, there [2]bool) {
	if !c.half(l) || l.busy != nil || l.remove || c.m.destroying || c.moving(l) {
		return
	}
	for i, n := range l.ends() {
		if !l.ready[n] || there[i] || !n.exists || c.m.leaving(n) {
			continue
		}
		delete(l.ready, n)
		c.interfaceLost(l, [2]lab.End{l.spec.A, l.spec.B}[i].Endpoint)
	}
}

// interfaceLost notes that an isolated interface was removed. The first time it
// is made again at once; one that goes again and again waits as one that failed.
func (c *controller) interfaceLost(l *link, end lab.Endpoint) {
	l.drift = drift{what: end.String() + " was removed behind our back"}
	remedy := "made again"
	switch {
	case c.linkLeftAlone(l):
		c.setLinkError(l, l.drift.what)
		remedy = c.consequence(time.Time{}, 0)
	case l.retries > 0:
		c.nextLinkTry(l)
		remedy += " " + c.whenAgain(l.retryAt, l.retries)
	default:
		l.retries++
	}
	c.event(api.Event{Level: api.LevelWarn, Link: l.name(), Text: fmt.Sprintf("%s: %s; %s", l.name(), l.drift.what, remedy)})
	c.saveLink(l)
	l.touch()
}
