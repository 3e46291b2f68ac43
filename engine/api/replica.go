package api

import (
	"cmp"
	"slices"

	"archetype/lab"
)

// How much of the past a snapshot carries.
const (
	KeepJobs   = 50
	KeepEvents = 1000
)

// Apply returns the snapshot that s becomes by u. Neither is modified, and
// what u does not touch is shared with s. s may be nil when u is Full.
func (s *Snapshot) Apply(u *Update) *Snapshot {
	if s == nil || u.Full {
		s = &Snapshot{}
	}
	out := &Snapshot{Rev: u.Rev, Labs: s.Labs, Jobs: s.Jobs, Events: s.Events}
	if len(u.Labs) > 0 || len(u.Gone) > 0 {
		out.Labs = applyLabs(s.Labs, u)
	}
	if len(u.Jobs) > 0 {
		out.Jobs = applyJobs(s.Jobs, u.Jobs)
	}
	if len(u.Events) > 0 {
		all := make([]*Event, 0, len(s.Events)+len(u.Events))
		all = append(append(all, s.Events...), u.Events...)
		if n := len(all) - KeepEvents; n > 0 {
			all = all[n:]
		}
		out.Events = all
	}
	return out
}

func applyLabs(old []*Lab, u *Update) []*Lab {
	gone := map[string]bool{}
	for _, g := range u.Gone {
		gone[g] = true
	}
	changed := map[string]*LabUpdate{}
	for _, l := range u.Labs {
		changed[l.Name] = l
	}
	var out []*Lab
	for _, l := range old {
		if c := changed[l.Name]; c != nil {
			out = append(out, l.apply(c))
			delete(changed, l.Name)
		} else if !gone[l.Name] {
			out = append(out, l)
		}
	}
	for _, c := range u.Labs { // those that are new, each to its place by name
		if changed[c.Name] == nil {
			continue
		}
		at := 0
		for at < len(out) && out[at].Name < c.Name {
			at++
		}
		out = append(out[:at], append([]*Lab{(&Lab{}).apply(c)}, out[at:]...)...)
	}
	return out
}

func (l *Lab) apply(c *LabUpdate) *Lab {
	out := &Lab{Info: c.Info, Rev: c.Rev, Nodes: l.Nodes, Links: l.Links}
	var nodeOrder, linkOrder []string
	if c.Reordered {
		nodeOrder, linkOrder = c.NodeOrder, c.LinkOrder
	}
	if c.Reordered || len(c.Nodes) > 0 {
		out.Nodes = merge(l.Nodes, c.Nodes, nodeOrder, c.Reordered, func(n *Node) string { return n.Name })
	}
	if c.Reordered || len(c.Links) > 0 {
		out.Links = merge(l.Links, c.Links, linkOrder, c.Reordered, (*Link).ID)
	}
	return out
}

// ID is the identity of the link within its lab.
func (l *Link) ID() string {
	a, errA := lab.ParseEndpoint(l.A)
	b, errB := lab.ParseEndpoint(l.B)
	if errA != nil || errB != nil {
		return l.A + "|" + l.B
	}
	return lab.LinkID(a, b)
}

// merge puts the changed items over the old ones. Without a new order each
// keeps its place; an item that has none goes last.
func merge[T any](old, changed []*T, order []string, reordered bool, key func(*T) string) []*T {
	if !reordered {
		at := make(map[string]int, len(old))
		for i, v := range old {
			at[key(v)] = i
		}
		out := append(make([]*T, 0, len(old)), old...)
		for _, v := range changed {
			if i, ok := at[key(v)]; ok {
				out[i] = v
			} else { // it may come more than once: the last one counts
				at[key(v)] = len(out)
				out = append(out, v)
			}
		}
		return out
	}
	have := make(map[string]*T, len(old)+len(changed))
	for _, v := range old {
		have[key(v)] = v
	}
	for _, v := range changed {
		have[key(v)] = v
	}
	out := make([]*T, 0, len(order))
	for _, k := range order {
		if v := have[k]; v != nil {
			out = append(out, v)
		}
	}
	return out
}

func applyJobs(old, changed []*Job) []*Job {
	out := merge(old, changed, nil, false, func(j *Job) string { return j.ID })
	// Labs tell of theirs each in its own time: the order is that of the asking.
	slices.SortStableFunc(out, func(a, b *Job) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	for len(out) > KeepJobs {
		at := -1
		for i, j := range out {
			if j.State.Ended() {
				at = i
				break
			}
		}
		if at < 0 {
			break
		}
		out = append(out[:at], out[at+1:]...)
	}
	return out
}
