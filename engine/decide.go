package engine

import (
	"fmt"
	"maps"

	"archetype/backends"
	"archetype/lab"
)

// verb is an effect on the world outside.
type verb int

const (
	doCreate verb = iota + 1
	doStart
	doStop
	doRemove
	doConnect
	doDisconnect
	doProvision
	doDelete
	doImpair
	doSwap
	doMend
	doRewire
)

func (v verb) String() string {
	return [...]string{"", "create", "start", "stop", "remove", "connect", "disconnect", "provision", "delete", "impair", "swap", "mend", "rewire"}[v]
}

// effect is one call to a provider or a network. It is decided by the
// controller, carried out elsewhere, and answered by a result.
type effect struct {
	verb   verb
	node   *node // for effects on nodes, and the end of a provision
	link   *link
	cancel func()
	more   func()          // gives it its time again
	stager backends.Stager // stages the node that is created, or nil
	gated  bool            // the node's init waits for its start
	hash   string          // of what the node is created from
	boot   uint64          // the node's, before a start or a stop
	kept   [2]bool         // the ends whose interface doDelete leaves to another link
	vlan   int             // of the link, once it is connected
	impair impaired        // what doImpair gives
	moved  moved           // how doSwap went
}

// ends reports whether a node's end may be the effect's own doing, or will be
// told by its result; with nil nothing is done to the node.
func (ef *effect) ends() bool {
	return ef != nil && ef.verb != doMend && ef.verb != doRewire
}

// decideNode takes the one step that brings the node nearer to what is wanted
// of it: it may change the node's state, and returns the effect to carry out,
// or nil when there is nothing to do or something to wait for.
func (c *controller) decideNode(n *node) *effect {
	if n.busy != nil {
		if c.withdrawn(n) {
			n.busy.cancel()
		}
		return nil
	}
	if c.m.leaving(n) {
		return c.decideLeaving(n)
	}
	if n.restart && !n.actual.Alive() {
		n.restart = false
		n.news()
	}
	if n.amiss != "" && !n.restart && (n.actual == lab.NodeRunning || n.actual == lab.NodeStopped) {
		if ef := c.decideMend(n); ef != nil {
			return ef
		}
	}
	if c.toStop(n) || n.restart {
		return c.decideStopped(n)
	}
	if n.fresh {
		c.wait(n.hearBy)
	}
	return c.decideRunning(n)
}

// toStop reports whether the node is to run no more.
func (c *controller) toStop(n *node) bool { return n.desired == lab.WishStopped && !c.leftAlone(n) }

// withdrawn reports whether what is being done to the node is not wanted any
// more, so that it is better cancelled than waited for.
func (c *controller) withdrawn(n *node) bool {
	switch n.busy.verb {
	case doCreate, doStart:
		return c.m.leaving(n) || c.toStop(n)
	default:
		return false
	}
}

func (c *controller) decideLeaving(n *node) *effect {
	if !n.exists && !n.unsure && !n.inited {
		if n.actual != lab.NodeUndeployed {
			c.moveNode(n, lab.NodeUndeployed)
		}
		if n.rebuild && !n.remove && !c.m.destroying {
			n.rebuild = false
			if p := c.e.providerFor(n.spec, c.m.info.Provider); p != n.provider {
				n.provider, n.ended = p, 0 // each counts boots for itself
			}
			c.saveNode(n)
			n.look()
		}
		return nil
	}
	for _, l := range n.links {
		if l.busy != nil {
			return nil // its interfaces are being worked on: wait for that to end
		}
	}
	if n.actual == lab.NodeError && c.wait(n.retryAt) {
		return nil
	}
	if n.actual.Alive() {
		c.moveNode(n, lab.NodeStopping)
	}
	return &effect{verb: doRemove, node: n}
}

