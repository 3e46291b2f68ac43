package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/vendors"
)

const (
	// resubscribe is the pause after a lost stream of events, resubscribeMax
	// after many, where something is made with the provider and where nothing is.
	resubscribe          = time.Second
	resubscribeMax       = 2 * time.Second
	resubscribeUnusedMax = 10 * time.Second
)

// follow keeps subscribed to a provider's events and looks at everything
// whenever the stream was lost, and at an interval.
func (e *Engine) follow(p backends.Provider, events <-chan backends.NodeStatus) {
	tick := e.lookTicks(0)
	defer tick.Stop()
	wait, silence := resubscribe, silence{backend: p.Name()}
	look := func() {
		err := e.look(p)
		silence.note(e, err)
		if err != nil {
			tick.soon(wait) // what happened since is known to nobody
			wait = e.nextPause(p, wait)
			return
		}
		wait = resubscribe
		tick.again()
	}
	for {
		if events == nil {
			var err error
			if events, err = p.Events(e.ctx); err != nil {
				events = nil
				silence.note(e, err)
				if !pause(e.ctx, wait) {
					return
				}
				wait = e.nextPause(p, wait)
				continue
			}
			wait = resubscribe
			look()
		}
		var st backends.NodeStatus
		var open bool
		select { // news first, also that there are no more
		case st, open = <-events:
		default:
			select {
			case st, open = <-events:
			case <-tick.C:
				if !e.hasHeard(p) || !e.Idle() {
					look()
				} else {
					tick.again()
				}
				continue
			case <-e.ctx.Done():
				return
			}
		}
		if !open {
			events = nil
			if !pause(e.ctx, resubscribe) {
				return
			}
			continue
		}
		if c, err := e.controller(st.Ref.Lab); err == nil {
			c.post(func(c *controller) { c.observeNode(p.Name(), st) })
		}
	}
}

// lookTicks are the moments at which everything is looked at; apart keeps two
// sorts of looks from falling together.
type lookTicks struct {
	*time.Ticker
	e            *Engine
	every, apart time.Duration
	hurried      bool // the next comes sooner than it would
}

func (e *Engine) lookTicks(apart time.Duration) *lookTicks {
	every := e.defaults().LookEvery + apart
	return &lookTicks{Ticker: time.NewTicker(every), e: e, every: every, apart: apart}
}

// again heeds what has been chosen since.
func (t *lookTicks) again() {
	if every := t.e.defaults().LookEvery + t.apart; every != t.every || t.hurried {
		t.every, t.hurried = every, false
		t.Reset(every)
	}
}

// soon has the next come after a pause, unless it comes sooner by itself.
func (t *lookTicks) soon(pause time.Duration) {
	if pause < t.every {
		t.hurried = true
		t.Reset(pause)
	}
}

// nextPause is the pause before a provider is asked once more that could not be
// asked after the pause given: it may not be here at all.
func (e *Engine) nextPause(p backends.Provider, before time.Duration) time.Duration {
	most := resubscribeUnusedMax
	if used, _ := e.used(); used[p.Name()] {
		most = resubscribeMax
	}
	return min(2*before, most)
}

// look compares what a provider has with what every lab believes; the first
// time that it can be asked, labs that nobody knows are taken up.
func (e *Engine) look(p backends.Provider) error {
	ctx, cancel := context.WithTimeout(e.ctx, effectTimeout)
	defer cancel()
	began := e.now()
	list, err := p.List(ctx, "")
	if err != nil {
		e.log.Warn("cannot list nodes", "provider", p.Name(), "err", err)
		return err
	}
	e.hear(p, list, began)
	all := byLab(list)
	// In order with the events that follow: what is older must not be heard
	// later.
	for _, c := range e.all() {
		found := all[c.m.info.Name]
		c.post(func(c *controller) { c.observeAll(p, found, began) })
	}
	return nil
}

// all lists the labs, by name.
func (e *Engine) all() []*controller {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*controller, 0, len(e.labs))
	for _, name := range slices.Sorted(maps.Keys(e.labs)) {
		out = append(out, e.labs[name])
	}
	return out
}

// observeAll takes in what a provider has of this lab: of its nodes, and of
// nodes that the lab does not know. It was asked for at the moment given.
func (c *controller) observeAll(p backends.Provider, found map[string]backends.NodeStatus, asked time.Time) {
	for _, n := range c.m.nodeOrder {
		if n.provider != p.Name() || n.busy != nil || !n.done.Before(asked) {
			continue // what is being done to it will tell, or told since
		}
		if st, ok := found[n.spec.Name]; ok {
			if st.Boot == 0 && !st.Running { // another in its place, that was never started
				n.ended, n.boot = max(n.ended, n.boot), 0
			}
			c.observeNode(p.Name(), st)
		} else if n.believed() {
			c.observeNode(p.Name(), backends.NodeStatus{Ref: c.ref(n), Boot: n.boot, Gone: true})
		}
	}
	c.observeExtra(p.Name(), found, asked)
}

