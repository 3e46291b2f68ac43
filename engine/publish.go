package engine

import (
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
	changed := c.relist
	for _, n := range c.m.nodeOrder {
		if n.moved || n.view == nil {
			n.view, n.moved, changed = n.show(), false, true
			if n.actual == lab.NodeStarting {
				n.view.Typical = c.e.boots.typical(n)
			}
		}
	}
	for _, l := range c.m.linkOrder {
		if l.moved || l.view == nil {
			l.view, l.moved, changed = l.show(), false, true
		}
	}
	if state := c.state(); state != c.m.info.State || c.m.info.Destroying != c.m.destroying {
		c.m.info.State, c.m.info.Destroying, changed = state, c.m.destroying, true
	}
	jobs := c.jobOut
	c.jobOut, c.relist = nil, false
	if !changed && len(jobs) == 0 {
		return
	}
	view := &api.Lab{Info: c.m.info}
	if changed {
		for _, n := range c.m.nodeOrder {
			view.Nodes = append(view.Nodes, n.view)
		}
		for _, l := range c.m.linkOrder {
			view.Links = append(view.Links, l.view)
		}
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

func (c *controller) state() lab.State {
	counts := lab.Counts{}
	for _, n := range c.m.nodeOrder {
		counts[n.actual]++
	}
	if c.m.destroying {
		return lab.StateStopping
	}
	return lab.Aggregate(counts)
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

func (n *node) show() *api.Node {
	v := &api.Node{Name: n.spec.Name, Kind: n.spec.Kind, Provider: n.provider, Identifier: n.identifier,
		Desired: n.desired, Actual: n.actual, Progress: n.progress, ProgressText: n.text, ProgressLine: n.line, Error: n.err,
		PID: n.pid, Image: n.spec.Image, Group: n.spec.Group, Since: n.since, Retries: n.retries,
		Console: n.inited, Leaving: n.remove, ManagementIPv4: n.mgmt4, ManagementIPv6: n.mgmt6}
	if n.actual == lab.NodeError && !n.permanent && n.desired == lab.WishRunning {
		v.RetryAt = n.retryAt
	}
	return v
}

func (l *link) show() *api.Link {
	v := &api.Link{A: l.spec.A.String(), B: l.spec.B.String(), Desired: l.desired, Actual: l.actual,
		Carrier: l.carrier, VLAN: l.vlan, Error: l.err, MTU: l.spec.MTU,
		ImpairA: l.spec.A.Impair, ImpairB: l.spec.B.Impair, Network: l.net, Leaving: l.remove}
	if l.spec.Outside != nil {
		v.Outside = l.spec.Outside.Type
	}
	if v.Carrier == "" {
		v.Carrier = lab.CarrierOff
	}
	return v
}
