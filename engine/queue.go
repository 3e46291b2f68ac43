package engine

import (
	"fmt"
	"slices"
	"strings"

	"archetype/lab"
)

// Jobs of a lab that are about the same nodes or links run one after the other,
// in the order they were asked for; a later one waits in the state pending, and
// says for which. What it wishes is noted at once all the same, so that a stop
// takes effect while a start is under way: that start then waits for it no
// more. Jobs about different things, or of different labs, run side by side. A
// destruction goes before all.

// shared is a node or a link that a job and one before it are both about.
type shared struct {
	node *node
	link *link
}

// needs reports whether the job still waits for a node or link. One that is
// wished to be something else since is waited for no more.
func (j *job) needs(s shared) bool {
	if s.node != nil {
		wish, ok := j.waitNodes[s.node]
		return ok && wish == s.node.desired
	}
	if s.link == nil {
		return false
	}
	wish, wired := j.waitLinks[s.link]
	_, impaired := j.waitImpair[s.link]
	return wired && wish == s.link.desired || impaired
}

// wantedByOthers reports whether another job waits for the same, so that it is
// not to be withdrawn with this one.
func (c *controller) wantedByOthers(j *job, s shared) bool {
	return slices.ContainsFunc(c.jobs, func(a *job) bool { return a != j && !a.State.Ended() && a.needs(s) })
}

// behind reports whether the job has to wait for an earlier one. What they
// share is kept, so that it is looked for but once for each thing.
func (j *job) behind(a *job) bool {
	links := len(j.waitLinks)+len(j.waitImpair) > 0
	switch {
	case j.whole || a.State.Ended() || a.end != nil:
		return false
	case a.waitSwap != "" && (links || j.waitSwap != ""), j.waitSwap != "" && len(a.waitLinks)+len(a.waitImpair) > 0:
		return true
	case j.needs(j.shared) && a.needs(j.shared):
		return true
	}
	for n := range j.waitNodes {
		if j.shared = (shared{node: n}); a.needs(j.shared) {
			return true
		}
	}
	for l := range j.waitLinks {
		if j.shared = (shared{link: l}); a.needs(j.shared) {
			return true
		}
	}
	for l := range j.waitImpair {
		if j.shared = (shared{link: l}); a.needs(j.shared) {
			return true
		}
	}
	j.shared = shared{}
	return false
}

// ahead is the job that this one waits for, nil when it may run.
func (c *controller) ahead(j *job) *job {
	for _, a := range c.jobs {
		if a == j {
			return nil
		}
		if j.behind(a) {
			return a
		}
	}
	return nil
}

// queued deals with a job that has not begun: it begins, or says what it waits
// for, and then waits on.
func (c *controller) queued(j *job) (waits bool) {
	if a := c.ahead(j); a != nil {
		text := fmt.Sprintf("%s (%s)", a.ID, strings.TrimSpace(string(a.Verb)+" "+a.Target))
		if text != j.Text {
			j.Text, j.moved = text, true
		}
		return true
	}
	j.State, j.moved = lab.JobRunning, true
	j.Deadline = c.e.now().Add(j.patience)
	c.saveJob(&j.Job)
	return false
}
