package engine

import (
	"context"
	"fmt"
	"time"

	"archetype/engine/api"
	"archetype/lab"
)

// controller runs one lab. Everything about the lab happens on its goroutine;
// others send it messages.
type controller struct {
	e     *Engine
	m     *model
	inbox chan func(*controller)
	ctx   context.Context // ends with the engine
	done  chan struct{}   // closed when the lab is gone or the engine ends

	writes []record     // to be stored, in the order they happened
	events []*api.Event // to be published and stored
	jobs   []*job       // those that have not ended
	jobOut []*api.Job   // to be published
	wake   time.Time    // when to look again though nothing happened
	again  bool         // a decision has made another one due
	found  bool         // taken up from what ran, without a record
	looked int          // which link was verified last
	cleanup
}

// cleanup is how far the end of a destroyed lab has come.
type cleanup struct {
	cleaning bool
	gone     bool
	relist   bool // nodes or links came or went
	// How often cleaning has failed, why, and when it is tried again.
	cleanTries int
	cleanError string
	cleanAt    time.Time
}

func newController(e *Engine, m *model) *controller {
	return &controller{e: e, m: m, inbox: make(chan func(*controller), 256),
		ctx: e.ctx, done: make(chan struct{})}
}

// post hands the controller something to do; false when it has ended.
func (c *controller) post(f func(*controller)) bool {
	select {
	case c.inbox <- f:
		return true
	case <-c.done:
		return false
	}
}

// call is post that waits until it was done and, where the controller asked
// for it, durably stored.
func (c *controller) call(ctx context.Context, f func(*controller) error) error {
	answer := make(chan error, 1)
	ok := c.post(func(c *controller) {
		err := f(c)
		// What f wished for is stored before anybody acts on it or hears of it.
		if err == nil {
			err = c.flush(true)
		}
		answer <- err
	})
	if !ok {
		return api.Errorf(api.CodeNotFound, "lab %s is gone", c.m.info.Name)
	}
	select {
	case err := <-answer:
		return err
	case <-c.done:
		select {
		case err := <-answer:
			return err
		default:
			return api.Errorf(api.CodeNotFound, "lab %s is gone", c.m.info.Name)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run serves the lab until it is gone or the engine ends.
func (c *controller) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	c.step()
	for !c.gone {
		if c.wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, c.wake.Sub(c.e.now())))
		}
		select {
		case f := <-c.inbox:
			f(c)
			c.drain()
		case <-timer.C:
			c.wake = time.Time{}
			c.markAll()
		case <-c.ctx.Done():
			c.stopWatches()
			_ = c.flush(false)
			return
		}
		c.step()
	}
}

// drain takes what else has arrived, so that a burst costs one round.
func (c *controller) drain() {
	for range cap(c.inbox) {
		select {
		case f := <-c.inbox:
			f(c)
		default:
			return
		}
	}
}

// step decides upon everything that changed until nothing changes any more,
// then tells the store and the watchers.
func (c *controller) step() {
	for again := true; again; again = c.finishLeaving() {
		for c.decideDirty() {
		}
	}
	c.checkJobs()
	c.publish()
	_ = c.flush(false)
}

func (c *controller) decideDirty() bool {
	again := false
	c.again = false
	for _, n := range c.m.nodeOrder {
		if !n.dirty {
			continue
		}
		n.dirty = false
		before := n.actual
		if ef := c.decideNode(n); ef != nil {
			n.busy = ef
			c.carryOut(ef)
		}
		c.passStages(n)
		if n.actual != before {
			for _, l := range n.links {
				l.dirty = true
			}
		}
		again = again || n.dirty
	}
	for _, l := range c.m.linkOrder {
		if !l.dirty {
			continue
		}
		l.dirty = false
		again = true
		ready := l.made || l.actual == lab.LinkError || len(l.ready) > 0
		if ef := c.decideLink(l); ef != nil {
			l.busy = ef
			l.turns++
			c.carryOut(ef)
		}
		if ready || l.made || l.remove {
			l.a.dirty, l.b.dirty = true, true
		}
	}
	return again || c.again
}

