package engine

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// byLab sorts what a provider has by lab and node.
func byLab(list []backends.NodeStatus) map[string]map[string]backends.NodeStatus {
	out := map[string]map[string]backends.NodeStatus{}
	for _, st := range list {
		if out[st.Ref.Lab] == nil {
			out[st.Ref.Lab] = map[string]backends.NodeStatus{}
		}
		out[st.Ref.Lab][st.Ref.Node] = st
	}
	return out
}

// adopt takes up labs that run without a record of them at a provider that
// could not be asked when the engine started. What it has was asked for at
// the moment given.
func (e *Engine) adopt(p backends.Provider, list []backends.NodeStatus, asked time.Time) {
	e.mu.Lock()
	known := maps.Clone(e.labs)
	for name, at := range e.ended {
		if !at.Before(asked) { // it went while the provider was asked
			known[name] = &controller{}
		}
	}
	e.mu.Unlock()
	all := maps.Clone(known)
	e.rebuild(all, list)
	found := byLab(list)
	for name, c := range all {
		if known[name] != nil {
			continue
		}
		c.observeAll(p, found[name], asked)
		c.endLost(p.Name(), found[name])
		e.mu.Lock()
		taken := e.labs[name] != nil // somebody has deployed one of that name since
		if !taken {
			e.labs[name] = c
		}
		e.mu.Unlock()
		if taken {
			continue
		}
		e.spawn(func() {
			c.observeLinks(newInquiry())
			c.markAll()
			e.serve(c)
		})
	}
}

// What the real thing carries, so that a lab can be rebuilt without a store. It
// does not change as long as the node lives: which network has the lab's links,
// which may be moved, is for the networks to tell.
const (
	labelLab      = "archetype.lab"
	labelNode     = "archetype.node"
	labelTopology = "archetype.topology" // but for its nodes and links
	labelProvider = "archetype.provider"
	labelSpec     = "archetype.spec"
	labelLinks    = "archetype.links"
	labelIndex    = "archetype.index"
)

func (c *controller) labels(n *node) map[string]string {
	spec, _ := json.Marshal(n.spec)
	var links []lab.Link
	for _, l := range n.links {
		if l.a == n && !l.remove {
			links = append(links, l.spec)
		}
	}
	ls, _ := json.Marshal(links)
	rest := c.m.topology
	rest.Nodes, rest.Links, rest.Outside = nil, nil, nil
	of, _ := json.Marshal(rest)
	return map[string]string{labelLab: c.m.info.Name, labelNode: n.spec.Name, labelTopology: string(of),
		labelProvider: c.m.info.Provider,
		labelSpec:     string(spec), labelLinks: string(ls), labelIndex: strconv.Itoa(n.index)}
}

// wiring asks the networks what they have; the function returned says which of
// them a lab's links are in, and that for new labs where none has any.
func (e *Engine) wiring() func(labName string) string {
	preferred, by := e.defaults().Network, map[string]string{}
	for _, name := range e.opt.Backends.Networks() {
		n, _ := e.opt.Backends.Network(name)
		l, ok := n.(backends.Lister)
		if !ok {
			continue
		}
		labs, _ := answered(e.ctx, func(ctx context.Context) []string {
			if !n.Available(ctx).OK {
				return nil
			}
			labs, err := l.Labs(ctx)
			if err != nil {
				e.log.Warn("cannot list the links' labs", "network", name, "err", err)
			}
			return labs
		})
		for _, labName := range labs {
			if by[labName] != preferred {
				by[labName] = name
			}
		}
	}
	return func(labName string) string {
		if name, ok := by[labName]; ok {
			return name
		}
		return preferred
	}
}

// rebuild makes controllers for labs that run though the store knows nothing
// of them, from the labels on their nodes.
func (e *Engine) rebuild(models map[string]*controller, list []backends.NodeStatus) {
	found := map[string][]backends.NodeStatus{}
	for _, st := range list {
		if models[st.Ref.Lab] == nil && st.Labels[labelSpec] != "" {
			found[st.Ref.Lab] = append(found[st.Ref.Lab], st)
		}
	}
	if len(found) == 0 {
		return
	}
	wiring := e.wiring()
	for name, sts := range found {
		index := func(st backends.NodeStatus) int { n, _ := strconv.Atoi(st.Labels[labelIndex]); return n }
		slices.SortFunc(sts, func(a, b backends.NodeStatus) int { return index(a) - index(b) })
		r := store.Lab{Name: name, Network: wiring(name), Provider: sts[0].Labels[labelProvider], Created: e.now()}
		_ = json.Unmarshal([]byte(sts[0].Labels[labelTopology]), &r.Topology) // else it has what a file has that says nothing
		r.Topology.Name, r.File = name, r.Topology.File
		r.Topology.Nodes, r.Topology.Links, r.Topology.Outside = nil, nil, nil // whatever the label says
		var links []lab.Link
		for _, st := range sts {
			var n lab.Node
			var ls []lab.Link
			if json.Unmarshal([]byte(st.Labels[labelSpec]), &n) != nil || n.Name != st.Ref.Node {
				continue
			}
			_ = json.Unmarshal([]byte(st.Labels[labelLinks]), &ls)
			r.Topology.Nodes = append(r.Topology.Nodes, n)
			links = append(links, ls...)
		}
		used, named := map[lab.Endpoint]bool{}, names(&r.Topology)
		for _, l := range links { // only those whose both nodes are there
			// Nodes that were made at different times may tell of different
			// cables in one interface: it has one.
			if used[l.A.Endpoint] || l.Outside == nil && used[l.B.Endpoint] {
				continue
			}
			used[l.A.Endpoint], used[l.B.Endpoint] = true, l.Outside == nil || used[l.B.Endpoint]
			okA, okB := named[l.A.Node], named[l.B.Node]
			switch {
			case okA && l.Outside != nil:
				r.Topology.Outside = append(r.Topology.Outside, l)
			case okA && okB:
				r.Topology.Links = append(r.Topology.Links, l)
			}
		}
		c := e.revive(r, nil, nil)
		c.writes = nil
		c.found, c.m.partial = true, true
		c.saveLab()
		status := map[string]backends.NodeStatus{}
		for _, st := range sts {
			status[st.Ref.Node] = st
		}
		for _, n := range c.m.nodeOrder {
			n.desired, n.stale, n.made = lab.WishRunning, false, n.hash
			// One that ran and ended as it was asked to is wanted so.
			if st := status[n.spec.Name]; !st.Running && st.Boot > 0 && st.ExitReason == "" {
				n.desired, n.actual = lab.WishStopped, lab.NodeStopped
			}
			c.saveNode(n)
		}
		for _, l := range c.m.linkOrder {
			c.saveLink(l)
		}
		c.event(api.Event{Level: api.LevelWarn, Text: "lab found running without a record of it: taken up again"})
		models[name] = c
	}
}