// observeExtra notes what bears the lab's label and is no part of it: what an
// interrupted change has left, or a copy that somebody made. It is only
// reported: whose it is cannot be told.
func (c *controller) observeExtra(provider string, found map[string]backends.NodeStatus, asked time.Time) {
	var extra []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if c.isExtra(name, provider, asked) {
			extra = append(extra, name)
		}
	}
	before := c.m.extra[provider]
	if slices.Equal(before, extra) {
		return
	}
	if c.m.extra == nil {
		c.m.extra = map[string][]string{}
	}
	c.m.extra[provider], c.relist = extra, true
	for _, name := range extra {
		if !slices.Contains(before, name) {
			c.event(api.Event{Level: api.LevelWarn, Node: name, Text: fmt.Sprintf(
				"%s has it under this lab's label, though it is no part of the lab: left alone; archetype gc --remove removes it", provider)})
		}
	}
}

// isExtra reports whether what a provider has under a name is no node of the lab:
// there is none, or another provider runs it, which happens where an older backup
// of the store came after a move.
func (c *controller) isExtra(name, provider string, asked time.Time) bool {
	n := c.m.nodes[name]
	switch {
	case c.m.destroying:
		return false
	case n == nil:
		return c.m.parted[name].Before(asked)
	}
	return n.provider != provider && n.busy == nil && n.done.Before(asked)
}

// observeNode takes in what a provider says of a node.
func (c *controller) observeNode(provider string, st backends.NodeStatus) {
	n := c.m.nodes[st.Ref.Node]
	if n == nil || n.provider != provider || st.Boot < n.boot || st.Running && st.Boot > 0 && st.Boot <= n.ended {
		return // of no concern here, or news of an earlier boot
	}
	if n.gated != st.Staged || n.half != st.Unfinished {
		n.gated, n.half = st.Staged, st.Unfinished
		n.touch()
	}
	switch {
	case st.Gone:
		c.observeGone(n)
	case st.Running:
		c.observeRunning(n, st)
	case st.Unfinished:
		c.observeHalf(n)
	case st.Boot > 0 || n.inited || n.actual == lab.NodeRunning:
		c.observeEnded(n, st) // also one made anew that was never started, of which the store knows less
	default:
		n.there()
		c.foundMade(n)
	}
	if !st.Running && !st.Gone && n.exists && n.busy == nil {
		c.observeAmiss(n, st)
	}
}

// observeHalf deals with a node whose making was interrupted.
func (c *controller) observeHalf(n *node) {
	if n.busy == nil && n.actual.Alive() { // made anew, of which the store knows nothing
		c.forgetOld(n)
		c.vanished(n)
		c.drifted(n, "is half made: its making was interrupted")
	}
	n.exists, n.unsure, n.half = false, true, true
	n.touch()
	c.foundMade(n)
}

// there notes that the node exists, which its links may have waited for.
func (n *node) there() {
	if !n.exists {
		n.touch()
	}
	n.exists, n.unsure = true, false
}

// foundMade deals with a node of which more is there than was thought.
func (c *controller) foundMade(n *node) {
	if n.actual == lab.NodeUndeployed && n.busy == nil && !c.leftAlone(n) {
		n.stale = true // made from who knows what
		c.moveNode(n, lab.NodePending)
		n.touch()
	}
}

// believed reports whether the node is thought to exist.
func (n *node) believed() bool {
	return n.exists || n.actual.Alive() || n.actual == lab.NodeStopped
}

func (c *controller) observeGone(n *node) {
	if n.busy.ends() || !n.believed() {
		return // our own doing, or known
	}
	c.forgetOld(n)
	c.vanished(n)
	n.unsure = true // what belongs to it beside itself may be there still
	if !c.m.leaving(n) {
		c.drifted(n, "was removed behind our back")
	}
}

func (c *controller) observeRunning(n *node, st backends.NodeStatus) {
	n.there()
	c.observeHealth(n, st.Health)
	if st.Identifier != "" && n.identifier != st.Identifier {
		n.identifier = st.Identifier
		n.news()
	}
	if n.mgmt4 != st.ManagementIPv4 || n.mgmt6 != st.ManagementIPv6 || n.screen != st.Screen {
		n.mgmt4, n.mgmt6, n.screen = st.ManagementIPv4, st.ManagementIPv6, st.Screen
		n.news()
	}
	if n.pid != st.PID || n.boot != st.Boot {
		again := n.boot != 0 && n.boot != st.Boot && n.inited && !n.fresh && n.busy == nil
		if n.fresh {
			n.look() // a job waits for it
		}
		n.pid, n.boot, n.fresh = st.PID, st.Boot, false
		if n.actual != lab.NodeStarting && n.actual != lab.NodeRunning { // what it shows is how far an earlier boot came
			n.progress, n.line = 0, ""
		}
		if again {
			c.restarted(n)
		}
		n.news()
	}
	if n.busy != nil {
		return
	}
	if !n.inited || n.actual == lab.NodeStopped || n.actual == lab.NodeUndeployed {
		c.foundRunning(n, st)
	}
	c.observePaused(n, st)
	c.observeAmiss(n, st)
}

