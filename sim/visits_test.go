package sim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
)

// visit is a request of a user who wishes for nothing, and may hang up before it
// is answered.
type visit struct {
	what   string
	sweeps bool // it may remove what no lab owns
	done   bool
	cancel context.CancelFunc
}

// visit has something run in a node, or what no lab owns looked for.
func (d *driver) visit(e *engine.Engine, l *api.Lab) {
	if d.rng.IntN(2) == 0 || len(l.Nodes) == 0 {
		remove := d.rng.IntN(2) == 0
		d.call(fmt.Sprintf("gc remove=%v", remove), remove, func(ctx context.Context) error {
			_, err := e.Strays(ctx, api.StraysRequest{Remove: remove})
			return err
		})
		return
	}
	node := l.Nodes[d.rng.IntN(len(l.Nodes))].Name
	d.call("exec "+l.Name+"/"+node, false, func(ctx context.Context) error {
		_, err := e.Exec(ctx, l.Name, node, backends.ExecRequest{Command: []string{"true"}})
		return err
	})
}

func (d *driver) call(what string, sweeps bool, do func(context.Context) error) {
	ctx, cancel := context.WithCancel(api.WithOwner(context.Background(), "somebody"))
	v := &visit{what: what, sweeps: sweeps, cancel: cancel}
	d.visits = append(d.visits, v)
	d.note("call: %s", what)
	word, _, _ := strings.Cut(what, " ")
	d.count("wish: " + word)
	go func() {
		defer cancel()
		_ = do(ctx)
		d.mu.Lock()
		v.done = true
		d.mu.Unlock()
	}()
}

// open are the visits that are not over.
func (d *driver) open() []*visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.visits = slices.DeleteFunc(d.visits, func(v *visit) bool { return v.done })
	return d.visits
}

// hangUp has one of them end before it is answered.
func (d *driver) hangUp(all []*visit) {
	v := all[d.rng.IntN(len(all))]
	d.count("client hangs up")
	d.note("hangs up: %s", v.what)
	v.cancel()
}

// removes notes that a node that is no part of a lab is to be removed; d.mu is
// held.
func (d *driver) removes(lab string) {
	if !slices.ContainsFunc(d.visits, func(v *visit) bool { return v.sweeps && !v.done }) {
		d.removed = append(d.removed, lab)
	}
}

// checkRemoved: what is no part of a lab is removed by gc, or goes with the lab.
func (d *driver) checkRemoved(s *api.Snapshot) {
	d.mu.Lock()
	labs := d.removed
	d.removed = nil
	d.mu.Unlock()
	for _, name := range labs {
		if l := s.Lab(name); l != nil && !l.Destroying {
			d.fail("%s/%s is removed, though nobody asked for it", name, stray)
		}
	}
}
