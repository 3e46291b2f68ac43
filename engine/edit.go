package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/topology"
)

// Edit implements api.Engine.
func (e *Engine) Edit(ctx context.Context, req api.EditRequest) (*api.Job, error) {
	added, err := e.readAdditions(ctx, &req)
	if err != nil {
		return nil, err
	}
	if err := e.checkEdit(ctx, req); err != nil {
		return nil, err
	}
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) {
		j, err := c.edit(req, added.configs)
		if err == nil {
			added.tell(c)
		}
		return j, err
	})
}

// checkEdit checks, before anything is touched, that new nodes could be made.
func (e *Engine) checkEdit(ctx context.Context, req api.EditRequest) error {
	if len(req.AddNodes) == 0 {
		return nil
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return err
	}
	var provider string
	if err := c.call(ctx, func(c *controller) error { provider = c.m.info.Provider; return nil }); err != nil {
		return err
	}
	return e.usableProviders(ctx, req.AddNodes, provider)
}

// edit changes the lab's topology in place. Everything is checked before
// anything changes; nodes and links that are not named stay as they are, cut
// cables and stopped nodes included. configs are the startup configurations of
// new nodes.
func (c *controller) edit(req api.EditRequest, configs map[string]string) (*job, error) {
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	top := c.m.topology
	top.Nodes, top.Links, top.Outside = slices.Clone(top.Nodes), slices.Clone(top.Links), slices.Clone(top.Outside)
	for _, step := range []func(*lab.Topology, api.EditRequest) error{
		c.withoutNodes, c.withoutLinks, c.withNodes, c.withLinks, c.withImages} {
		if err := step(&top, req); err != nil {
			return nil, err
		}
	}
	verb, target := editName(req)
	j := c.newJob(verb, target)
	c.m.topology, c.m.hosts, c.m.taken = top, hosts(&top), top.ManagementAddresses()
	c.saveLab()
	c.removeUnwanted(&top)
	for i, spec := range top.Nodes {
		if c.m.nodes[spec.Name] == nil || c.m.nodes[spec.Name].remove {
			c.wantNode(i, spec, cmp.Or(configs[spec.Name], spec.ConfigText))
			n := c.m.nodes[spec.Name]
			c.wantRunning(n)
			j.waitNodes[n] = lab.WishRunning
		}
		c.m.nodes[spec.Name].index = i
		if _, ok := req.SetImages[spec.Name]; ok {
			n := c.m.nodes[spec.Name]
			c.wantNode(i, spec, n.config)
			c.wantRunning(n)
			j.waitNodes[n] = lab.WishRunning
		}
	}
	for _, spec := range top.Links {
		if have := c.m.links[spec.ID()]; have == nil || have.remove {
			c.wantLink(spec)
			l := c.m.links[spec.ID()]
			l.desired = lab.WishUp
			c.saveLink(l)
			j.waitLinks[l] = lab.WishUp
		}
	}
	c.reorder(&top)
	for _, n := range c.m.nodeOrder {
		if n.remove {
			j.waitGone[n.spec.Name] = true
		}
	}
	return j, nil
}

func editName(req api.EditRequest) (verb lab.JobVerb, target string) {
	switch {
	case len(req.AddNodes) > 0:
		return lab.JobAdd, req.AddNodes[0].Name
	case len(req.AddLinks) > 0:
		return lab.JobConnect, linkName(req.AddLinks[0])
	case len(req.RemoveNodes) > 0:
		return lab.JobRemove, req.RemoveNodes[0]
	case len(req.SetImages) > 0:
		return lab.JobImage, strings.Join(slices.Sorted(maps.Keys(req.SetImages)), " ")
	case len(req.RemoveLinks) > 0:
		return lab.JobRemove, req.RemoveLinks[0][0].String() + " -- " + req.RemoveLinks[0][1].String()
	}
	return lab.JobAdd, ""
}

func (c *controller) withoutNodes(top *lab.Topology, req api.EditRequest) error {
	for _, name := range req.RemoveNodes {
		if _, err := c.named([]string{name}); err != nil {
			return err
		}
		top.Nodes = slices.DeleteFunc(top.Nodes, func(n lab.Node) bool { return n.Name == name })
		top.Links = slices.DeleteFunc(top.Links, func(l lab.Link) bool { return l.A.Node == name || l.B.Node == name })
		top.Outside = slices.DeleteFunc(top.Outside, func(l lab.Link) bool { return l.A.Node == name })
	}
	if len(top.Nodes) == 0 {
		err := api.Errorf(api.CodeUsage, "that is the last node of lab %s", c.m.info.Name)
		err.Hint = "destroy the lab instead"
		return err
	}
	return nil
}

