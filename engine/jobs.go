package engine

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"archetype/engine/api"
	"archetype/lab"
)

// stalled is how long a job may go without any progress beyond the time that
// its nodes' kinds may take to boot.
const stalled = 3 * time.Minute

// settleTries is how often a step may fail before a job stops waiting for it.
// Enforcement goes on trying after that.
const settleTries = 3

// hearWithin is how long a job waits for the news of a boot that it has begun:
// whoever waited for the job finds the node's process and addresses then. It is
// no longer than that, for news can be lost.
const hearWithin = 5 * time.Second

// job is work somebody asked for: a set of nodes and links that are to arrive
// somewhere. The work itself is done by reconciliation; the job watches it.
type job struct {
	api.Job
	waitNodes map[*node]lab.NodeWish
	waitLinks map[*link]lab.LinkWish
	waitGone  map[string]bool // names of nodes that are to vanish
	// waitImpair are links that are to suffer what is given.
	waitImpair map[*link]impaired
	waitSwap   string // the network that is to make all links
	swapsLeft  int
	whole      bool           // the lab itself is to vanish
	staying    map[*node]bool // those of its nodes that have not yet
	failed     []string
	patience   time.Duration
	moved      bool
	all        bool   // nothing of it has been checked yet
	shared     shared // with the job that it waits for
	end        func() // of one whose owner waits for its end: cancels it
	names      roll   // what it waits for, by name
}

// newJob makes a job and puts it on the list.
func (c *controller) newJob(v lab.JobVerb, target string) *job {
	return c.list(api.Job{ID: c.e.nextJob(), Lab: c.m.info.Name, Verb: v, Target: target, State: lab.JobPending, Created: c.e.now()})
}

// list puts a job on the list that waits for nothing yet.
func (c *controller) list(what api.Job) *job {
	j := &job{Job: what,
		waitNodes: map[*node]lab.NodeWish{}, waitLinks: map[*link]lab.LinkWish{},
		waitGone: map[string]bool{}, waitImpair: map[*link]impaired{}, patience: stalled, moved: true}
	c.jobs = append(c.jobs, j)
	return j
}

// begin fixes what the job is about and stores it.
func (c *controller) begin(j *job) *api.Job {
	c.checkSwap(j)
	for n := range j.waitNodes {
		j.patience = max(j.patience, stalled+c.bootTimeout(n))
	}
	if j.whole {
		j.staying = map[*node]bool{}
		for _, n := range c.m.nodeOrder {
			if c.stays(n) {
				j.staying[n] = true
			}
		}
	}
	j.Total, j.all = j.left(), true
	j.names.fill(j)
	if j.State == lab.JobRunning || !c.queued(j) { // one that goes on, or need not wait
		j.Deadline = c.e.now().Add(j.patience)
	}
	c.saveJob(&j.Job)
	c.checkJobs()
	out := j.Job
	return &out
}

func (c *controller) bootTimeout(n *node) time.Duration {
	if n.kind != nil && n.kind.Readiness.Timeout > 0 {
		return time.Duration(n.kind.Readiness.Timeout)
	}
	return c.e.defaults().BootTimeout
}

func (j *job) left() int {
	n := len(j.waitNodes) + len(j.waitLinks) + len(j.waitGone) + len(j.waitImpair) + j.swapsLeft
	if j.whole {
		n += 1 + len(j.staying)
	}
	return n
}

// checkJobs looks at how far each job has come.
func (c *controller) checkJobs() {
	for _, j := range c.jobs {
		if j.State.Ended() || j.end != nil {
			continue
		}
		c.checkNodes(j)
		c.checkLinks(j)
		j.all = false
		c.checkImpairments(j)
		c.checkSwap(j)
		j.Total = max(j.Total, j.left()) // more links may be to be moved than at first
		if j.State == lab.JobPending && c.queued(j) {
			continue
		}
		if done := j.Total - j.left(); done != j.Done {
			j.Done, j.moved = done, true
			j.Deadline = c.e.now().Add(j.patience)
		}
		if text := j.names.String(); text != j.Text {
			j.Text, j.moved = text, true
		}
		switch {
		case j.left() == 0 && len(j.failed) > 0:
			c.endJob(j, lab.JobFailed, strings.Join(first(j.failed, 5), "; "))
		case j.left() == 0:
			c.endJob(j, lab.JobCompleted, "")
		case c.wait(j.Deadline):
		default:
			c.endJob(j, lab.JobFailed, strings.Join(append([]string{"no progress for " + j.patience.String() + "; still waits for " + j.names.String()}, j.why()...), "; "))
		}
	}
	c.jobs = slices.DeleteFunc(c.jobs, func(j *job) bool {
		if j.moved {
			j.moved = false
			out := j.Job
			c.jobOut = append(c.jobOut, &out)
		}
		return j.State.Ended()
	})
}

