package api

import "slices"

// Diff returns the update that turns the snapshot old into cur, or nil when
// there is nothing to tell. With old nil the update is Full. Parts are
// compared by identity: snapshots share what did not change.
func Diff(old, cur *Snapshot) *Update {
	u := &Update{Rev: cur.Rev}
	if old == nil {
		u.Full = true
		old = &Snapshot{}
	}
	had := make(map[string]*Lab, len(old.Labs))
	for _, l := range old.Labs {
		had[l.Name] = l
	}
	for _, l := range cur.Labs {
		if prev := had[l.Name]; prev != l {
			u.Labs = append(u.Labs, diffLab(prev, l))
		}
		delete(had, l.Name)
	}
	for name := range had {
		u.Gone = append(u.Gone, name)
	}
	slices.Sort(u.Gone)
	u.Jobs = diffJobs(old.Jobs, cur.Jobs)
	var seen uint64
	if n := len(old.Events); n > 0 {
		seen = old.Events[n-1].Seq
	}
	at := len(cur.Events)
	for at > 0 && cur.Events[at-1].Seq > seen {
		at--
	}
	u.Events = cur.Events[at:]
	if !u.Full && len(u.Labs)+len(u.Gone)+len(u.Jobs)+len(u.Events) == 0 {
		return nil
	}
	return u
}

func diffLab(old, cur *Lab) *LabUpdate {
	u := &LabUpdate{Info: cur.Info, Rev: cur.Rev}
	if old == nil {
		old = &Lab{}
	}
	var sameNodes, sameLinks bool
	u.Nodes, sameNodes = diffItems(old.Nodes, cur.Nodes, func(n *Node) string { return n.Name })
	u.Links, sameLinks = diffItems(old.Links, cur.Links, (*Link).ID)
	if !sameNodes || !sameLinks {
		u.Reordered = true
		for _, n := range cur.Nodes {
			u.NodeOrder = append(u.NodeOrder, n.Name)
		}
		for _, l := range cur.Links {
			u.LinkOrder = append(u.LinkOrder, l.ID())
		}
	}
	return u
}

// diffItems returns the items of cur that old does not share, and whether
// both hold the same keys in the same order.
func diffItems[T any](old, cur []*T, key func(*T) string) (changed []*T, sameOrder bool) {
	sameOrder = len(old) == len(cur)
	if sameOrder {
		for i, v := range cur {
			if old[i] == v {
				continue
			}
			if key(old[i]) != key(v) {
				sameOrder = false
				break
			}
		}
	}
	if sameOrder {
		for i, v := range cur {
			if old[i] != v {
				changed = append(changed, v)
			}
		}
		return changed, true
	}
	have := make(map[*T]bool, len(old))
	for _, v := range old {
		have[v] = true
	}
	for _, v := range cur {
		if !have[v] {
			changed = append(changed, v)
		}
	}
	return changed, false
}

func diffJobs(old, cur []*Job) []*Job {
	have := make(map[*Job]bool, len(old))
	for _, j := range old {
		have[j] = true
	}
	var out []*Job
	for _, j := range cur {
		if !have[j] {
			out = append(out, j)
		}
	}
	return out
}
