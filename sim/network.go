package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"archetype/backends"
	"archetype/lab"
)

// Network is one of the world's two networks.
type Network struct {
	w    *World
	name string
}

// Networks returns the world's networks, the cables first.
func (w *World) Networks() []*Network { return []*Network{{w, CableName}, {w, SwitchName}} }

// Name is CableName or SwitchName.
func (n *Network) Name() string { return n.name }

// Available says that it is, and what it is.
func (n *Network) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true, Detail: "simulated: links are made up"}
}

// Initialize has nothing to do.
func (n *Network) Initialize(context.Context, string) error { return nil }

func (n *Network) call(verb, labName, on string) Call {
	return Call{Backend: n.name, Verb: verb, Lab: labName, On: on}
}

// Cleanup removes what is left of a lab's links and ports of this network.
func (n *Network) Cleanup(ctx context.Context, labName string) error {
	return n.w.do(ctx, n.call("cleanup", labName, ""), func(half bool) error {
		for k, l := range n.w.wires {
			if k.lab == labName && l.network == n.name {
				delete(n.w.wires, k)
			}
		}
		for k, name := range n.w.ports {
			if k.lab == labName && name == n.name && !half {
				delete(n.w.ports, k)
			}
		}
		return nil
	})
}

// exists is an error when a port's node is not there; w.mu is held.
func (n *Network) exists(p backends.Port) error {
	if p.Outside == nil && n.w.nodes[backends.NodeRef{Lab: p.Lab, Node: p.End.Node}] == nil {
		return fmt.Errorf("%s: %w", p.End.Endpoint, backends.ErrNotFound)
	}
	return nil
}

// wired finds another link than the one given that has the end.
func (n *Network) wired(labName, id string, end lab.Endpoint) (wireKey, *wire) {
	k := n.w.latest[portKey{labName, end}]
	if l := n.w.wires[k]; l != nil && k.id != id {
		return k, l
	}
	return wireKey{}, nil
}

// Provision makes an isolated interface.
func (n *Network) Provision(ctx context.Context, p backends.Port) error {
	return n.w.do(ctx, n.call("provision", p.Lab, p.End.String()), func(half bool) error {
		if err := n.exists(p); err != nil {
			return err
		}
		for k, l := range n.w.wires { // what it was part of is cut
			if k.lab == p.Lab && (l.a == p.End.Endpoint || l.b == p.End.Endpoint) {
				n.part(k, l)
			}
		}
		if !half {
			n.w.ports[portKey{p.Lab, p.End.Endpoint}] = n.name
		}
		return nil
	})
}

// part makes of a link what is left of it when its ends are separated.
func (n *Network) part(k wireKey, l *wire) {
	delete(n.w.wires, k)
	n.w.leave(k, l)
}

// Connect wires both ends to each other.
func (n *Network) Connect(ctx context.Context, bl backends.Link) error {
	return n.w.do(ctx, n.call("connect", bl.Lab, bl.ID()), func(half bool) error {
		k := wireKey{bl.Lab, bl.ID()}
		for _, p := range []backends.Port{bl.A, bl.B} {
			if err := n.exists(p); err != nil {
				return err
			}
			if other, l := n.wired(bl.Lab, k.id, p.End.Endpoint); l != nil { // taken out, as real networks do
				n.part(other, l)
			}
			if half {
				n.w.ports[portKey{p.Lab, p.End.Endpoint}] = n.name
				return nil
			}
		}
		for _, p := range []backends.Port{bl.A, bl.B} {
			delete(n.w.ports, portKey{p.Lab, p.End.Endpoint})
			n.w.latest[portKey{p.Lab, p.End.Endpoint}] = k
		}
		l := n.w.wires[k]
		if l == nil || l.network != n.name {
			l = &wire{a: bl.A.End.Endpoint, b: bl.B.End.Endpoint, network: n.name, tunnel: bl.B.Outside != nil}
			n.w.wires[k] = l
		}
		if !l.connected || l.carrier != lab.CarrierOn {
			l.connected, l.carrier, l.why = true, lab.CarrierOn, ""
			n.w.tellLink(n.name, l.status(k))
		}
		return nil
	})
}