// why is what keeps the foremost of what a job still waits for, where that is known.
func (j *job) why() []string {
	var nodes, links []string
	for n := range allOf(j.waitNodes, j.staying) {
		if why := either(n.err, either(n.failure, n.text)); why != "" {
			nodes = append(nodes, n.spec.Name+": "+why)
		}
	}
	for l := range j.waitLinks {
		if l.err != "" {
			links = append(links, "link "+l.name()+": "+l.err)
		}
	}
	slices.Sort(nodes)
	slices.Sort(links)
	return first(append(nodes, links...), 3)
}

// allOf are the nodes that are to arrive somewhere, and those that are to go.
func allOf(arriving map[*node]lab.NodeWish, going map[*node]bool) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for n := range arriving {
			if !yield(n) {
				return
			}
		}
		for n := range going {
			if !yield(n) {
				return
			}
		}
	}
}

func (c *controller) checkNodes(j *job) {
	nodes := c.m.due.seenNodes // the others are as they were
	if j.all {
		nodes = slices.Collect(maps.Keys(j.waitNodes))
	}
	for _, n := range nodes {
		wish, waited := j.waitNodes[n]
		switch {
		case !waited:
		case n.desired != wish || n.remove:
			delete(j.waitNodes, n) // somebody wished otherwise since
		case n.actual == lab.NodeRunning && n.fresh && n.hearBy.After(c.e.now()):
		case n.actual.Matches(wish) && n.amiss == "" && !n.restart && !n.rebuild && (!n.stale || wish == lab.WishStopped):
			delete(j.waitNodes, n)
		case c.outlasts(j):
		case c.leftAlone(n):
			delete(j.waitNodes, n)
			j.failed = append(j.failed, n.spec.Name+": "+n.drift.what+", and is left alone: the policy for drift is "+string(c.m.info.Policy))
		case (n.actual == lab.NodeError || n.actual == lab.NodePaused || n.amiss != "") && n.settled():
			delete(j.waitNodes, n)
			j.failed = append(j.failed, n.spec.Name+": "+n.err)
		default:
			if other := c.inVain(n, nil); other != nil {
				delete(j.waitNodes, n)
				j.failed = append(j.failed, n.spec.Name+": waits for "+other.spec.Name)
			}
		}
	}
	if j.all || c.relist {
		maps.DeleteFunc(j.waitGone, func(name string, _ bool) bool {
			n := c.m.nodes[name]
			return n == nil || !n.remove
		})
	}
	if j.whole {
		for _, n := range c.m.due.seenNodes {
			if !c.stays(n) {
				delete(j.staying, n)
			}
		}
	}
	switch {
	case j.whole && (c.gone || !c.m.destroying):
		j.whole = false
	case j.whole && c.cleanTries >= settleTries:
		j.whole = false
		j.failed = append(j.failed, "clean-up: "+c.cleanError+"; it is tried again and again")
	}
}

func (c *controller) checkLinks(j *job) {
	links := c.m.due.seenLinks
	if j.all {
		links = slices.Collect(maps.Keys(j.waitLinks))
	}
	for _, l := range links {
		wish, waited := j.waitLinks[l]
		if !waited {
			continue
		}
		blocked := ""
		for _, n := range []*node{l.a, l.b} {
			if !n.exists && (n.failed() || n.desired == lab.WishStopped) {
				blocked = n.spec.Name
			} else if other := c.inVain(n, nil); other != nil {
				blocked = other.spec.Name
			}
		}
		switch {
		case l.desired != wish || l.remove:
			delete(j.waitLinks, l)
		case l.actual.Matches(wish) && (l.made || wish == lab.WishDown) && l.former == nil && l.busy == nil:
			delete(j.waitLinks, l)
		case c.outlasts(j):
		case c.linkLeftAlone(l):
			delete(j.waitLinks, l)
			j.failed = append(j.failed, "link "+l.name()+": "+l.drift.what+", and is left alone: the policy for drift is "+string(c.m.info.Policy))
		case l.actual == lab.LinkError && l.busy == nil && l.retries >= settleTries:
			delete(j.waitLinks, l)
			j.failed = append(j.failed, "link "+l.name()+": "+l.err)
		case j.Verb == lab.JobMend && c.half(l) && c.lacking(l) == nil:
			delete(j.waitLinks, l) // as whole as it can be
		case j.Verb == lab.JobMend && !c.bothThere(l) && c.lacking(l) != nil: // an interface of it is being made
		case blocked != "":
			delete(j.waitLinks, l)
			j.failed = append(j.failed, "link "+l.name()+": waits for "+blocked)
		}
	}
}

