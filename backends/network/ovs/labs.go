package ovs

import (
	"context"
	"maps"
	"slices"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/internal/whole"
	"archetype/lab"
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
	fars, err := n.farEnds(panel)
	if err != nil {
		return nil, err
	}
	for _, m := range fars {
		found[m.Lab] = true
	}
	labs := make([]string, 0, len(found))
	for name := range found {
		labs = append(labs, name)
	}
	slices.Sort(labs)
	return labs, nil
}

// farEnds says of what the far ends beside the switch are that this Archetype made.
func (n *Network) farEnds(panel *nsnet.NS) (out []mark.Mark, err error) {
	links, err := whole.List(panel.LinkList)
	for _, l := range links {
		m, ok := mark.Parse(l.Attrs().Alias)
		if ok && isFar(m) && l.Attrs().Group == n.group(m.Lab) { // the group is the owner's, too
			out = append(out, m)
		}
	}
	return out, err
}

var _ backends.Inventory = (*Network)(nil)

// Pieces implements backends.Inventory.
func (n *Network) Pieces(ctx context.Context, labName string) ([]backends.Piece, error) {
	s, panel, err := n.look(ctx)
	if err != nil {
		return nil, err
	}
	ends := map[string]bool{}
	s.see(func(v *view) {
		for e := range v.ours {
			if e.lab == labName {
				ends[e.end] = true
			}
		}
	})
	fars, err := n.farEnds(panel)
	if err != nil {
		return nil, err
	}
	for _, m := range fars {
		if m.Lab == labName {
			ends[m.ID] = true
		}
	}
	var out []backends.Piece
	for _, end := range slices.Sorted(maps.Keys(ends)) {
		if e, err := lab.ParseEndpoint(end); err == nil {
			out = append(out, backends.Piece{End: e})
		}
	}
	return out, nil
}

// Discard implements backends.Inventory.
func (n *Network) Discard(ctx context.Context, labName string, p backends.Piece) error {
	return n.DeletePort(ctx, backends.Port{Lab: labName, End: lab.End{Endpoint: p.End}})
}
