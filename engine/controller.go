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

	writes   []record     // to be stored, in the order they happened
	events   []*api.Event // to be published and stored
	jobs     []*job       // those that have not ended
	jobOut   []*api.Job   // to be published
	wake     time.Time    // when to look at the lab as such though nothing happened
	deciding alarm        // what is being decided upon
	view     *api.Lab     // as last published
	found    bool         // taken up from what ran, without a record
	asked    bool         // what there is of its links is being asked for: nothing is decided yet
	midway   bool         // an earlier engine has left jobs that go on, and what it left is being looked at
	looked   int          // which link was verified last
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
		if at := c.nextAlarm(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, at.Sub(c.e.now())))
		}
		select {
		case f := <-c.inbox:
			f(c)
			c.drain()
		case <-timer.C:
			c.ring()
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
	c.m.due.seenNodes, c.m.due.seenLinks = nil, nil
	c.publish()
	_ = c.flush(false)
}

// decideDirty decides upon all that is due, once, and reports whether more is
// due since.
func (c *controller) decideDirty() bool {
	d := &c.m.due
	defer func(nodes, links int) {
		c.e.decided.Add(int64(len(d.seenNodes) - nodes + len(d.seenLinks) - links))
	}(len(d.seenNodes), len(d.seenLinks))
	for _, n := range c.dueNodes() {
		before := n.actual
		c.deciding.node = n
		if ef := c.decideNode(n); ef != nil {
			n.busy = ef
			c.carryOut(ef)
		}
		c.passStages(n)
		c.deciding.node = nil
		if n.actual != before {
			for _, l := range n.links {
				l.look()
			}
		}
		d.seenNodes = append(d.seenNodes, n)
		if n.remove {
			d.partingNodes = append(d.partingNodes, n)
		}
	}
	for _, l := range c.dueLinks() {
		ready := l.made || l.actual == lab.LinkError || len(l.ready) > 0
		c.deciding.link = l
		if ef := c.decideLink(l); ef != nil {
			l.busy = ef
			l.turns++
			c.carryOut(ef)
		}
		c.deciding.link = nil
		if ready || l.made || l.remove {
			l.a.look()
			l.b.look()
			c.wakeWaiting() // whose stage may be that an end has its links
		}
		d.seenLinks = append(d.seenLinks, l)
		if l.remove {
			d.partingLinks = append(d.partingLinks, l)
		}
	}
	return len(d.nodes)+len(d.links) > 0
}

// markAll has everything decided upon again.
func (c *controller) markAll() {
	for _, n := range c.m.nodeOrder {
		n.look()
	}
	for _, l := range c.m.linkOrder {
		l.look()
	}
}

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
	n.since, n.told = c.e.now(), false
	if to.Matches(n.desired) && n.amiss == "" {
		n.drift = drift{}
	}
	c.wakeWaiting()
	switch to {
	case lab.NodePending:
		n.err, n.text = "", ""
		n.bootAnew()
	case lab.NodeStarting:
		n.bootAnew()
	case lab.NodeRunning:
		n.progress, n.err, n.failure = 100, "", ""
	case lab.NodeStopped, lab.NodeUndeployed:
		n.progress, n.text, n.line, n.pid = 0, "", "", 0
		if n.desired == lab.WishStopped {
			n.failure = ""
		}
	}
	n.news()
	c.saveNode(n)
}

// bootAnew forgets how far an earlier boot came, or the node's making, unless
// its init runs, whose boot goes on.
func (n *node) bootAnew() {
	if !n.inited && n.pid == 0 {
		n.progress, n.line = 0, ""
	}
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
	l.wasUp = l.wasUp || l.actual == lab.LinkUp
	l.actual = to
	if to == lab.LinkUp {
		l.upSince = c.e.now()
	}
	if to.Matches(l.desired) {
		l.drift = drift{}
	}
	if to != lab.LinkError && to != lab.LinkPending && l.drift.what == "" {
		l.err = ""
	}
	l.news()
	c.saveLink(l)
}

func (c *controller) setLinkError(l *link, text string) {
	if l.err != text {
		l.err = text
		l.news()
	}
}

// finishLeaving takes out of the model what was wanted gone and is. It
// reports whether a link went, whose interfaces another may wait for.
func (c *controller) finishLeaving() (dropped bool) {
	nodes, links := c.m.due.partingNodes, c.m.due.partingLinks
	c.m.due.partingNodes, c.m.due.partingLinks = nil, nil
	for _, l := range links {
		if l.remove && c.m.links[l.id] == l && l.busy == nil && !l.something() {
			c.dropLink(l)
			dropped = true
		}
	}
	for _, n := range nodes {
		if n.remove && c.m.nodes[n.spec.Name] == n && n.busy == nil && !n.exists && !n.unsure && n.actual == lab.NodeUndeployed && len(n.links) == 0 {
			c.dropNode(n)
			dropped = true
		}
	}
	if c.m.destroying && !c.cleaning && !c.wait(c.cleanAt) {
		for _, n := range c.m.nodeOrder {
			if c.stays(n) {
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
