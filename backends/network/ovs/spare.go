package ovs

import (
	"context"

	"archetype/backends"
)

const (
	sparePort   = "port"
	spareBridge = "bridge"
)

var _ backends.Sweeper = (*Network)(nil)

// Unused implements backends.Sweeper: ports of ours on bridges that somebody
// else made, and the bridge for all labs when nothing is left on it.
func (n *Network) Unused(ctx context.Context, labName string) (out []backends.Spare, _ error) {
	s, _, err := n.look(ctx)
	if err != nil {
		return nil, err
	}
	s.see(func(v *view) {
		for _, p := range v.ports {
			if spare := (backends.Spare{Type: sparePort, Name: p.name, Lab: p.ids[idLab]}); n.guest(p) && (labName == "" || labName == spare.Lab) {
				out = append(out, spare)
			}
		}
		for _, b := range v.bridges {
			if labName == "" && n.vacant(v, b) {
				out = append(out, backends.Spare{Type: spareBridge, Name: b.name})
			}
		}
	})
	return out, nil
}

// guest reports whether a port is ours and no link's of this network.
func (n *Network) guest(p *portRow) bool {
	return p.ids[idOwner] == n.owner && p.ids[idLab] != "" && p.ids[idEnd] == ""
}

// vacant reports whether a bridge is for all labs, and has no port but its own.
func (n *Network) vacant(v *view, b *bridgeRow) bool {
	if b.ids[idOwner] != "shared" {
		return false
	}
	for _, id := range b.ports {
		if p := v.ports[id]; p == nil || p.name != b.name {
			return false
		}
	}
	return true
}

// Sweep implements backends.Sweeper.
func (n *Network) Sweep(ctx context.Context, spare backends.Spare) error {
	s, _, err := n.reach(ctx)
	if err != nil {
		return err
	}
	if spare.Type == spareBridge {
		return n.writer.do(&request{ctx: ctx, bridge: spare.Name, plan: func(p *plan) error {
			p.drop = true
			return nil
		}})
	}
	var bridge string
	s.see(func(v *view) {
		if p := v.ports[v.byName[spare.Name]]; p != nil && n.guest(p) {
			if b := v.bridgeOf(p); b != nil {
				bridge = b.name
			}
		}
	})
	if bridge == "" {
		return nil // another's, by now
	}
	return n.DelPort(ctx, bridge, spare.Name)
}
