package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/fail"
	"archetype/lab"
)

// swapping is how far a lab has come on its way to another network. What is
// wanted stands in the lab's info; where each link is, in the link.
type swapping struct {
	from string // where the links go back to if one cannot be moved
	busy *link  // the one that is on its way: they go one at a time
	gaps []time.Duration
}

// moved is how the move of one link went.
type moved struct {
	to  string
	gap time.Duration // for which nothing crossed, at most
}

// network names what made the link or, when nothing did, what is to make it.
func (l *link) network(c *controller) string {
	if l.net != "" {
		return l.net
	}
	return c.m.info.Network
}

// SetNetwork implements api.Engine.
func (e *Engine) SetNetwork(ctx context.Context, req api.NetworkRequest) (*api.Job, error) {
	if err := e.usableNetwork(ctx, req.Network); err != nil {
		return nil, err
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return nil, err
	}
	var under *api.Job
	if err := c.call(ctx, func(c *controller) error {
		if j := c.swapJob(); j != nil && j.waitSwap == req.Network {
			same := j.Job
			under = &same
		}
		return nil
	}); err != nil || under != nil {
		return under, err
	}
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) { return c.setNetwork(req.Network) })
}

// swapJob is the job that moves the lab's links at the moment, nil where there
// is none.
func (c *controller) swapJob() *job {
	for _, j := range c.jobs {
		if j.waitSwap != "" && !j.State.Ended() {
			return j
		}
	}
	return nil
}

func (c *controller) setNetwork(to string) (*job, error) {
	from := c.m.info.Network
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	for _, name := range []string{from, to} {
		n, _ := c.e.opt.Backends.Network(name)
		if _, ok := n.(backends.Handover); !ok {
			return nil, api.Errorf(api.CodeUnavailable, "links cannot be moved from %s to %s while they are in use", from, to)
		}
	}
	if j := c.swapJob(); j != nil {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being moved to network %s: wait for it, or cancel it with archetype jobs cancel %s", c.m.info.Name, j.waitSwap, j.ID)
	}
	j := c.newJob(lab.JobSwap, from+" to "+to)
	j.waitSwap = to
	if from == to {
		j.Target = to
		return j, nil
	}
	c.m.swap = swapping{from: from}
	c.wantNetwork(to)
	return j, nil
}

// wantNetwork has every link moved to the network given.
func (c *controller) wantNetwork(name string) {
	c.m.info.Network = name
	c.relist = true
	c.saveLab()
	for _, l := range c.m.linkOrder {
		l.touch()
	}
}

// decideSwap moves a link to the lab's network when it is its turn.
func (c *controller) decideSwap(l *link) *effect {
	if c.m.swap.busy != nil || c.wait(l.retryAt) {
		return nil
	}
	for _, n := range []*node{l.a, l.b} {
		if n.busy != nil || c.m.leaving(n) {
			return nil // its end makes the link be looked at again
		}
	}
	c.m.swap.busy = l
	return &effect{verb: doSwap, link: l}
}

func (c *controller) prepareSwap(ef *effect, old backends.Network, both func(context.Context) (backends.Link, error)) func(context.Context) error {
	l := ef.link
	ef.moved.to = c.m.info.Network
	next, ok := c.networkOf(l, ef.moved.to)
	whole, joined := c.bothThere(l), l.actual == lab.LinkUp
	here := [2]bool{l.a.exists, l.b.exists}
	return func(ctx context.Context) error {
		if !ok {
			return fmt.Errorf("network %s: %w", ef.moved.to, backends.ErrUnavailable)
		}
		if err := c.e.use(ef.moved.to); err != nil {
			return err
		}
		bl, err := both(ctx)
		if err != nil && whole {
			return err
		}
		wire := func(ctx context.Context, n backends.Network) error {
			if whole && joined {
				return n.Connect(ctx, bl)
			}
			var errs []error
			for i, p := range []backends.Port{bl.A, bl.B} {
				if here[i] && p.Attachment != (backends.Attachment{}) {
					errs = append(errs, n.Provision(ctx, p))
				}
			}
			return errors.Join(errs...)
		}
		begin := time.Now()
		// The way back has time of its own: what there was may be what ran out.
		back := func(err error, leave ...backends.Network) error {
			ctx, cancel := context.WithTimeout(c.ctx, effectTimeout)
			defer cancel()
			for _, n := range leave {
				err = errors.Join(err, release(ctx, n, bl))
			}
			return errors.Join(err, wire(ctx, old))
		}
		if err := release(ctx, old, bl); err != nil {
			return back(err)
		}
		fail.Point("swap.released")
		if err := wire(ctx, next); err != nil {
			return back(err, next)
		}
		fail.Point("swap.wired")
		ef.moved.gap = time.Since(begin)
		if t, ok := next.(backends.Tagger); ok {
			ef.vlan = t.Tag(bl)
		}
		return nil
	}
}

