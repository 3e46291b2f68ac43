package engine

import (
	"maps"
	"slices"
	"strings"

	"archetype/engine/api"
	"archetype/lab"
)

// publish puts what changed of the lab into the snapshot that watchers see.
func (c *controller) publish() {
	if c.gone {
		return
	}
	view, changed := c.showNews()
	if state := c.state(); state != c.m.info.State || c.m.info.Destroying != c.m.destroying {
		c.m.info.State, c.m.info.Destroying, changed = state, c.m.destroying, true
	}
	jobs := c.jobOut
	c.jobOut, c.relist = nil, false
	if !changed && len(jobs) == 0 {
		return
	}
	if changed {
		view.Info = c.m.info
		view.Silent = c.silences()
		for _, p := range slices.Sorted(maps.Keys(c.m.extra)) {
			for _, name := range c.m.extra[p] {
				if n := c.m.nodes[name]; n == nil || n.provider != p { // else it has become one
					view.Extra = append(view.Extra, name)
				}
			}
		}
		c.view = view
	}
	c.e.hub.change(func(s api.Snapshot) api.Snapshot {
		if changed {
			view.Rev = s.Rev + 1
			s.Labs = withLab(s.Labs, view)
		}
		s.Jobs = withJobs(s.Jobs, jobs)
		return s
	})
}

// unpublish takes the lab out of the snapshot.
func (c *controller) unpublish() {
	jobs := c.jobOut
	c.jobOut = nil
	c.e.hub.change(func(s api.Snapshot) api.Snapshot {
		labs := make([]*api.Lab, 0, len(s.Labs))
		for _, l := range s.Labs {
			if l.Name != c.m.info.Name {
				labs = append(labs, l)
			}
		}
		s.Labs, s.Jobs = labs, withJobs(s.Jobs, jobs)
		return s
	})
}

// showNews makes a view of the lab in which what has news is shown anew, and
// reports whether there is any.
func (c *controller) showNews() (view *api.Lab, changed bool) {
	d := &c.m.due
	nodes, links := d.newsNodes, d.newsLinks
	d.newsNodes, d.newsLinks = nil, nil
	if c.view == nil || c.relist {
		c.placeAll()
		view, nodes, links = &api.Lab{Nodes: make([]*api.Node, len(c.m.nodeOrder)), Links: make([]*api.Link, len(c.m.linkOrder))},
			c.m.nodeOrder, c.m.linkOrder
		changed = true
	} else {
		view, changed = &api.Lab{Nodes: c.view.Nodes, Links: c.view.Links}, len(nodes)+len(links) > 0
		if len(nodes) > 0 {
			view.Nodes = slices.Clone(view.Nodes)
		}
		if len(links) > 0 {
			view.Links = slices.Clone(view.Links)
		}
	}
	for _, n := range nodes {
		if n.moved || n.view == nil {
			n.view, n.moved = c.showNode(n), false
			if n.actual == lab.NodeStarting {
				n.view.Typical = c.e.boots.typical(n)
			}
			c.m.counts[n.counted]--
			n.counted = c.countedAs(n)
			c.m.counts[n.counted]++
		}
		view.Nodes[n.at] = n.view
	}
	for _, l := range links {
		if l.moved || l.view == nil {
			l.view, l.moved = c.showLink(l), false
		}
		view.Links[l.at] = l.view
	}
	return view, changed
}

// placeAll notes where everything stands, after something came or went.
func (c *controller) placeAll() {
	c.m.counts, c.m.staged = lab.Counts{}, nil
	for i, n := range c.m.nodeOrder {
		n.at, n.counted = i, c.countedAs(n)
		c.m.counts[n.counted]++
		if c.waits(n) {
			c.m.staged = append(c.m.staged, n)
		}
	}
	for i, l := range c.m.linkOrder {
		l.at = i
	}
}

// countedAs is what a node is for the lab's state: one that is left alone though
// it is not as wanted is as bad as one in error.
func (c *controller) countedAs(n *node) lab.NodeState {
	if c.leftAlone(n) {
		return lab.NodeError
	}
	return n.actual
}

func (c *controller) state() lab.State {
	switch {
	case c.m.destroying:
		return lab.StateStopping
	case c.asked:
		return lab.StateUnknown
	}
	return lab.Aggregate(c.m.counts)
}

func withLab(labs []*api.Lab, l *api.Lab) []*api.Lab {
	at, found := slices.BinarySearchFunc(labs, l.Name, func(x *api.Lab, name string) int {
		return strings.Compare(x.Name, name)
	})
	out := slices.Clone(labs)
	if found {
		out[at] = l
		return out
	}
	return slices.Insert(out, at, l)
}

func withJobs(jobs, changed []*api.Job) []*api.Job {
	if len(changed) == 0 {
		return jobs
	}
	s := (&api.Snapshot{Jobs: jobs}).Apply(&api.Update{Jobs: changed})
	return s.Jobs
}

func (e *Engine) publishEvents(events []*api.Event) {
	if len(events) == 0 {
		return
	}
	e.hub.change(func(s api.Snapshot) api.Snapshot {
		all := slices.Concat(s.Events, events)
		// Controllers number and publish on their own goroutines: between two
		// labs the order of arrival can differ from that of the numbers.
		slices.SortStableFunc(all, func(a, b *api.Event) int { return int(int64(a.Seq) - int64(b.Seq)) })
		if n := len(all) - api.KeepEvents; n > 0 {
			all = all[n:]
		}
		s.Events = all
		return s
	})
}

func (c *controller) showNode(n *node) *api.Node {
	v := &api.Node{Name: n.spec.Name, Kind: n.spec.Kind, Provider: n.provider, Identifier: n.identifier,
		Desired: n.desired, Actual: n.actual, Progress: n.progress, ProgressText: n.text, ProgressLine: n.line, Error: n.err,
		PID: n.pid, Image: n.spec.Image, Group: n.spec.Group, Since: n.since, Retries: n.retries,
		Console: n.inited && n.actual != lab.NodePaused, Leaving: n.remove, ManagementIPv4: n.mgmt4, ManagementIPv6: n.mgmt6, Screen: n.screen,
		NoImage: n.noImage && n.actual == lab.NodeError}
	v.Drift = api.Drift{What: n.drift.what, Held: c.leftAlone(n), Left: n.drift.left}
	rests := n.actual != lab.NodePending && n.actual != lab.NodeStarting && !n.actual.Matches(n.desired) || n.amiss != ""
	if rests && !n.permanent && !v.Drift.Held && n.desired == lab.WishRunning {
		v.RetryAt = n.retryAt
	}
	return v
}

func (c *controller) showLink(l *link) *api.Link {
	v := &api.Link{A: l.spec.A.String(), B: l.spec.B.String(), Desired: l.desired, Actual: l.actual,
		Carrier: l.carrier, VLAN: l.vlan, Error: l.err, MTU: l.spec.MTU,
		ImpairA: l.spec.A.Impair, ImpairB: l.spec.B.Impair, Network: l.net, Leaving: l.remove, Retries: l.retries}
	v.Drift = api.Drift{What: l.drift.what, Held: c.linkLeftAlone(l), Left: l.drift.left}
	if l.actual == lab.LinkError && !v.Drift.Held {
		v.RetryAt = l.retryAt
	}
	if l.spec.Outside != nil {
		v.Outside = l.spec.Outside.Type
	}
	if v.Carrier == "" {
		v.Carrier = lab.CarrierOff
	}
	return v
}