func (c *controller) withoutLinks(top *lab.Topology, req api.EditRequest) error {
	for _, ends := range req.RemoveLinks {
		l, err := c.linkBetween(ends[0], ends[1])
		if err != nil {
			return err
		}
		top.Links = slices.DeleteFunc(top.Links, func(x lab.Link) bool { return x.ID() == l.id })
		top.Outside = slices.DeleteFunc(top.Outside, func(x lab.Link) bool { return x.ID() == l.id })
	}
	return nil
}

func (c *controller) withNodes(top *lab.Topology, req api.EditRequest) error {
	for _, spec := range req.AddNodes {
		if _, ok := top.Node(spec.Name); ok {
			return alreadyThere(c.m.info.Name, spec.Name)
		}
		if err := topology.CheckNodeName(spec.Name); err != nil {
			return api.Errorf(api.CodeUsage, "%v", err)
		}
		kind, ok := c.e.opt.Vendors.Canonical(spec.Kind)
		if !ok {
			err := api.Errorf(api.CodeUsage, "unknown kind %q", spec.Kind)
			if near := lab.Closest(spec.Kind, c.e.opt.Vendors.Names()); near != "" {
				err.Hint = "did you mean " + near + "?"
			}
			return err
		}
		spec.Kind = kind
		top.Nodes = append(top.Nodes, spec)
	}
	return nil
}

func (c *controller) withLinks(top *lab.Topology, req api.EditRequest) error {
	for _, spec := range req.AddLinks {
		for _, end := range []*lab.End{&spec.A, &spec.B} {
			n, ok := top.Node(end.Node)
			if !ok {
				err := api.Errorf(api.CodeNotFound, "lab %s has no node %s", c.m.info.Name, end.Node)
				if near := lab.Closest(end.Node, c.nodeNames()); near != "" {
					err.Hint = "did you mean " + near + "?"
				}
				return err
			}
			kernel, err := topology.CheckInterface(c.e.opt.Vendors, n.Kind, end.Interface)
			if err != nil {
				return api.Errorf(api.CodeUsage, "node %s of kind %s: %v", n.Name, n.Kind, err)
			}
			end.Interface = kernel
		}
		if spec.A.Endpoint == spec.B.Endpoint {
			return api.Errorf(api.CodeUsage, "both ends are %s: a link cannot go to itself", spec.A.Endpoint)
		}
		if err := c.freeEnds(top, &spec); err != nil {
			return err
		}
		top.Links = append(top.Links, spec)
	}
	return nil
}

// freeEnds makes sure that both ends of a new link have no cable in them. One
// that is cut is taken out: that is how a cable is moved to another peer.
func (c *controller) freeEnds(top *lab.Topology, spec *lab.Link) error {
	for _, end := range []*lab.End{&spec.A, &spec.B} {
		at := slices.IndexFunc(top.Links, func(l lab.Link) bool {
			return l.A.Endpoint == end.Endpoint || l.B.Endpoint == end.Endpoint
		})
		if at < 0 {
			continue
		}
		have := top.Links[at]
		if l := c.m.links[have.ID()]; l == nil || l.desired != lab.WishDown {
			err := api.Errorf(api.CodeConflict, "%s is connected already: %s", end.Endpoint, linkName(have))
			err.Hint = fmt.Sprintf("cut that cable first: archetype link disconnect %s %s %s", c.m.info.Name, have.A, have.B)
			return err
		}
		// Who moves a cable by hand leaves the interface as it is.
		was := have.End(end.Endpoint)
		if end.MAC == "" && len(end.Addresses()) == 0 {
			end.MAC, end.IPv4, end.IPv6 = was.MAC, was.IPv4, was.IPv6
		}
		top.Links = slices.Delete(top.Links, at, at+1)
	}
	return nil
}

// claimed is another link, if any, that is to stay and has the end too, so
// that its interface must outlive this one, and which addresses of this link's
// the interface then has no more.
func (l *link) claimed(n *node, end lab.Endpoint) (by *link, former []netip.Prefix) {
	is := l.spec.End(end)
	for _, x := range n.links {
		if x == l || x.remove || !x.uses(end) {
			continue
		}
		wanted := x.spec.End(end)
		if wanted.MAC != "" && wanted.MAC != is.MAC {
			continue // it needs an interface of its own
		}
		return x, slices.DeleteFunc(is.Addresses(), func(p netip.Prefix) bool { return slices.Contains(wanted.Addresses(), p) })
	}
	return nil, nil
}

// handOver says of a port of the link's what another link is to find there.
func (l *link) handOver(p *backends.Port, n *node) {
	by, former := l.claimed(n, p.End.Endpoint)
	p.Keep, p.Former = by != nil, former
	p.FormerMTU = by != nil && l.spec.MTU != 0 && by.spec.MTU == 0
}
