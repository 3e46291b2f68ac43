package engine

import (
	"fmt"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// bury ends the jobs of this lab that ended with the engine that ran them.
func (c *controller) bury(jobs []store.Job) {
	for _, r := range c.interrupted(jobs) {
		if r.Verb.AtNextStart() == lab.JobBuried {
			c.endJob(c.relisted(r), lab.JobFailed, "the engine that ran it ended before it did; what it has done by then stays done")
		}
	}
	c.checkJobs() // so that they are told of
}

// resume takes up the jobs of this lab that go on.
func (c *controller) resume(jobs []store.Job) {
	for _, r := range c.interrupted(jobs) {
		if r.Verb.AtNextStart() == lab.JobBuried {
			continue
		}
		j := c.relisted(r)
		switch r.Verb {
		case lab.JobDestroy:
			j.whole = true
		case lab.JobSwap:
			j.waitSwap = c.m.info.Network
		default: // what was wished for still is: the job watches it all
			for _, n := range c.m.nodeOrder {
				j.waitNodes[n] = n.desired
			}
			for _, l := range c.m.linkOrder {
				j.waitLinks[l] = l.desired
			}
		}
		c.event(api.Event{Job: j.ID, Text: fmt.Sprintf("%s goes on after the engine was started again", r.Verb)})
		c.begin(j)
	}
}

// interrupted are the jobs of this lab that an earlier engine did not end.
func (c *controller) interrupted(jobs []store.Job) []store.Job {
	var out []store.Job
	for _, r := range jobs {
		if !r.State.Ended() && r.Lab == c.m.info.Name {
			out = append(out, r)
		}
	}
	return out
}

// relisted puts a stored job on the list.
func (c *controller) relisted(r store.Job) *job {
	return c.list(api.Job{ID: r.ID, Lab: r.Lab, Verb: r.Verb, Target: r.Target, Owner: r.Owner, State: r.State, Created: r.Created})
}

// endOrphans ends jobs of labs that are not there any more: their engine ended
// between the two.
func (e *Engine) endOrphans(jobs []store.Job, labs map[string]*controller) {
	for _, r := range jobs {
		if r.State.Ended() || labs[r.Lab] != nil {
			continue
		}
		r.Ended, r.Text = e.now(), ""
		if r.Verb == lab.JobDestroy && r.State.CanTransition(lab.JobCompleted) {
			r.State = lab.JobCompleted
		} else {
			r.State, r.Error = lab.JobFailed, "its lab is not there any more"
		}
		_ = e.persist.put([]record{{put: func(tx *store.Tx) error { return tx.PutJob(r) }}}, false)
		out := shownJob(r)
		e.hub.change(func(s api.Snapshot) api.Snapshot { s.Jobs = withJobs(s.Jobs, []*api.Job{out}); return s })
	}
}

func shownJob(r store.Job) *api.Job {
	return &api.Job{ID: r.ID, Lab: r.Lab, Verb: r.Verb, Target: r.Target, Owner: r.Owner, State: r.State, Done: r.Done,
		Total: r.Total, Error: r.Error, Created: r.Created, Ended: r.Ended, Deadline: r.Deadline}
}
