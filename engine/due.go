package engine

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// What did not change costs nothing: a round looks only at what is due, tells
// only of what has news, and asks jobs only about what was looked at.

// due is what of a lab is to be looked at, told of, or has been looked at
// since jobs were last checked.
type due struct {
	nodes, newsNodes, seenNodes, partingNodes []*node
	links, newsLinks, seenLinks, partingLinks []*link
	alarms                                    alarms
}

// look has the node decided upon in the next round.
func (n *node) look() {
	if !n.dirty && n.m != nil { // nobody decides upon a place outside
		n.dirty = true
		n.m.due.nodes = append(n.m.due.nodes, n)
	}
}

// news has the node published.
func (n *node) news() {
	if !n.moved && n.m != nil {
		n.moved = true
		n.m.due.newsNodes = append(n.m.due.newsNodes, n)
	}
}

// touch has a node and its links decided upon again.
func (n *node) touch() {
	n.look()
	n.news()
	for _, l := range n.links {
		l.look()
	}
}

func (l *link) look() {
	if !l.dirty {
		l.dirty = true
		l.m.due.links = append(l.m.due.links, l)
	}
}

func (l *link) news() {
	if !l.moved {
		l.moved = true
		l.m.due.newsLinks = append(l.m.due.newsLinks, l)
	}
}

func (l *link) touch() {
	l.look()
	l.news()
}

// dueNodes are the nodes to be looked at, in the order of the file.
func (c *controller) dueNodes() []*node {
	out := c.m.due.nodes
	c.m.due.nodes = nil
	slices.SortFunc(out, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.spec.Name, b.spec.Name))
	})
	return slices.DeleteFunc(out, func(n *node) bool {
		n.dirty = false
		return c.m.nodes[n.spec.Name] != n
	})
}

func (c *controller) dueLinks() []*link {
	out := c.m.due.links
	c.m.due.links = nil
	slices.SortFunc(out, func(a, b *link) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.id, b.id))
	})
	return slices.DeleteFunc(out, func(l *link) bool {
		l.dirty = false
		return c.m.links[l.id] != l
	})
}

// alarm is a moment at which something is to be looked at though nothing
// happened.
type alarm struct {
	at   time.Time
	node *node
	link *link
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// wait reports whether the moment is still to come, and makes sure that what
// is being decided upon, or else the lab as such, is looked at when it has.
func (c *controller) wait(until time.Time) bool {
	now := c.e.now()
	if until.IsZero() || !until.After(now) {
		return false
	}
	// One that the store has kept knows only the clock's time. An alarm has to
	// be where it is whatever becomes of the clock, or those behind it never ring.
	until = now.Add(until.Sub(now))
	has := &c.wake
	switch {
	case c.deciding.node != nil:
		has = &c.deciding.node.alarm
	case c.deciding.link != nil:
		has = &c.deciding.link.alarm
	}
	if !has.IsZero() && !until.Before(*has) {
		return true // it is looked at before, and waits again then
	}
	*has = until
	if c.deciding != (alarm{}) {
		heap.Push(&c.m.due.alarms, alarm{until, c.deciding.node, c.deciding.link})
	}
	return true
}

// nextAlarm is when something is to be looked at; zero: not before something
// happens.
func (c *controller) nextAlarm() time.Time {
	at := c.wake
	if a := c.m.due.alarms; len(a) > 0 && (at.IsZero() || a[0].at.Before(at)) {
		at = a[0].at
	}
	return at
}

// ring has everything looked at whose moment has come.
func (c *controller) ring() {
	now := c.e.now()
	if !c.wake.After(now) {
		c.wake = time.Time{}
	}
	for a := &c.m.due.alarms; len(*a) > 0 && !(*a)[0].at.After(now); {
		x := heap.Pop(a).(alarm)
		if x.node != nil {
			x.node.alarm = time.Time{}
			x.node.look()
		} else {
			x.link.alarm = time.Time{}
			x.link.look()
		}
	}
}
