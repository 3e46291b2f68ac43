package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// ended takes the result of an effect in.
func (c *controller) ended(ef *effect, err error) {
	if ef.link != nil {
		ef.link.busy = nil
		c.linkEnded(ef, err)
		c.catchUp(ef.link)
		ef.link.touch()
		ef.link.a.look()
		ef.link.b.look()
		return
	}
	ef.node.busy, ef.node.done = nil, c.e.now()
	c.nodeEnded(ef, err)
	ef.node.touch()
}

func (c *controller) nodeEnded(ef *effect, err error) {
	n := ef.node
	if err != nil && c.dropped(ef, err) {
		return
	}
	switch ef.verb {
	case doCreate:
		if err != nil {
			n.unsure = !n.exists // something of it may be there all the same
			c.fail(n, err)
			return
		}
		n.made = ef.hash
		n.exists, n.unsure, n.half, n.gated = true, false, false, n.gated || ef.gated
		c.wakeWaiting()
		n.identifier = either(n.identifier, c.m.info.Name+"/"+n.spec.Name) // until its provider has told what it calls it
	case doStart:
		if err != nil {
			c.fail(n, err)
			return
		}
		n.gated = false
		n.fresh, n.hearBy = n.boot == ef.boot, c.e.now().Add(hearWithin)
		c.arrived(n)
		// It may have ended meanwhile, and that news may have been faster.
		n.inited = n.actual == lab.NodeStarting
	case doStop:
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			c.fail(n, fmt.Errorf("stop: %w", err))
			return
		}
		c.bootOver(n)
		n.inited, n.gated = false, false
		n.unreachable()
		n.err = ""
		n.ended = max(n.ended, ef.boot) // late news of it are no news; one that began since is
		c.moveNode(n, lab.NodeStopped)
		if n.restart {
			n.restart = false
		} else {
			c.infof(n, "stopped")
		}
	case doRemove:
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			c.fail(n, fmt.Errorf("remove: %w", err))
			return
		}
		c.vanished(n)
	case doMend:
		c.mendEnded(n, err)
	case doRewire:
		if err != nil {
			c.warnf(n, "its provider could not note what links it has now: %s", reason(err))
		}
	}
}

// dropped deals with an effect that was withdrawn: that it did not succeed is
// as it should be. What it left half done is found by the next decision.
func (c *controller) dropped(ef *effect, err error) bool {
	if !errors.Is(err, context.Canceled) {
		return false
	}
	n := ef.node
	switch ef.verb {
	case doCreate:
		if n.exists {
			n.stale = true
		} else {
			n.unsure = true
		}
	case doStart:
		n.inited = true // perhaps: it is stopped, which is harmless
	}
	return true
}

// fail takes a node into error, and plans when it is tried again.
func (c *controller) fail(n *node, err error) {
	c.bootOver(n)
	n.permanent = errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrUnsupported) ||
		errors.Is(err, os.ErrNotExist)
	n.noImage = errors.Is(err, backends.ErrNoImage)
	c.nextTry(n)
	n.err = n.reason(err)
	n.failure = n.err
	c.moveNode(n, lab.NodeError)
	c.wakeWaiting()
	again := ""
	if n.desired == lab.WishRunning && !n.permanent && !c.m.leaving(n) {
		again = fmt.Sprintf("; next try in %s", n.retryAt.Sub(c.e.now()).Round(time.Second))
	}
	c.errorf(n, "%s%s", n.err, again)
}

// vanished notes that nothing of the node exists any more.
func (c *controller) vanished(n *node) {
	c.bootOver(n)
	n.ended = max(n.ended, n.boot) // late news of it are no news
	n.exists, n.unsure, n.half, n.inited, n.gated, n.pid, n.boot = false, false, false, false, false, 0, 0
	n.health, n.stage, n.amiss = "", staged{}, ""
	n.unreachable()
	n.err = ""
	c.moveNode(n, lab.NodeUndeployed)
	for _, l := range n.links {
		// A network may have lost the far end with it: all is looked at again.
		if l.made || len(l.ready) > 0 {
			far := l.peer(n)
			l.unmade()
			if l.actual == lab.LinkUp || l.actual == lab.LinkCreating {
				c.moveLink(l, lab.LinkPending)
			}
			far.look()
		}
		l.retryAt = time.Time{}
		l.touch()
	}
	n.touch()
}

func (c *controller) linkEnded(ef *effect, err error) {
	l := ef.link
	switch ef.verb {
	case doImpair:
		c.impairEnded(l, ef.impair, err)
		return
	case doSwap:
		c.swapEnded(ef, err)
		return
	}
	if err != nil {
		if errors.Is(err, context.Canceled) || c.m.destroying {
			return
		}
		c.nextLinkTry(l)
		if errors.Is(err, backends.ErrNotFound) && !c.bothThere(l) {
			return // an end went away meanwhile: decided upon again, once that is known or later
		}
		c.setLinkError(l, l.reason(err))
		if l.actual == lab.LinkDown || l.actual == lab.LinkUp || l.actual == lab.LinkUnknown ||
			l.actual == lab.LinkPending || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkError)
		}
		c.event(api.Event{Level: api.LevelError, Link: l.name(),
			Text: fmt.Sprintf("%s %s: %s", ef.verb, l.name(), l.err)})
		return
	}
	switch ef.verb {
	case doConnect:
		l.made = true
		l.carrier, l.vlan = lab.CarrierOn, ef.vlan
		l.impair.rewired(impairedOf(l.spec))
		if l.actual == lab.LinkPending {
			c.moveLink(l, lab.LinkCreating)
		}
		c.moveLink(l, lab.LinkUp)
	case doDisconnect:
		l.made, l.retries = true, 0
		l.carrier, l.vlan = lab.CarrierOff, 0
		c.moveLink(l, lab.LinkDown)
	case doProvision:
		l.ready[ef.node] = true
		l.upSince = c.e.now()
		l.forgiveDrift()
		c.saveLink(l)
		if c.half(l) {
			c.verify(l, nil) // from now on its network tells what becomes of it
		}
	case doDelete:
		a, _ := l.claimed(l.a, l.spec.A.Endpoint)
		b, _ := l.claimed(l.b, l.spec.B.Endpoint)
		if ef.kept[0] && a == nil || ef.kept[1] && b == nil {
			return // the link that was to have an interface has gone meanwhile: once more, without keeping it
		}
		for _, n := range []*node{l.a, l.b} {
			for _, x := range n.links { // the interface that was kept is this one's now
				if x != l && x.net == "" && (x.uses(l.spec.A.Endpoint) || x.uses(l.spec.B.Endpoint)) {
					x.net = l.net
				}
			}
		}
		l.unmade()
		l.net = ""
		l.impair = impairing{}
		if l.actual == lab.LinkUp || l.actual == lab.LinkPending || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkDown)
		}
	}
}