// release has a network let go of a link, so that another can take it over.
func release(ctx context.Context, n backends.Network, l backends.Link) error {
	h, ok := n.(backends.Handover)
	if !ok {
		return nil
	}
	return h.Release(ctx, l)
}

func (c *controller) swapEnded(ef *effect, err error) {
	l := ef.link
	c.m.swap.busy = nil
	for _, other := range c.m.linkOrder { // the next one's turn
		other.look()
	}
	l.impair.rewired(impairedOf(l.spec)) // also where it has returned
	if err != nil {
		if errors.Is(err, context.Canceled) || c.m.destroying {
			return
		}
		c.nextLinkTry(l)
		if ef.moved.to == c.m.info.Network {
			c.goBack(fmt.Errorf("%s: %s", l.name(), l.reason(err)))
		}
		return
	}
	l.net, l.vlan, l.retries = ef.moved.to, ef.vlan, 0
	c.m.swap.gaps = append(c.m.swap.gaps, ef.moved.gap)
	c.saveLink(l)
	c.event(api.Event{Link: l.name(), Text: fmt.Sprintf("%s moved to %s; nothing crossed for %s",
		l.name(), l.net, ef.moved.gap.Round(100*time.Microsecond))})
}

// goBack has the links that were moved return, because one could not be moved
// or, with nil, because nobody wants it any more.
func (c *controller) goBack(err error) {
	to := c.m.info.Network
	if c.m.swap.from == "" {
		return // it is the way back that fails: tried again and again
	}
	for _, j := range c.jobs {
		if j.waitSwap != "" && !j.State.Ended() && err != nil {
			j.failed = append(j.failed, reason(err)+"; all links go back to "+c.m.swap.from)
			j.waitSwap, j.swapsLeft = "", 0
		}
	}
	text := "not moved to " + to + ": all links go back to " + c.m.swap.from
	if err != nil {
		text += ": " + reason(err)
	}
	c.event(api.Event{Level: api.LevelError, Text: text})
	from := c.m.swap.from
	c.m.swap = swapping{busy: c.m.swap.busy}
	c.wantNetwork(from)
}

func (c *controller) checkSwap(j *job) {
	if j.waitSwap == "" {
		return
	}
	j.swapsLeft = 0
	for _, l := range c.m.linkOrder {
		if l.net != "" && l.net != j.waitSwap && !l.remove && (l.made || len(l.ready) > 0) {
			j.swapsLeft++
		}
	}
	if j.swapsLeft > 0 {
		return
	}
	if n := len(c.m.swap.gaps); n > 0 && c.m.info.Network == j.waitSwap {
		slices.Sort(c.m.swap.gaps)
		j.Result = fmt.Sprintf("%s moved to %s; gap per link: median %s, longest %s", plural(n, "link"),
			j.waitSwap, c.m.swap.gaps[n/2].Round(100*time.Microsecond), c.m.swap.gaps[n-1].Round(100*time.Microsecond))
		c.event(api.Event{Job: j.ID, Text: j.Result})
	}
	c.m.swap.gaps = nil
	if c.m.swap.from != "" && c.m.info.Network == j.waitSwap {
		c.m.swap.from = ""
		c.saveLab()
	}
	j.waitSwap = ""
}
