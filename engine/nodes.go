package engine

import (
	"strings"
	"time"

	"archetype/engine/api"
	"archetype/lab"
)

// setNodes serves a wish for nodes. Those that are where they should be, or
// on their way there, are left alone.
func (c *controller) setNodes(req api.NodesRequest) (*job, error) {
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	targets, err := c.named(req.Nodes)
	if err != nil {
		return nil, err
	}
	j := c.newJob(req.Verb, strings.Join(first(req.Nodes, 3), ", "))
	for _, n := range targets {
		switch req.Verb {
		case lab.JobStart:
			if n.actual.Matches(lab.WishRunning) && n.desired == lab.WishRunning {
				continue
			}
			c.wantRunning(n)
			j.waitNodes[n] = lab.WishRunning
		case lab.JobStop:
			if n.actual.Matches(lab.WishStopped) && n.desired == lab.WishStopped {
				continue
			}
			n.desired = lab.WishStopped
			n.restart = false
			n.retryAt, n.drift = time.Time{}, drift{}
			n.touch()
			c.saveNode(n)
			j.waitNodes[n] = lab.WishStopped
		default:
			n.restart = n.actual.Alive() || n.busy != nil
			c.wantRunning(n)
			j.waitNodes[n] = lab.WishRunning
		}
	}
	return j, nil
}

// named finds nodes by name; none named means all.
func (c *controller) named(names []string) ([]*node, error) {
	if len(names) == 0 {
		return c.m.nodeOrder, nil
	}
	var out []*node
	for _, name := range names {
		n := c.m.nodes[name]
		if n == nil || n.remove {
			e := api.Errorf(api.CodeNotFound, "lab %s has no node %s", c.m.info.Name, name)
			e.Hint = "its nodes are " + strings.Join(first(c.nodeNames(), 12), ", ")
			return nil, e
		}
		out = append(out, n)
	}
	return out, nil
}

func (c *controller) nodeNames() []string {
	var out []string
	for _, n := range c.m.nodeOrder {
		out = append(out, n.spec.Name)
	}
	return out
}

// setLink serves a wish for one link.
func (c *controller) setLink(req api.LinkRequest) (*job, error) {
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	if !req.Wish.Valid() {
		return nil, api.Errorf(api.CodeUsage, "%q is not a wish for a link", req.Wish)
	}
	l, err := c.linkBetween(req.A, req.B)
	if err != nil && req.Wish == lab.WishUp && c.m.nodes[req.A.Node] != nil && c.m.nodes[req.B.Node] != nil {
		return c.edit(api.EditRequest{AddLinks: []lab.Link{{A: lab.End{Endpoint: req.A}, B: lab.End{Endpoint: req.B}}}}, nil)
	}
	if err != nil {
		return nil, err
	}
	if l.displaced() { // the wish could not be kept over a crash
		err := api.Errorf(api.CodeConflict, "the cable that %s had before is still being taken out", l.name())
		err.Hint = "ask again in a moment"
		return nil, err
	}
	verb := lab.JobConnect
	if req.Wish == lab.WishDown {
		verb = lab.JobDisconnect
	}
	j := c.newJob(verb, l.name())
	if l.desired == req.Wish && l.actual.Matches(req.Wish) {
		return j, nil
	}
	l.desired = req.Wish
	l.retries, l.retryAt = 0, time.Time{}
	l.forgiveDrift()
	l.touch()
	c.saveLink(l)
	j.waitLinks[l] = req.Wish
	return j, nil
}

// linkBetween finds a link by its ends, either way round.
func (c *controller) linkBetween(a, b lab.Endpoint) (*link, error) {
	if l := c.m.links[lab.LinkID(a, b)]; l != nil && !l.remove {
		return l, nil
	}
	return nil, c.noSuchLink(a, b)
}

func (c *controller) noSuchLink(a, b lab.Endpoint) error {
	e := api.Errorf(api.CodeNotFound, "lab %s has no link between %s and %s", c.m.info.Name, a, b)
	var near []string
	for _, l := range c.m.linkOrder {
		for _, end := range l.spec.Ends() {
			if end.Node == a.Node || end.Node == b.Node {
				near = append(near, l.name())
				break
			}
		}
	}
	if len(near) > 0 {
		e.Hint = "its links there are " + strings.Join(first(near, 8), ", ")
	}
	return e
}