// stays reports whether something of a node that is to vanish may be there.
func (c *controller) stays(n *node) bool {
	return n.busy != nil || n.exists || n.unsure || n.actual != lab.NodeUndeployed
}

func first(s []string, n int) []string {
	if len(s) <= n {
		return s
	}
	return append(slices.Clone(s[:n]), fmt.Sprintf("and %d more", len(s)-n))
}

func (c *controller) endJob(j *job, to lab.JobState, text string) {
	j.State, j.Ended, j.Error, j.Text, j.moved = to, c.e.now(), text, "", true
	c.saveJob(&j.Job)
	took := j.Took(j.Ended).Round(10 * time.Millisecond)
	ev := api.Event{Job: j.ID}
	what := strings.TrimSpace(string(j.Verb) + " " + j.Target)
	switch to {
	case lab.JobCompleted:
		ev.Text = fmt.Sprintf("%s done in %s", what, took)
	case lab.JobCancelled:
		ev.Level, ev.Text = api.LevelWarn, what+" cancelled"
	default:
		ev.Level, ev.Text = api.LevelError, fmt.Sprintf("%s failed after %s: %s", what, took, text)
	}
	c.event(ev)
}

// dropJob ends a job whose subject is going away.
func (c *controller) dropJob(j *job) {
	if j.State.Ended() {
		return
	}
	j.waitNodes, j.waitLinks, j.waitGone, j.waitImpair, j.waitSwap, j.swapsLeft = nil, nil, nil, nil, "", 0
	if j.end != nil {
		j.end()
	}
	c.endJob(j, lab.JobCancelled, "")
}

// takeOut makes a link no part of the lab any more.
func (c *controller) takeOut(l *link) {
	top := &c.m.topology
	other := func(x lab.Link) bool { return x.ID() == l.id }
	top.Links = slices.DeleteFunc(slices.Clone(top.Links), other)
	top.Outside = slices.DeleteFunc(slices.Clone(top.Outside), other)
	c.saveLab()
	l.remove = true
	l.touch()
}

// cancelJob withdraws what the job still waits for: starts and restarts that
// have not arrived are withdrawn, stops and removals not yet done are not
// done. What has arrived stays.
func (c *controller) cancelJob(id string) error {
	at := slices.IndexFunc(c.jobs, func(j *job) bool { return j.ID == id })
	if at < 0 {
		return api.Errorf(api.CodeNotFound, "job %s is not running", id)
	}
	j := c.jobs[at]
	if j.end != nil {
		c.dropJob(j)
		return nil
	}
	if j.whole && (c.cleaning || c.cleanTries > 0) {
		return api.Errorf(api.CodeConflict, "it is too late to cancel job %s: nothing is left of the lab", id)
	}
	for n, wish := range j.waitNodes {
		n.restart = false
		if c.wantedByOthers(j, shared{node: n}) {
			n.touch()
			continue
		}
		if wish == lab.WishRunning && n.actual != lab.NodeRunning {
			n.desired = lab.WishStopped
		} else if wish == lab.WishStopped && n.actual == lab.NodeRunning {
			n.desired = lab.WishRunning
		}
		n.touch()
		c.saveNode(n)
	}
	for l, wish := range j.waitLinks {
		if wish != lab.WishUp || l.actual == lab.LinkUp || j.Verb != lab.JobConnect || c.wantedByOthers(j, shared{link: l}) {
			continue
		}
		if l.displaced() { // nothing of it could be stored yet: it has never been
			c.takeOut(l)
		} else {
			l.desired = lab.WishDown
			l.touch()
			c.saveLink(l)
		}
	}
	if j.whole && c.m.destroying {
		c.m.destroying = false
		for _, n := range c.m.nodeOrder {
			if n.actual != lab.NodeRunning {
				n.desired = lab.WishStopped // what was taken down stays down
			}
			n.touch()
			c.saveNode(n)
		}
		c.saveLab()
	}
	if j.waitSwap != "" {
		c.goBack(nil)
	}
	j.waitNodes, j.waitLinks, j.waitGone, j.waitImpair, j.whole = nil, nil, nil, nil, false
	c.endJob(j, lab.JobCancelled, "")
	return nil
}
