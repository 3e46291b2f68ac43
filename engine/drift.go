package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// Drift is what is otherwise than wanted though nobody has asked for it: a
// node that died, was removed, paused or renamed, a link that came apart. It is
// noted on the node or link. What follows is the lab's policy: either the next
// decision sets it right, or it is held until somebody acts.

// drift is one thing that is otherwise than wanted.
type drift struct {
	what string // empty: all is as wanted, or on its way there
	left bool   // the user was asked, and leaves it so
}

// leftAlone reports whether the node is left alone as it is.
func (c *controller) leftAlone(n *node) bool { return n.drift.what != "" && c.m.info.Policy.Holds() }

func (c *controller) linkLeftAlone(l *link) bool {
	return l.drift.what != "" && c.m.info.Policy.Holds()
}

// drifted notes that a node is otherwise than wanted, which it has become just
// now, and plans when it is set right.
func (c *controller) drifted(n *node, what string) {
	// What a job was at when its engine ended goes on: nobody is asked about it.
	goesOn := c.midway && c.m.info.Policy.Holds() && n.amiss == "" && n.actual != lab.NodePaused
	if n.actual.Matches(n.desired) && n.amiss == "" || c.m.leaving(n) || n.restart || goesOn {
		c.warnf(n, "%s", what)
		return
	}
	n.drift = drift{what: what}
	c.nextTry(n)
	if n.actual != lab.NodeRunning {
		n.err = what
	}
	c.warnf(n, "%s; %s", what, c.consequence(n.retryAt, n.retries))
	n.touch()
	c.saveNode(n)
	c.wakeWaiting()
}

// consequence says what the policy makes of a drift.
func (c *controller) consequence(at time.Time, tries int) string {
	switch c.m.info.Policy {
	case lab.PolicyReport:
		return "left alone: set it right with archetype drift fix " + c.m.info.Name
	case lab.PolicyAsk:
		return "set right or left alone? archetype drift fix or leave " + c.m.info.Name
	}
	return "set right " + c.whenAgain(at, tries)
}

// forgiveDrift notes that somebody acts, or that all is as wanted.
func (n *node) forgiveDrift() {
	if n.drift.what != "" {
		n.drift = drift{}
		n.touch()
	}
	for _, l := range n.links {
		l.forgiveDrift()
	}
}

func (l *link) forgiveDrift() {
	if l.drift.what != "" {
		l.drift = drift{}
		l.retryAt = time.Time{}
		l.touch()
	}
}

// linkDrifted deals with a link that came apart. It is wired again at once; one
// that does not hold for as long as its pause is by now waits as one that failed.
func (c *controller) linkDrifted(l *link, why string) {
	l.unmade()
	c.linkIsOtherwise(l, "came apart behind our back: "+why, "wired again", lab.LinkDown, lab.LinkPending)
}

// linkJoined deals with a link that is cut, and that somebody else has joined.
func (c *controller) linkJoined(l *link) {
	c.linkIsOtherwise(l, "was joined behind our back", "cut again", lab.LinkUp, lab.LinkUp)
}

// linkDriftedMeanwhile notes what somebody did to a link while no engine ran, and
// reports whether there was anything. What a job was at when its engine ended may
// look the same, and goes on.
func (c *controller) linkDriftedMeanwhile(l *link, st backends.LinkStatus) bool {
	if c.midway || c.found || c.m.destroying || c.m.swap.from != "" || l.remove || l.former != nil || c.linkLeftAlone(l) {
		return false
	}
	for _, n := range l.ends() {
		if c.m.leaving(n) || n.restart || n.actual != lab.NodeRunning && n.actual != lab.NodePaused {
			return false
		}
	}
	const meanwhile = " while no engine ran"
	switch crosses := st.Connected && !st.Gone; {
	case l.actual == lab.LinkUp && l.desired == lab.WishUp && !crosses:
		what := "came apart" + meanwhile + ": " + either(st.Reason, "an interface of it was removed")
		c.linkIsOtherwise(l, what, "wired again", lab.LinkDown, lab.LinkPending)
	case l.actual == lab.LinkDown && l.desired == lab.WishDown && crosses:
		l.made, l.carrier, l.vlan = true, st.Carrier, st.VLAN
		c.linkIsOtherwise(l, "was joined"+meanwhile, "cut again", lab.LinkUp, lab.LinkUp)
	default:
		return false
	}
	return true
}

