package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// apply makes what is wanted the lab's desired state and returns the job that
// watches it come true.
func (c *controller) apply(w *wanted, p *api.Plan) *job {
	c.m.topology, c.m.configs, c.m.partial = *w.top, w.configs, false
	c.m.info.File = w.top.File
	c.m.hosts, c.m.taken = hosts(w.top), w.top.ManagementAddresses()
	c.saveLab()
	c.removeUnwanted(w.top)
	for i, spec := range w.top.Nodes {
		c.wantNode(i, spec, w.configs[spec.Name])
	}
	for _, spec := range w.top.AllLinks() {
		c.wantLink(spec)
	}
	c.reorder(w.top)
	j := c.newJob(lab.JobDeploy, "")
	for _, n := range c.m.nodeOrder {
		if n.remove {
			j.waitGone[n.spec.Name] = true
			continue
		}
		c.wantRunning(n)
		j.waitNodes[n] = lab.WishRunning
	}
	for _, l := range c.m.linkOrder {
		if l.remove {
			continue
		}
		l.desired = lab.WishUp
		l.retryAt, l.retries = time.Time{}, 0
		l.forgiveDrift()
		l.touch()
		c.saveLink(l)
		j.waitLinks[l] = lab.WishUp
	}
	c.event(api.Event{Job: j.ID, Text: "deploy " + planText(p)})
	return j
}

// wantRunning wishes a node up, now: what held back another try is forgotten.
func (c *controller) wantRunning(n *node) {
	n.desired = lab.WishRunning
	n.forgive()
	n.touch()
	c.saveNode(n)
}

// forgive lets a node that failed be tried again at once.
func (n *node) forgive() {
	n.retries, n.permanent, n.retryAt = 0, false, time.Time{}
	n.forgiveDrift()
}

func planText(p *api.Plan) string {
	var parts []string
	add := func(n int, thing, how string) {
		if n > 1 {
			thing += "s"
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s %s", n, thing, how))
		}
	}
	add(len(p.NodesAdded), "node", "new")
	add(len(p.NodesChanged), "node", "changed")
	add(len(p.NodesRemoved), "node", "removed")
	add(p.NodesUnchanged, "node", "unchanged")
	add(len(p.LinksAdded), "link", "new")
	add(len(p.LinksChanged), "link", "changed")
	add(len(p.LinksRemoved), "link", "removed")
	return strings.Join(parts, ", ")
}

func (c *controller) removeUnwanted(top *lab.Topology) {
	want := map[string]bool{}
	for _, l := range top.AllLinks() {
		want[l.ID()] = true
	}
	for _, l := range c.m.linkOrder {
		if !want[l.id] {
			l.remove = true
			l.retryAt = time.Time{}
			l.touch()
		}
	}
	named := names(top)
	for _, n := range c.m.nodeOrder {
		if !named[n.spec.Name] {
			n.remove = true
			n.forgive() // it does not wait for the next try of what it was to be
			n.touch()
		}
	}
}

// wantNode takes a node of the file into the model: new, changed or as it is.
func (c *controller) wantNode(i int, spec lab.Node, config string) {
	kind := c.e.kind(spec.Kind)
	hash := hashNode(spec, config)
	provider := c.e.providerFor(spec, c.m.info.Provider)
	n := c.m.nodes[spec.Name]
	if n == nil {
		n = &node{m: c.m, actual: lab.NodeUndeployed, desired: lab.WishRunning, since: c.e.now()}
		c.m.nodes[spec.Name] = n
		c.m.nodeOrder = append(c.m.nodeOrder, n)
		c.relist = true
	} else if n.hash != hash {
		// Another kind or provider is another thing; all else takes effect
		// at the next start, and the interfaces and their links stay.
		if n.spec.Kind != spec.Kind || n.provider != provider {
			n.rebuild = true
		}
		n.stale = n.exists || n.busy != nil
		n.restart = n.actual.Alive() || n.busy != nil
	}
	n.remove = false
	n.spec, n.index, n.kind, n.config, n.hash = spec, i, c.e.kindUnder(provider, kind), config, hash
	if !n.rebuild { // else what is there is its provider's, until it has removed it
		n.provider = provider
	}
	n.touch()
	c.saveNode(n)
}

