package ovs

import (
	"context"
	"slices"

	"archetype/backends/mark"
	"archetype/internal/whole"
)

// Labs lists the labs that have ports on the switch, a bridge of their own, or
// far ends of interfaces beside it, made by this Archetype.
func (n *Network) Labs(ctx context.Context) ([]string, error) {
	s, panel, err := n.look(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	s.see(func(v *view) {
		for e := range v.ours {
			found[e.lab] = true
		}
		for _, b := range v.bridges {
			if b.ids[idOwner] == n.owner && b.ids[idLab] != "" {
				found[b.ids[idLab]] = true
			}
		}
	})
	links, err := whole.List(panel.LinkList)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		m, ok := mark.Parse(l.Attrs().Alias)
		if ok && isFar(m) && l.Attrs().Group == n.group(m.Lab) { // the group is the owner's, too
			found[m.Lab] = true
		}
	}
	labs := make([]string, 0, len(found))
	for name := range found {
		labs = append(labs, name)
	}
	slices.Sort(labs)
	return labs, nil
}