// linkIsOtherwise notes what a link has become just now, and what follows: the
// state in which it is left alone, and that in which it is set right at once.
func (c *controller) linkIsOtherwise(l *link, what, remedy string, held, now lab.LinkState) {
	if l.actual != lab.LinkError && c.linkHeld(l) {
		l.retries = 0
	}
	again := l.retries > 0
	move := func(to lab.LinkState) {
		if l.actual.CanTransition(to) {
			c.moveLink(l, to)
		}
	}
	l.drift = drift{what: what}
	switch {
	case c.linkLeftAlone(l):
		c.setLinkError(l, what)
		move(held)
		remedy = c.consequence(time.Time{}, 0)
	case again && l.actual != lab.LinkError:
		c.nextLinkTry(l)
		c.setLinkError(l, what)
		move(lab.LinkError)
		remedy += " " + c.whenAgain(l.retryAt, l.retries)
	default:
		l.retries++
		move(now)
	}
	c.event(api.Event{Level: api.LevelWarn, Link: l.name(), Text: fmt.Sprintf("%s %s; %s", l.name(), what, remedy)})
	c.saveLink(l)
	l.touch()
}

// linkWhole takes a link as it is that came apart, was left alone, and has been
// joined again by somebody else.
func (c *controller) linkWhole(l *link, st backends.LinkStatus) {
	l.made, l.carrier, l.vlan, l.net = true, st.Carrier, st.VLAN, l.network(c)
	l.impair.unsure = l.spec.Impaired()
	l.forgiveDrift()
	if l.actual == lab.LinkError { // what was tried meanwhile has failed
		c.moveLink(l, lab.LinkPending)
	}
	if l.actual == lab.LinkPending {
		c.moveLink(l, lab.LinkCreating)
	}
	c.moveLink(l, lab.LinkUp)
	c.event(api.Event{Link: l.name(), Text: l.name() + " is whole again"})
}

// observePaused takes in whether a node that runs is paused.
func (c *controller) observePaused(n *node, st backends.NodeStatus) {
	switch {
	case st.Paused && (n.actual == lab.NodeRunning || n.actual == lab.NodeStarting):
		c.forgetOld(n)
		c.bootOver(n)
		c.moveNode(n, lab.NodePaused)
		c.drifted(n, "was paused")
	case !st.Paused && n.actual == lab.NodePaused:
		c.resumed(n)
		c.infof(n, "is paused no more")
	}
}

// resumed goes on with a node that was paused from where it was.
func (c *controller) resumed(n *node) {
	to := lab.NodeStarting
	if n.progress == 100 {
		to = lab.NodeRunning
	}
	c.moveNode(n, to)
	n.touch()
}

// observeAmiss takes in whether the provider calls the node as it was made, and
// whether it is in its management network.
func (c *controller) observeAmiss(n *node, st backends.NodeStatus) {
	n.identifier = either(st.Identifier, n.identifier)
	what := ""
	switch {
	case st.Renamed:
		what = "was renamed to " + n.identifier
	case st.Severed:
		what = "was taken out of its management network"
	}
	if what == n.amiss {
		return
	}
	was := n.amiss
	n.amiss = what
	n.news()
	switch {
	case what != "":
		c.drifted(n, what)
	case n.actual == lab.NodeRunning:
		n.forgiveDrift()
		c.infof(n, "is as it was again: it %s", was)
	}
}

// held is how long a node has to have run, at least, for earlier failures not to
// put off the next try: else one whose init ends after a second or two would
// never wait longer.
const held = 10 * time.Second

// forgetOld forgets the tries of before, where the node has been well since, or
// for longer than it would have to wait now.
func (c *controller) forgetOld(n *node) {
	now := c.e.now()
	pause := c.pauseAfter(n.retries+1, c.m.info.Name+"/"+n.spec.Name, now)
	if n.actual == lab.NodeRunning && now.Sub(n.since) > min(max(held, pause), c.e.defaults().Retry.Healthy) {
		n.retries = 0
	}
}

