package engine

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// saved is what the store says at the start.
type saved struct {
	labs  []store.Lab
	nodes map[string][]store.Node
	links map[string][]store.Link
	jobs  []store.Job
}

func (e *Engine) loadSaved() (*saved, error) {
	s := &saved{nodes: map[string][]store.Node{}, links: map[string][]store.Link{}}
	var events []store.Event
	err := e.opt.Store.View(func(tx *store.Tx) (err error) {
		if s.labs, err = tx.Labs(); err != nil {
			return err
		}
		for _, l := range s.labs {
			if s.nodes[l.Name], err = tx.Nodes(l.Name); err != nil {
				return err
			}
			if s.links[l.Name], err = tx.Links(l.Name); err != nil {
				return err
			}
			e.logSaved(s, l.Name)
		}
		if s.jobs, err = tx.Jobs(api.KeepJobs); err != nil {
			return err
		}
		// Those that have not ended count, however many came after them.
		s.jobs = slices.DeleteFunc(s.jobs, func(j store.Job) bool { return !j.State.Ended() })
		for _, state := range []lab.JobState{lab.JobPending, lab.JobRunning} {
			open, err := store.JobsIn("", state).Run(tx)
			if err != nil {
				return err
			}
			s.jobs = append(s.jobs, open...)
		}
		slices.SortStableFunc(s.jobs, func(a, b store.Job) int { return cmp.Compare(jobNumber(a.ID), jobNumber(b.ID)) })
		events, err = tx.Events(api.KeepEvents)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.showSaved(s, events)
	return s, nil
}

// logSaved notes what a lab was and was to be when its engine ended, for whoever
// wants to know later what the next one began with.
func (e *Engine) logSaved(s *saved, name string) {
	var wished, ran, up int
	for _, n := range s.nodes[name] {
		if n.Desired == lab.WishRunning {
			wished++
		}
		if n.Actual == lab.NodeRunning {
			ran++
		}
	}
	for _, l := range s.links[name] {
		if l.Actual == lab.LinkUp {
			up++
		}
	}
	e.log.Info("a lab is taken up", "lab", name, "nodes to run", wished, "nodes that ran", ran, "links that were up", up)
}

// jobNumber is a job's place among all jobs: the clock may have been set back
// since an earlier one was made.
func jobNumber(id string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(id, "j"), 10, 64)
	return n
}

// showSaved puts the past into the snapshot and counts on from it.
func (e *Engine) showSaved(s *saved, events []store.Event) {
	var snap api.Snapshot
	for _, r := range events {
		snap.Events = append(snap.Events, &api.Event{Seq: r.Seq, Time: r.Time, Level: api.Level(r.Level),
			Lab: r.Lab, Node: r.Node, Link: r.Link, Job: r.Job, Text: r.Text})
		e.events.Store(max(e.events.Load(), r.Seq))
	}
	for _, r := range s.jobs {
		e.jobs.Store(max(e.jobs.Load(), jobNumber(r.ID)))
		snap.Jobs = append(snap.Jobs, shownJob(r)) // those that go on as they were
	}
	e.hub.change(func(api.Snapshot) api.Snapshot { return snap })
}

// recover builds a controller for every lab that the store knows or that
// runs without the store knowing it, and lets them go on.
func (e *Engine) recover(s *saved) {
	models := map[string]*controller{}
	for _, l := range s.labs {
		models[l.Name] = e.revive(l, s.nodes[l.Name], s.links[l.Name])
		models[l.Name].midway = slices.ContainsFunc(s.jobs, func(j store.Job) bool {
			return j.Lab == l.Name && !j.State.Ended() && j.Verb.AtNextStart() != lab.JobBuried
		})
	}
	all := e.askProviders()
	var everything []backends.NodeStatus
	for _, l := range all {
		everything = append(everything, l.list...)
	}
	e.rebuild(models, everything) // a lab may have nodes at several
	for _, l := range all {
		found := byLab(l.list)
		if l.here && l.err == nil {
			for _, c := range models {
				c.observeAll(l.provider, found[c.m.info.Name], e.now())
				c.endLost(l.provider.Name(), found[c.m.info.Name])
			}
			e.heard.of[l.provider.Name()] = true
		}
	}
	e.noteUses(models)
	for _, l := range all {
		e.spawn(func() { e.follow(l.provider, l.events) })
	}
	for _, name := range e.opt.Backends.Networks() {
		n, _ := e.opt.Backends.Network(name)
		e.startFollowing(name, n.Events) // also of one that is not available yet
	}
	e.spawn(e.lookAtLinks)
	if o := e.opt.Backends.Outside(); o != nil {
		e.startFollowing("", o.Events)
	}
	e.endOrphans(s.jobs, models)
	// The labs are known from here on, so that events wait for them, and shown
	// as they were; none waits for another while the networks are asked.
	e.mu.Lock()
	for name, c := range models {
		e.labs[name] = c
	}
	e.mu.Unlock()
	links := newInquiry()
	// Of a lab without a record nothing is known until then: whoever asks for it
	// would hear that it is not there.
	var unrecorded sync.WaitGroup
	defer unrecorded.Wait()
	for _, name := range slices.Sorted(maps.Keys(models)) {
		c := models[name]
		c.bury(s.jobs)
		looked := func() {}
		if c.asked = true; c.found {
			unrecorded.Add(1)
			looked = func() { c.publish(); unrecorded.Done() }
		} else {
			c.publish()
		}
		e.spawn(func() {
			c.observeLinks(links)
			c.asked = false
			c.resume(s.jobs)
			c.midway = false
			c.markAll()
			looked()
			e.serve(c)
		})
	}
}

// revive builds a lab from its records.
func (e *Engine) revive(r store.Lab, nodes []store.Node, links []store.Link) *controller {
	m := &model{nodes: map[string]*node{}, links: map[string]*link{}, created: r.Created, partial: r.Partial,
		topology: r.Topology, destroying: r.Destroying, hosts: hosts(&r.Topology), taken: r.Topology.ManagementAddresses(),
		info: api.Info{Name: r.Name, File: r.File, Provider: r.Provider, Network: r.Network,
			Policy: cmp.Or(r.Policy, e.defaults().Policy)},
		swap: swapping{from: r.NetworkBefore}}
	c := newController(e, m)
	m.configs = map[string]string{}
	for i, spec := range r.Topology.Nodes {
		text, have := r.Configs[spec.Name]
		m.configs[spec.Name] = string(text)
		if !have { // its text is in the topology, or the store was lost
			config, err := configText(spec)
			if err != nil {
				c.event(api.Event{Level: api.LevelWarn, Node: spec.Name, Text: "startup-config: " + reason(err)})
			}
			m.configs[spec.Name] = config
		}
		c.wantNode(i, spec, m.configs[spec.Name])
	}
	for _, spec := range r.Topology.AllLinks() {
		c.wantLink(spec)
	}
	c.writes = nil // all of that is stored already
	known := map[string]bool{}
	for _, rn := range nodes {
		n := m.nodes[rn.Name]
		known[rn.Name] = true
		if n == nil { // an apply was interrupted before it was gone
			n = c.condemned(rn)
		}
		n.desired, n.actual, n.err = rn.Desired, rn.Actual, rn.Error
		n.since, n.told = rn.Since, true
		if now := e.now(); n.since.After(now) { // the clock has been set back
			n.since = now
		}
		n.progress, n.text, n.retries = rn.Progress, rn.ProgressText, rn.Retries
		n.identifier, n.drift = rn.Identifier, drift{rn.Drift, rn.DriftLeft}
		// Until its provider has been heard; of one that was made and is gone there
		// may be something beside itself.
		n.unsure = rn.Actual != lab.NodeUndeployed || rn.Hash != ""
		if n.unsure && rn.Provider != "" && rn.Provider != n.provider {
			n.rebuild, n.provider = true, rn.Provider // its old one has not removed it yet
		}
		n.made = rn.Hash
		n.stale = n.made != n.hash
		n.restart = n.stale && n.made != "" && n.actual.Alive() // of what it was made else, it tells itself
	}
	for _, n := range m.nodeOrder {
		if !known[n.spec.Name] {
			c.saveNode(n)
		}
	}
	for _, rl := range links {
		l := m.links[lab.LinkID(rl.A, rl.B)]
		if l == nil && m.nodes[rl.A.Node] != nil && (m.nodes[rl.B.Node] != nil || rl.Outside != nil) { // as above
			l = c.condemnedLink(rl)
		}
		if l == nil {
			continue
		}
		l.desired, l.actual, l.err, l.net, l.stored = rl.Desired, rl.Actual, rl.Error, rl.Network, true
		l.drift = drift{rl.Drift, rl.DriftLeft}
		if was := (lab.Link{A: givenEnd(rl.A, rl.AddressesA), B: givenEnd(rl.B, rl.AddressesB), Outside: rl.Outside, MTU: rl.MTU}); l.loses(was) {
			l.former = &was
		}
		if l.net == "" { // it was about to be made, or more, or had an interface left to it
			l.net = m.info.Network
		}
	}
	for _, l := range m.linkOrder {
		if l.desired == "" {
			l.desired = lab.WishUp
			c.saveLink(l)
		}
	}
	return c
}

// condemned takes a node that the store still has but the topology has not
// into the model, to be removed.
func (c *controller) condemned(r store.Node) *node {
	n := &node{m: c.m, spec: lab.Node{Name: r.Name, Kind: r.Kind}, kind: c.e.kindUnder(r.Provider, c.e.kind(r.Kind)), provider: r.Provider,
		hash: r.Hash, made: r.Hash, index: len(c.m.nodeOrder), remove: true}
	c.m.nodes[r.Name] = n
	c.m.nodeOrder = append(c.m.nodeOrder, n)
	return n
}

// condemnedLink does the same for a link.
func (c *controller) condemnedLink(r store.Link) *link {
	spec := lab.Link{A: givenEnd(r.A, r.AddressesA), B: givenEnd(r.B, r.AddressesB), Outside: r.Outside, MTU: r.MTU}
	c.wantLink(spec)
	l := c.m.links[spec.ID()]
	l.remove = true
	l.made = true // perhaps: what is not there is easily removed
	return l
}

// givenEnd is what is known of an end that the topology has no more.
func givenEnd(e lab.Endpoint, addresses []netip.Prefix) lab.End {
	end := lab.End{Endpoint: e}
	for _, p := range addresses {
		if p.Addr().Is4() {
			end.IPv4 = append(end.IPv4, p)
		} else {
			end.IPv6 = append(end.IPv6, p)
		}
	}
	return end
}

// endLost brings nodes that a provider does not have any more, though the
// store believes in them, to where they really are.
func (c *controller) endLost(provider string, found map[string]backends.NodeStatus) {
	for _, n := range c.m.nodeOrder {
		if n.provider != provider {
			continue
		}
		st, ok := found[n.spec.Name]
		switch {
		case !ok && n.actual != lab.NodeUndeployed && n.actual != lab.NodeError:
			alive := n.actual.Alive()
			c.vanished(n)
			n.unsure = true // what belongs to it beside itself may be there still
			if alive && n.drift.what == "" {
				c.drifted(n, "is gone: it ended while no engine ran")
			}
		case ok && !st.Running && n.actual.Alive():
			c.moveNode(n, lab.NodeStopped)
			c.drifted(n, "ended while no engine ran")
		}
	}
}

// observeLinks asks the network what became of every link.
func (c *controller) observeLinks(q *inquiry) {
	if c.m.destroying {
		return
	}
	var wg sync.WaitGroup
	found, moved := make([]*backends.LinkStatus, len(c.m.linkOrder)), make([]bool, len(c.m.linkOrder))
	for i, l := range c.m.linkOrder {
		if !l.a.exists || !l.b.exists {
			continue
		}
		name := l.network(c)
		network, ok := c.networkOf(l, name)
		if !ok {
			continue
		}
		by := strings.Join([]string{name, l.a.provider, l.b.provider}, " ")
		attached, gate := c.attaching(l), q.gate(by, cap(c.e.slots))
		next, _ := c.networkOf(l, c.m.info.Network)
		wg.Go(func() {
			found[i] = q.state(c.ctx, by, gate, network, attached)
			if name == c.m.info.Network || next == nil || found[i] == nil || found[i].Connected {
				return
			}
			by := strings.Join([]string{next.Name(), by}, " ")
			there := q.state(c.ctx, by, q.gate(by, cap(c.e.slots)), next, attached)
			if there != nil && !there.Gone && c.letGo(network, attached) {
				found[i], moved[i] = there, true
			}
		})
	}
	wg.Wait()
	for i, l := range c.m.linkOrder {
		if moved[i] { // an engine that moved it ended before it could note so
			l.net = c.m.info.Network
			c.saveLink(l)
		}
		if c.found && found[i] != nil && found[i].Cut {
			l.desired = lab.WishDown // nobody knows better
			c.moveLink(l, lab.LinkDown)
			c.saveLink(l)
		}
		c.settleLink(l, found[i])
	}
}

// letGo has a network release a link that another one has, and reports whether it
// did: what the first had of it beside the interfaces would stay.
func (c *controller) letGo(network backends.Network, attached func(context.Context) (backends.Link, error)) bool {
	err, ok := answered(c.ctx, func(ctx context.Context) error {
		l, err := attached(ctx)
		if err != nil {
			return err
		}
		return release(ctx, network, l)
	})
	return ok && err == nil
}

// settleLink brings a link's state in line with what was found of it, nil where
// it could not be asked for.
func (c *controller) settleLink(l *link, st *backends.LinkStatus) {
	l.impair.unsure = l.spec.Impaired() || st == nil || !st.Gone
	if st != nil && !st.Gone {
		l.net = l.network(c)
	}
	if st != nil && c.linkDriftedMeanwhile(l, *st) {
		return
	}
	switch {
	case st == nil || st.Gone:
		if l.actual == lab.LinkUp || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkPending)
		}
	case st.Connected && (l.actual == lab.LinkUp || c.found && st.Carrier == lab.CarrierOn):
		l.made, l.carrier, l.vlan = true, st.Carrier, st.VLAN
		c.moveLink(l, lab.LinkUp)
	case st.Connected: // or half-way there, which cannot be told: connecting once more does no harm
		l.carrier, l.vlan = st.Carrier, st.VLAN
		if l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkPending)
		}
	default: // both ends are there and nothing crosses: cut, or half made
		l.carrier = lab.CarrierOff
		l.made = l.actual == lab.LinkDown && l.desired == lab.WishDown && !st.OneEnd()
		if l.actual == lab.LinkUp || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkPending)
		}
	}
}
