package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"archetype/daemon"
	"archetype/engine/api"
	"archetype/lab"
)

// shower tells a person or a script what happens.
type shower interface {
	plan(*api.Plan)
	// update is given what changed in the lab that is worked on, and the job.
	update(snap *api.Snapshot, u *api.Update, job *api.Job)
	// end is given how it ended; bad are the nodes and links that are not
	// as they should be.
	end(job *api.Job, l *api.Lab, badNodes []*api.Node, badLinks []*api.Link)
}

// follower asks for a job and stays with it until it ends, over a restart of
// the engine if need be.
type follower struct {
	app  *app
	show shower
	job  *api.Job
	snap *api.Snapshot
}

func (f *follower) run(ctx context.Context, ask func(api.Engine) (*api.Job, error)) error {
	c, err := f.app.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_ = c.Close()
		if f.snap != nil && len(f.snap.Labs) == 0 {
			c.Settle(ctx)
		}
	}()
	updates, err := c.Watch(ctx)
	if err != nil {
		return err
	}
	if f.job, err = ask(c); err != nil {
		f.snap, _ = c.Snapshot(ctx)
		return err
	}
	for lost := 0; ; lost++ {
		ended, err := f.watch(updates, lost > 0)
		if err != nil {
			return err
		}
		if ended {
			return f.result()
		}
		if ctx.Err() != nil {
			return f.left(ctx)
		}
		if lost == 5 {
			return api.Errorf(api.CodeLost, "the engine ended again and again; its log is %s", f.app.s.Log())
		}
		again, err := f.again(ctx)
		if err != nil {
			return err
		}
		_ = c.Close()
		c = again
		if updates, err = c.Watch(ctx); err != nil {
			return err
		}
	}
}

// again connects to the engine that comes after the one that ended. Somebody
// else's is not for us to start: it is waited for.
func (f *follower) again(ctx context.Context) (*daemon.Client, error) {
	for tries := 0; ; tries++ {
		c, err := f.app.connect(ctx)
		if err == nil || !f.app.s.Guest() || api.CodeOf(err) != api.CodeUnavailable || tries == 60 {
			return c, err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// left explains what happens when nobody waits any longer.
func (f *follower) left(ctx context.Context) error {
	why := "interrupted"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = "not ended in time"
	}
	return fmt.Errorf("%s: the %s of %s goes on; archetype inspect %s shows how far it is", why, f.job.Verb, f.job.Lab, f.job.Lab)
}

// watch stays with the job until it ends or the engine does. Another engine
// knows the job from its first word on, or never will.
func (f *follower) watch(updates <-chan *api.Update, another bool) (ended bool, _ error) {
	for u := range updates {
		f.snap = f.snap.Apply(u)
		known := !another
		for _, j := range f.snap.Jobs {
			if j.ID == f.job.ID && j.Created.Equal(f.job.Created) {
				f.job, known = j, true
			}
		}
		if !known {
			return false, api.Errorf(api.CodeLost, "the %s of %s is not known any more: the store was lost while it went on; archetype inspect %s shows what there is", f.job.Verb, f.job.Lab, f.job.Lab)
		}
		another = false
		f.show.update(f.snap, u, f.job)
		if f.job.State.Ended() {
			return true, nil
		}
	}
	return false, nil
}

func (f *follower) result() error {
	l := f.snap.Lab(f.job.Lab)
	var nodes []*api.Node
	var links []*api.Link
	if l != nil && f.job.Verb == lab.JobDeploy {
		for _, n := range l.Nodes {
			if !n.Actual.Matches(n.Desired) {
				nodes = append(nodes, n)
			}
		}
		for _, k := range l.Links {
			if !k.Actual.Matches(k.Desired) {
				links = append(links, k)
			}
		}
	}
	f.show.end(f.job, l, nodes, links)
	if f.job.State != lab.JobCompleted || len(nodes)+len(links) > 0 {
		return codeError(exitFailed)
	}
	return nil
}

func clock(t time.Time) string { return t.Local().Format("15:04:05") }