// foundRunning deals with a node that runs though we did not start it just
// now: an earlier engine did, or somebody else.
func (c *controller) foundRunning(n *node, st backends.NodeStatus) {
	if n.stale && n.made == "" && n.madeAsWished(st) { // before that could be noted
		n.stale, n.made = false, n.hash
	}
	was := n.actual
	switch was {
	case lab.NodeUndeployed, lab.NodeStopped, lab.NodeError:
		c.moveNode(n, lab.NodePending)
		c.moveNode(n, lab.NodeStarting)
	case lab.NodePending:
		c.moveNode(n, lab.NodeStarting)
	}
	n.inited = true
	n.restart = n.restart || n.stale // else it would stay as it was before
	n.touch()
	c.arrived(n)
	if was == lab.NodeStopped && n.desired == lab.WishStopped {
		c.drifted(n, "was started behind our back")
	}
}

// madeAsWished reports whether what a node carries says that it was made from
// what it is to be made from now.
func (n *node) madeAsWished(st backends.NodeStatus) bool {
	var of lab.Node
	err := json.Unmarshal([]byte(st.Labels[labelSpec]), &of)
	return err == nil && hashNode(of, n.config) == n.hash
}

// restarted deals with a node that was started again behind our back: it
// boots, and its links moved with it.
func (c *controller) restarted(n *node) {
	c.warnf(n, "was started again behind our back")
	c.bootOver(n)
	c.moveNode(n, lab.NodeStopped)
	c.moveNode(n, lab.NodePending)
	c.moveNode(n, lab.NodeStarting)
	c.arrived(n)
	n.touch()
}

// observeHealth takes in what a check inside the node found.
func (c *controller) observeHealth(n *node, h backends.Health) {
	if n.health == h {
		return
	}
	was := n.health
	n.health = h
	n.news()
	switch {
	case h == backends.HealthUnhealthy:
		c.warnf(n, "its health check fails")
	case h == backends.HealthHealthy && was == backends.HealthUnhealthy:
		c.infof(n, "its health check succeeds again")
	}
	n.look()
	c.wakeWaiting()
}

// observeEnded deals with a node whose init is not running: as asked, or not.
func (c *controller) observeEnded(n *node, st backends.NodeStatus) {
	n.there()
	n.boot = max(n.boot, st.Boot)
	n.ended = max(n.ended, st.Boot) // late news of it are no news
	if n.busy.ends() && n.busy.verb != doStart {
		return // our own doing
	}
	// One that an earlier engine left running, its provider away since, is news.
	if !n.inited && n.actual != lab.NodeRunning && (n.busy == nil || st.ExitReason == "") {
		c.foundMade(n)
		return // known
	}
	was := n.actual
	c.bootOver(n)
	n.inited, n.pid = false, 0
	n.unreachable()
	n.touch()
	if !was.Alive() {
		return
	}
	why := st.ExitReason
	if why == "" {
		why = "no reason known"
	}
	if was == lab.NodeStopping {
		return
	}
	n.stage.exits++
	c.wakeWaiting()
	if was == lab.NodeStarting {
		c.fail(n, fmt.Errorf("ended while it booted: %s", why))
		c.askLastWords(n)
		return
	}
	c.forgetOld(n)
	c.moveNode(n, lab.NodeStopped)
	c.drifted(n, "ended by itself: "+why)
}

// unreachable notes that the node has no address any more: it does not run.
func (n *node) unreachable() { n.mgmt4, n.mgmt6, n.screen = "", "", "" }

// askLastWords adds to a node's error what it said last: most often the
// reason.
func (c *controller) askLastWords(n *node) {
	p, err := c.provider(n)
	if err != nil {
		return
	}
	ref, before := c.ref(n), n.err
	n.asking = true
	heard := func(text string) {
		c.post(func(c *controller) {
			n.asking = false
			n.look()
			if text != "" && n.err == before && n.actual == lab.NodeError {
				n.err += "; it last said: " + text
				n.failure = n.err
				n.news()
				c.saveNode(n)
				c.errorf(n, "it last said: %s", text)
			}
		})
	}
	c.e.spawn(func() {
		text := ""
		defer func() { heard(text) }()
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		r, err := p.Logs(ctx, ref, backends.LogOptions{Lines: 1, Boot: true})
		if err != nil {
			return
		}
		defer func() { _ = r.Close() }()
		said, err := io.ReadAll(io.LimitReader(r, 4096))
		if err == nil {
			text = vendors.Clean(strings.TrimSpace(string(said)))
		}
	})
}