// markAll has everything decided upon again.
func (c *controller) markAll() {
	for _, n := range c.m.nodeOrder {
		n.dirty = true
	}
	for _, l := range c.m.linkOrder {
		l.dirty = true
	}
}

// touch has a node and its links decided upon again.
func (n *node) touch() {
	n.dirty, n.moved = true, true
	for _, l := range n.links {
		l.dirty = true
	}
}

func (l *link) touch() { l.dirty, l.moved = true, true }

// moveNode takes a node to another state. An illegal step is a mistake of
// ours: it is said and not taken.
func (c *controller) moveNode(n *node, to lab.NodeState) {
	if n.actual == to {
		return
	}
	if err := n.actual.CheckTransition(to); err != nil {
		c.e.log.Error("illegal transition", "lab", c.m.info.Name, "node", n.spec.Name, "err", err)
		c.event(api.Event{Level: api.LevelError, Node: n.spec.Name, Text: "internal error: " + err.Error()})
		return
	}
	n.actual = to
	n.since = c.e.now()
	c.wakeWaiting()
	switch to {
	case lab.NodePending:
		n.err, n.progress, n.text, n.line = "", 0, "", ""
	case lab.NodeRunning:
		n.progress, n.err = 100, ""
	case lab.NodeStopped, lab.NodeUndeployed:
		n.progress, n.text, n.line, n.pid = 0, "", "", 0
	}
	n.moved = true
	c.saveNode(n)
}

func (c *controller) moveLink(l *link, to lab.LinkState) {
	if l.actual == to {
		return
	}
	if err := l.actual.CheckTransition(to); err != nil {
		c.e.log.Error("illegal transition", "lab", c.m.info.Name, "link", l.id, "err", err)
		c.event(api.Event{Level: api.LevelError, Link: l.name(), Text: "internal error: " + err.Error()})
		return
	}
	l.actual = to
	if to != lab.LinkError && to != lab.LinkPending {
		l.err = ""
	}
	l.moved = true
	c.saveLink(l)
}

func (c *controller) setLinkError(l *link, text string) {
	if l.err != text {
		l.err = text
		l.moved = true
	}
}

// finishLeaving takes out of the model what was wanted gone and is. It
// reports whether a link went, whose interfaces another may wait for.
func (c *controller) finishLeaving() (dropped bool) {
	for i := len(c.m.linkOrder) - 1; i >= 0; i-- {
		l := c.m.linkOrder[i]
		if l.remove && l.busy == nil && !l.something() {
			c.dropLink(l)
			dropped = true
		}
	}
	for i := len(c.m.nodeOrder) - 1; i >= 0; i-- {
		n := c.m.nodeOrder[i]
		if n.remove && n.busy == nil && !n.exists && !n.unsure && n.actual == lab.NodeUndeployed && len(n.links) == 0 {
			c.dropNode(n)
			dropped = true
		}
	}
	if c.m.destroying && !c.cleaning && !c.wait(c.cleanAt) {
		for _, n := range c.m.nodeOrder {
			if n.busy != nil || n.exists || n.unsure || n.actual != lab.NodeUndeployed {
				return dropped
			}
		}
		for _, l := range c.m.linkOrder {
			if l.busy != nil {
				return dropped
			}
		}
		c.cleaning = true
		c.cleanLab()
	}
	return dropped
}

// event notes something for a person to read.
func (c *controller) event(ev api.Event) {
	ev.Time = c.e.now()
	ev.Lab = c.m.info.Name
	if ev.Level == "" {
		ev.Level = api.LevelInfo
	}
	ev.Seq = c.e.nextEvent()
	c.events = append(c.events, &ev)
}

func (c *controller) infof(n *node, format string, args ...any) {
	c.event(api.Event{Node: n.spec.Name, Text: fmt.Sprintf(format, args...)})
}

func (c *controller) warnf(n *node, format string, args ...any) {
	c.event(api.Event{Level: api.LevelWarn, Node: n.spec.Name, Text: fmt.Sprintf(format, args...)})
}

func (c *controller) errorf(n *node, format string, args ...any) {
	c.event(api.Event{Level: api.LevelError, Node: n.spec.Name, Text: fmt.Sprintf(format, args...)})
}
