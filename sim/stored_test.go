package sim_test

import (
	"fmt"
	"slices"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
)

// checkStates: a lab is what its nodes are, or not known yet, and what has ended
// does not go on.
func (d *driver) checkStates(s *api.Snapshot) {
	for _, l := range s.Labs {
		counts := lab.Counts{}
		for _, n := range l.Nodes {
			is := n.Actual
			if n.Drift.Held {
				is = lab.NodeError
			}
			counts[is]++
		}
		if is := lab.Aggregate(counts); l.State != is && !l.Destroying && l.State != lab.StateUnknown {
			d.fail("lab %s is said to be %s, and its nodes make it %s", l.Name, l.State, is)
		}
	}
	for _, j := range s.Jobs {
		if d.jobs[j.ID].ended && !j.State.Ended() {
			d.fail("job %s has ended and is %s again", j.ID, j.State)
		}
	}
}

// unstored says what is stored otherwise than it is shown, and checks that the
// store holds together.
func (d *driver) unstored(s *api.Snapshot) error {
	return d.st.View(func(tx *store.Tx) error {
		for _, l := range s.Labs {
			if err := storedAs(tx, l); err != nil {
				return err
			}
		}
		if err := tx.Check(); err != nil {
			d.fail("the store does not hold together: %v", err)
		}
		return nil
	})
}

func storedAs(tx *store.Tx, l *api.Lab) error {
	nodes, err := tx.Nodes(l.Name)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if v := nodeOf(l, n.Name); v == nil || v.Actual != n.Actual || v.Desired != n.Desired {
			return fmt.Errorf("%s/%s is stored as %s, to be %s, and shown as %+v", l.Name, n.Name, n.Actual, n.Desired, v)
		}
	}
	links, err := tx.Links(l.Name)
	if err != nil {
		return err
	}
	for _, k := range links {
		id := lab.LinkID(k.A, k.B)
		at := slices.IndexFunc(l.Links, func(v *api.Link) bool { return v.ID() == id })
		if at < 0 || l.Links[at].Actual != k.Actual || l.Links[at].Desired != k.Desired {
			return fmt.Errorf("%s/%s is stored as %s, to be %s, and shown otherwise", l.Name, id, k.Actual, k.Desired)
		}
	}
	if len(nodes) != len(l.Nodes) || len(links) != len(l.Links) {
		return fmt.Errorf("lab %s is stored with %d nodes and %d links, and shown with %d and %d",
			l.Name, len(nodes), len(links), len(l.Nodes), len(l.Links))
	}
	return nil
}

// checkWishes: what was wished stays so until somebody wishes otherwise, over
// every crash.
func (d *driver) checkWishes(s *api.Snapshot) {
	d.mu.Lock()
	open, failed := false, false
	for _, o := range d.ops {
		open = open || !o.done
		failed = failed || o.done && o.err != nil && api.CodeOf(o.err) == api.CodeFailed
	}
	asked := len(d.ops) > 0
	d.mu.Unlock()
	if open {
		return
	}
	if !asked && s == d.seen {
		return // nothing has changed since
	}
	d.seen = s
	now := wishesOf(s)
	if asked || d.wishes == nil {
		d.wishes = now
		if !failed { // else it may not be stored: a crash may lose it
			d.ops = nil
		}
		return
	}
	for key, wish := range d.wishes {
		if is, ok := now[key]; !ok || is != wish {
			if leaving[wish] {
				continue
			}
			d.fail("%s was wished %s and is wished %q now, though nobody asked", key, wish, is)
		}
	}
	d.wishes = now
}

// leaving are wishes that come true by their subject's vanishing.
var leaving = map[string]bool{"gone": true}

func wishesOf(s *api.Snapshot) map[string]string {
	out := map[string]string{}
	for _, l := range s.Labs {
		gone := l.Destroying
		for _, n := range l.Nodes {
			out[l.Name+"/"+n.Name] = string(n.Desired)
			if gone || n.Leaving {
				out[l.Name+"/"+n.Name] = "gone"
			}
		}
		for _, k := range l.Links {
			out[l.Name+"/"+k.ID()] = string(k.Desired)
			if gone || k.Leaving {
				out[l.Name+"/"+k.ID()] = "gone"
			}
		}
	}
	return out
}
