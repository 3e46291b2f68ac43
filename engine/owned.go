package engine

import (
	"context"
	"errors"
	"time"

	"archetype/engine/api"
	"archetype/lab"
)

// worth is how long something that its owner waits for takes at least to become
// a job: what ends at once is none.
const worth = time.Second

// owned does something for somebody who waits for it. What takes its time is a
// job, that ends when it has ended, when it is cancelled, or when its owner is
// no more. An engine that ends takes it along: the next one says so.
func (e *Engine) owned(ctx context.Context, v lab.JobVerb, labName, target string, do func(context.Context) error) error {
	c, err := e.controller(labName)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	owner := api.Owner(ctx)
	var j *job // of the controller's
	over := false
	t := time.AfterFunc(worth, func() {
		c.post(func(c *controller) {
			if over || c.gone {
				return
			}
			j = c.newJob(v, target)
			j.Owner, j.State, j.Total, j.Text = owner, lab.JobRunning, 1, "its command"
			j.end = func() { cancel(errCancelled) }
			c.saveJob(&j.Job)
			_ = c.flush(true) // before anybody hears of it: an engine that is killed is to be told of
		})
	})
	err = do(work)
	t.Stop()
	if err != nil && errors.Is(context.Cause(work), errCancelled) {
		err = api.Errorf(api.CodeFailed, "%s %s: %v", v, target, errCancelled)
	}
	left := ctx.Err() != nil
	c.post(func(c *controller) {
		over = true
		switch {
		case j == nil || j.State.Ended():
		case left:
			c.endJob(j, lab.JobFailed, "who asked for it is gone: "+owner)
		case err != nil:
			c.endJob(j, lab.JobFailed, reason(err))
		default:
			j.Done = 1
			c.endJob(j, lab.JobCompleted, "")
		}
	})
	return err
}

var errCancelled = errors.New("its job was cancelled")