func (c *controller) decideStopped(n *node) *effect {
	switch {
	case n.half && (n.actual == lab.NodeStopping || n.actual == lab.NodeStopped):
		return &effect{verb: doRemove, node: n} // an earlier engine was about to make it anew
	case n.gated && (n.actual == lab.NodePending || n.actual == lab.NodeStopped):
		return &effect{verb: doStop, node: n} // it was about to be started
	}
	switch n.actual {
	case lab.NodeStarting, lab.NodeRunning, lab.NodePaused:
		c.moveNode(n, lab.NodeStopping)
		return &effect{verb: doStop, node: n}
	case lab.NodeStopping:
		return &effect{verb: doStop, node: n}
	case lab.NodePending:
		switch {
		case n.unsure:
			return &effect{verb: doRemove, node: n}
		case n.inited: // it was to be made anew while it runs
			c.moveNode(n, lab.NodeStarting)
			c.moveNode(n, lab.NodeStopping)
			return &effect{verb: doStop, node: n}
		case n.exists:
			c.moveNode(n, lab.NodeStopped)
			n.look() // it may have another's name
		default:
			c.moveNode(n, lab.NodeUndeployed)
		}
	case lab.NodeError: // which may have left something
		switch {
		case c.wait(n.retryAt):
			return nil
		case n.exists:
			return &effect{verb: doStop, node: n}
		case n.unsure:
			return &effect{verb: doRemove, node: n}
		}
		n.err = ""
		c.moveNode(n, lab.NodeUndeployed)
	}
	return nil
}

func (c *controller) decideRunning(n *node) *effect {
	switch n.actual {
	case lab.NodeUndeployed, lab.NodeStopped, lab.NodeError:
		if c.leftAlone(n) || n.permanent || c.wait(n.retryAt) {
			return nil
		}
		c.moveNode(n, lab.NodePending)
		return c.decideCreate(n)
	case lab.NodePending:
		if !n.exists || n.stale || !n.awaitsWhatComes() {
			return c.decideCreate(n)
		}
		if !n.interfacesReady() || c.holds(n, lab.StageCreateLinks) || !c.mayMove(n) {
			return nil
		}
		c.moveNode(n, lab.NodeStarting)
		return &effect{verb: doStart, node: n}
	case lab.NodeStarting:
		if !n.inited {
			if !c.mayMove(n) {
				return nil
			}
			if !n.awaitsWhatComes() {
				return &effect{verb: doCreate, node: n}
			}
			return &effect{verb: doStart, node: n}
		}
		if n.stage.booted {
			c.settleBoot(n)
		} else if n.watch == nil {
			c.watchBoot(n)
		}
	case lab.NodeRunning:
		c.recovered(n)
		if c.rewired(n) {
			return &effect{verb: doRewire, node: n}
		}
	case lab.NodePaused:
		return c.decideMend(n)
	case lab.NodeStopping:
		return &effect{verb: doStop, node: n}
	}
	return nil
}

// rewired reports whether the node has other links than its provider knows,
// where the next start may be somebody else's.
func (c *controller) rewired(n *node) bool {
	if n.restart || n.stale || !n.exists {
		return false // it is told so anyway
	}
	p, err := c.provider(n)
	if err != nil {
		return false
	}
	_, ok := p.(backends.Rewirer)
	return ok && !maps.Equal(n.noted, c.labels(n))
}

func (c *controller) decideCreate(n *node) *effect {
	if c.holds(n, lab.StageCreate) {
		return nil
	}
	return &effect{verb: doCreate, node: n}
}