func (c *controller) wantLink(spec lab.Link) {
	l := c.m.links[spec.ID()]
	if l == nil {
		l = &link{m: c.m, index: len(c.m.linkOrder), id: spec.ID(), actual: lab.LinkUnknown, ready: map[*node]bool{}}
		c.m.links[l.id] = l
		c.m.linkOrder = append(c.m.linkOrder, l)
		l.a, l.b = c.m.nodes[spec.A.Node], c.m.nodes[spec.B.Node]
		if spec.Outside != nil {
			l.b = place(spec)
		}
		l.a.links = append(l.a.links, l)
		if l.b != l.a {
			l.b.links = append(l.b.links, l)
		}
		l.spec = spec
		c.relist = true
	} else if was := l.spec; l.former == nil && !sameWiring(was, spec) {
		l.former = &was
	}
	if l.spec.A.Endpoint != spec.A.Endpoint {
		l.a, l.b = l.b, l.a
	}
	l.spec, l.remove = spec, false
	l.touch()
}

// reorder brings nodes and links into the order of the file; those on their
// way out come last.
func (c *controller) reorder(top *lab.Topology) {
	places := map[string]int{}
	for i, l := range top.AllLinks() {
		places[l.ID()] = i
	}
	last := len(top.Nodes) + len(top.Links) + len(top.Outside)
	nodeAt := func(n *node) int {
		if n.remove {
			return last
		}
		return n.index
	}
	linkAt := func(l *link) int {
		if l.remove {
			return last
		}
		return places[l.id]
	}
	slices.SortStableFunc(c.m.nodeOrder, func(a, b *node) int { return nodeAt(a) - nodeAt(b) })
	slices.SortStableFunc(c.m.linkOrder, func(a, b *link) int { return linkAt(a) - linkAt(b) })
	for i, l := range c.m.linkOrder {
		l.index = i
	}
	c.relist = true
}

func (c *controller) dropLink(l *link) {
	for _, n := range []*node{l.a, l.b} {
		n.links = slices.DeleteFunc(n.links, func(x *link) bool { return x == l })
		c.waitsInVain(n)
		n.look()
		for _, other := range n.links { // one of them may have waited for an end
			other.look()
		}
	}
	for _, x := range l.toTheSamePlace() {
		x.look()
	}
	delete(c.m.links, l.id)
	c.m.linkOrder = slices.DeleteFunc(c.m.linkOrder, func(x *link) bool { return x == l })
	a, b, name := l.spec.A.Endpoint, l.spec.B.Endpoint, c.m.info.Name
	c.save(func(tx *store.Tx) error { return tx.DeleteLink(name, a, b) })
	for _, n := range []*node{l.a, l.b} {
		for _, x := range n.links { // one may have waited for the interface
			x.look()
			if !x.remove && (x.uses(a) || x.uses(b)) {
				c.saveLink(x)
			}
		}
	}
	c.relist = true
}

// waitsInVain has a node boot again that may be waiting for the interface of a
// link that has just gone.
func (c *controller) waitsInVain(n *node) {
	if n.place || n.actual != lab.NodeStarting || n.stage.booted || n.awaitsWhatComes() {
		return
	}
	if p, err := c.provider(n); err == nil {
		if _, ok := p.(backends.Awaiter); ok {
			n.restart = true
		}
	}
}

func (c *controller) dropNode(n *node) {
	delete(c.m.nodes, n.spec.Name)
	if c.m.parted == nil {
		c.m.parted = map[string]time.Time{}
	}
	c.m.parted[n.spec.Name] = c.e.now()
	c.m.nodeOrder = slices.DeleteFunc(c.m.nodeOrder, func(x *node) bool { return x == n })
	name, labName := n.spec.Name, c.m.info.Name
	c.save(func(tx *store.Tx) error { return tx.DeleteNode(labName, name) })
	c.event(api.Event{Node: name, Text: "removed"})
	c.relist = true
	c.wakeWaiting() // it is not to be waited for any more
}

// hosts are the lab's names and addresses as /etc/hosts has them: for each
// node the first address of each family that the file gives it.
func hosts(top *lab.Topology) string {
	v4, v6 := map[string]string{}, map[string]string{}
	named := names(top)
	for _, l := range top.AllLinks() {
		for _, end := range l.Ends() {
			if !named[end.Node] {
				continue // a place outside has no name in the lab
			}
			if _, ok := v4[end.Node]; !ok && len(end.IPv4) > 0 {
				v4[end.Node] = end.IPv4[0].Addr().String()
			}
			if _, ok := v6[end.Node]; !ok && len(end.IPv6) > 0 {
				v6[end.Node] = end.IPv6[0].Addr().String()
			}
		}
	}
	var b strings.Builder
	for _, m := range []map[string]string{v4, v6} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "%s\t%s\n", m[name], name)
		}
	}
	return b.String()
}

// names are those of a topology's nodes.
func names(top *lab.Topology) map[string]bool {
	out := make(map[string]bool, len(top.Nodes))
	for _, n := range top.Nodes {
		out[n.Name] = true
	}
	return out
}