// Disconnect cuts the cable.
func (n *Network) Disconnect(ctx context.Context, bl backends.Link) error {
	return n.w.do(ctx, n.call("disconnect", bl.Lab, bl.ID()), func(bool) error {
		k := wireKey{bl.Lab, bl.ID()}
		l := n.w.wires[k]
		if l == nil {
			return fmt.Errorf("%s: %w", k.id, backends.ErrNotFound)
		}
		if l.connected || l.why != "" {
			l.connected, l.why = false, ""
			n.w.tellLink(n.name, l.status(k))
		}
		return nil
	})
}

// DeleteLink removes the link and its interfaces.
func (n *Network) DeleteLink(ctx context.Context, bl backends.Link) error {
	return n.w.do(ctx, n.call("delete", bl.Lab, bl.ID()), func(half bool) error {
		k := wireKey{bl.Lab, bl.ID()}
		if l := n.w.wires[k]; l != nil {
			n.part(k, l)
			n.w.tellLink(n.name, backends.LinkStatus{Lab: k.lab, ID: k.id, Gone: true, Carrier: lab.CarrierOff})
		}
		if half { // the interfaces stay
			return nil
		}
		for _, p := range []backends.Port{bl.A, bl.B} {
			pk := portKey{p.Lab, p.End.Endpoint}
			if p.Keep && p.Outside == nil && n.exists(p) == nil {
				n.w.ports[pk] = n.name
			} else if _, l := n.wired(bl.Lab, k.id, p.End.Endpoint); !p.Keep && l == nil {
				delete(n.w.ports, pk)
			}
		}
		return nil
	})
}

// DeletePort removes an isolated interface.
func (n *Network) DeletePort(ctx context.Context, p backends.Port) error {
	return n.w.do(ctx, n.call("deleteport", p.Lab, p.End.String()), func(bool) error {
		delete(n.w.ports, portKey{p.Lab, p.End.Endpoint})
		return nil
	})
}

// Impair notes what each direction suffers.
func (n *Network) Impair(ctx context.Context, bl backends.Link) error {
	return n.w.do(ctx, n.call("impair", bl.Lab, bl.ID()), func(half bool) error {
		l := n.w.wires[wireKey{bl.Lab, bl.ID()}]
		if l == nil {
			return backends.ErrNotFound
		}
		before := l.impair[1]
		l.impair = [2]lab.Impairment{bl.A.End.Impair, bl.B.End.Impair}
		if l.a != bl.A.End.Endpoint {
			l.impair[0], l.impair[1] = l.impair[1], l.impair[0]
		}
		if half {
			l.impair[1] = before
		}
		return nil
	})
}

// Release leaves the interfaces to another network.
func (n *Network) Release(ctx context.Context, bl backends.Link) error {
	return n.w.do(ctx, n.call("release", bl.Lab, bl.ID()), func(bool) error {
		k := wireKey{bl.Lab, bl.ID()}
		if l := n.w.wires[k]; l != nil && l.network == n.name {
			n.part(k, l)
		}
		return nil
	})
}

// State tells what there is of a link.
func (n *Network) State(ctx context.Context, bl backends.Link) (st backends.LinkStatus, err error) {
	err = n.w.do(ctx, n.call("state", bl.Lab, bl.ID()), func(bool) error {
		k := wireKey{bl.Lab, bl.ID()}
		if l := n.w.wires[k]; l != nil && l.network == n.name {
			st = l.status(k)
			return nil
		}
		st = backends.LinkStatus{Lab: k.lab, ID: k.id, Carrier: lab.CarrierOff}
		for i, p := range []backends.Port{bl.A, bl.B} {
			st.Ends[i] = n.w.ports[portKey{p.Lab, p.End.Endpoint}] == n.name
		}
		if !st.OneEnd() {
			return backends.ErrNotFound
		}
		return nil
	})
	return st, err
}

// Labs lists the labs that have links of this network.
func (n *Network) Labs(context.Context) ([]string, error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	found := map[string]bool{}
	for k, l := range n.w.wires {
		if l.network == n.name {
			found[k.lab] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Events reports what links do.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	s, err := n.w.subscribe(ctx, n.name)
	if err != nil {
		return nil, err
	}
	return s.link, nil
}