// decideLink does for a link what decideNode does for a node.
func (c *controller) decideLink(l *link) *effect {
	if l.busy != nil || c.moving(l) {
		return nil
	}
	if c.m.destroying {
		return nil // goes with the nodes and the lab's clean-up
	}
	if !l.remove && l.inTheWay() != nil {
		return nil // what takes its interface away must have ended before
	}
	if l.remove || l.former != nil {
		if l.something() {
			if l.actual == lab.LinkError && c.wait(l.retryAt) {
				return nil
			}
			return &effect{verb: doDelete, link: l}
		}
		if l.actual != lab.LinkDown && l.actual != lab.LinkUnknown {
			c.moveLink(l, lab.LinkDown)
		}
		if l.former != nil && !l.remove {
			l.former = nil
			l.look()
		}
		return nil
	}
	if c.linkLeftAlone(l) {
		if !l.awaited() {
			return nil
		}
		l.forgiveDrift() // whoever has a node started has acted
	}
	if l.net != "" && l.net != c.m.info.Network && (l.made || len(l.ready) > 0) {
		return c.decideSwap(l)
	}
	if !c.bothThere(l) {
		return c.decideHalf(l)
	}
	if l.desired == lab.WishDown {
		if l.actual == lab.LinkDown && l.made {
			return nil
		}
		if l.actual == lab.LinkError && c.wait(l.retryAt) {
			return nil
		}
		return &effect{verb: doDisconnect, link: l}
	}
	switch l.actual {
	case lab.LinkUp:
		if l.made {
			c.linkRecovered(l)
			return c.decideImpairment(l)
		}
		c.moveLink(l, lab.LinkPending)
	case lab.LinkError:
		if c.wait(l.retryAt) {
			return nil
		}
		c.moveLink(l, lab.LinkPending)
	case lab.LinkUnknown, lab.LinkDown:
		c.moveLink(l, lab.LinkPending)
	}
	if l.actual == lab.LinkPending {
		c.moveLink(l, lab.LinkCreating)
	}
	return &effect{verb: doConnect, link: l}
}

// bothThere reports whether both ends can be attached to.
func (c *controller) bothThere(l *link) bool {
	return l.a.exists && l.b.exists && !c.m.leaving(l.a) && !c.m.leaving(l.b)
}

// decideHalf serves a link of which one end cannot be attached to: the node
// at the other gets an isolated interface, unless its peer is about to come.
func (c *controller) decideHalf(l *link) *effect {
	if l.made && (!l.a.exists || !l.b.exists) {
		l.unmade() // it was being wired while an end went: what is left of it is not known
	}
	switch {
	case l.desired == lab.WishDown:
		if l.actual != lab.LinkDown {
			c.moveLink(l, lab.LinkDown)
		}
	case l.actual != lab.LinkPending:
		c.moveLink(l, lab.LinkPending)
	}
	if n := c.lacking(l); n != nil && !c.wait(l.retryAt) {
		return &effect{verb: doProvision, link: l, node: n}
	}
	if len(l.ready) > 0 {
		c.linkRecovered(l)
	}
	if l.desired == lab.WishUp {
		c.setLinkError(l, c.waitsFor(l))
	}
	return nil
}

// lacking is a node at an end of a link whose other end cannot be attached to,
// that has no interface there and is to have one; nil when there is none.
func (c *controller) lacking(l *link) *node {
	for _, n := range l.ends() {
		p := l.peer(n)
		if n.place || !n.exists || c.m.leaving(n) || l.ready[n] || c.coming(p) {
			continue
		}
		if p.rebuild || c.leftAlone(p) && n.inited {
			continue // back in a moment, or left alone as it is: only who boots needs it
		}
		return n
	}
	return nil
}

// coming reports whether the node does not exist yet but is about to. One that
// waits for others may be waiting for whoever asks.
func (c *controller) coming(n *node) bool {
	return !n.exists && !c.m.leaving(n) && n.desired == lab.WishRunning && !c.leftAlone(n) &&
		n.actual != lab.NodeError && c.held(n, lab.StageCreate) == ""
}

func (c *controller) waitsFor(l *link) string {
	for _, n := range []*node{l.a, l.b} {
		switch {
		case n.exists || c.coming(n):
		case n.actual == lab.NodeError:
			return fmt.Sprintf("waits for %s, which is in error", n.spec.Name)
		default:
			return fmt.Sprintf("waits for %s, which is %s", n.spec.Name, n.actual)
		}
	}
	return ""
}