// decideMend sets right what was done to a node that exists: it was paused,
// renamed, or taken out of its management network.
func (c *controller) decideMend(n *node) *effect {
	if c.leftAlone(n) || n.permanent || c.wait(n.retryAt) {
		return nil
	}
	return &effect{verb: doMend, node: n}
}

func (c *controller) mendEnded(n *node, err error) {
	switch {
	case errors.Is(err, backends.ErrNotFound):
		c.observeGone(n)
		return
	case errors.Is(err, backends.ErrRestart):
		n.amiss, n.restart = "", true
		c.infof(n, "is restarted to be set right: %s", reason(err))
		return
	case err != nil:
		n.permanent = errors.Is(err, backends.ErrUnsupported)
		c.nextTry(n)
		n.err = n.reason(err)
		c.errorf(n, "cannot be set right: %s; next try %s", n.err, c.whenAgain(n.retryAt, n.retries))
		return
	}
	n.amiss, n.err = "", ""
	if n.actual == lab.NodePaused {
		c.resumed(n)
	}
	n.forgiveDrift()
	c.infof(n, "set right")
	c.saveNode(n)
}

// SetPolicy implements api.Engine.
func (e *Engine) SetPolicy(ctx context.Context, req api.PolicyRequest) error {
	if !req.Policy.Valid() {
		return badPolicy(req.Policy)
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return err
	}
	return c.call(ctx, func(c *controller) error { c.setPolicy(req.Policy); return nil })
}

func badPolicy(p lab.Policy) error {
	err := api.Errorf(api.CodeUsage, "there is no policy %q for drift", p)
	for _, v := range lab.Policies() {
		err.Hint = strings.TrimPrefix(err.Hint+" or "+string(v), " or ")
	}
	err.Hint = "it is " + err.Hint
	return err
}

func (c *controller) setPolicy(p lab.Policy) {
	if p == "" || p == c.m.info.Policy {
		return
	}
	c.m.info.Policy = p
	c.relist = true
	c.saveLab()
	c.event(api.Event{Text: "policy for drift: " + string(p)})
	for _, n := range c.m.nodeOrder {
		if n.drift.what != "" {
			n.drift.left = false
			n.touch()
		}
	}
	for _, l := range c.m.linkOrder {
		if l.drift.what != "" {
			l.drift.left = false
			l.touch()
		}
	}
}

// SetDrift implements api.Engine.
func (e *Engine) SetDrift(ctx context.Context, req api.DriftRequest) (*api.Job, error) {
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) { return c.setDrift(req) })
}

// setDrift sets right what has drifted, or leaves it so.
func (c *controller) setDrift(req api.DriftRequest) (*job, error) {
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	nodes, links, target, err := c.driftOf(req)
	if err != nil {
		return nil, err
	}
	verb := lab.JobMend
	if req.Leave {
		verb = lab.JobLeave
	}
	j := c.newJob(verb, target)
	for _, n := range nodes {
		switch {
		case n.drift.what == "":
		case req.Leave:
			n.drift.left = true
			n.news()
			c.saveNode(n)
		default:
			for _, l := range n.links {
				if l.drift.what != "" {
					links = append(links, l)
				}
			}
			n.forgive()
			n.touch()
			c.saveNode(n)
			j.waitNodes[n] = n.desired
		}
	}
	for _, l := range links {
		switch {
		case l.drift.what == "":
		case req.Leave:
			l.drift.left = true
			l.news()
			c.saveLink(l)
		default:
			l.retries = 0
			l.forgiveDrift()
			c.saveLink(l)
			j.waitLinks[l] = l.desired
		}
	}
	return j, nil
}

// driftOf finds what a request is about: with nothing named, all of the lab.
func (c *controller) driftOf(req api.DriftRequest) (nodes []*node, links []*link, target string, err error) {
	names := req.Nodes
	if len(req.Nodes)+len(req.Links) == 0 {
		return c.m.nodeOrder, c.m.linkOrder, "", nil
	}
	if len(req.Nodes) > 0 {
		if nodes, err = c.named(req.Nodes); err != nil {
			return nil, nil, "", err
		}
	}
	for _, ends := range req.Links {
		l, err := c.linkBetween(ends[0], ends[1])
		if err != nil {
			return nil, nil, "", err
		}
		links, names = append(links, l), append(names, l.name())
	}
	return nodes, links, strings.Join(first(names, 3), ", "), nil
}
