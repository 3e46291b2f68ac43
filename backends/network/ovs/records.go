package ovs

import (
	"context"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
)

// What follows serves others than the network's own links: ports on bridges
// that somebody else made, and tunnels.

// Transact carries out operations on the switch's records, all or none, and
// returns once the switch has taken them in.
func (n *Network) Transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	s, _, err := n.reach(ctx)
	if err != nil {
		return nil, err
	}
	var root string
	s.see(func(v *view) { root = v.root })
	results, err := s.transact(ctx, append(ops, mutate("Open_vSwitch", root,
		ovsdb.Mutation{Column: "next_cfg", Mutator: ovsdb.MutateOperationAdd, Value: 1}),
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Columns: []string{"next_cfg"}, Where: is(root)}))
	if err != nil {
		return nil, err
	}
	if rows := results[len(ops)+1].Rows; len(rows) == 1 {
		err = n.carriedOut(ctx, s, number(rows[0]["next_cfg"]))
	}
	return results[:len(ops)], err
}

// Root is the UUID of the switch's own record.
func (n *Network) Root(ctx context.Context) (root string, err error) {
	s, err := n.session(ctx)
	if err == nil {
		s.see(func(v *view) { root = v.root })
	}
	return root, err
}

// Place is the path of the namespace that the switch's interfaces are in, and
// the datapath that its bridges have unless somebody chose another.
func (n *Network) Place(ctx context.Context) (netns, datapath string, err error) {
	if _, _, err := n.reach(ctx); err != nil {
		return "", "", err
	}
	return n.namespace(), n.datapath(), nil
}

// HasBridge reports whether the switch has a bridge of that name.
func (n *Network) HasBridge(ctx context.Context, bridge string) (has bool, err error) {
	s, _, err := n.reach(ctx)
	if err == nil {
		s.see(func(v *view) { has = v.bridge(bridge) != nil })
	}
	return has, err
}

// OnBridge reports whether an interface is a port of a bridge.
func (n *Network) OnBridge(ctx context.Context, bridge, port string) (on bool, err error) {
	s, _, err := n.reach(ctx)
	if err == nil {
		s.see(func(v *view) {
			if p := v.ports[v.byName[port]]; p != nil {
				b := v.bridgeOf(p)
				on = b != nil && b.name == bridge
			}
		})
	}
	return on, err
}

// Whole reports whether frames must come to a bridge with their checksums in
// them, because it is served in user space.
func (n *Network) Whole(ctx context.Context, bridge string) bool {
	s, _, err := n.reach(ctx)
	return err == nil && n.userspace(s, bridge)
}

// AddPort puts an interface onto a bridge that somebody else made, marked as
// the lab's. One that is on it is left so.
func (n *Network) AddPort(ctx context.Context, bridge, port, labName string) error {
	s, _, err := n.reach(ctx)
	if err != nil {
		return err
	}
	var on, to *bridgeRow
	var have *portRow
	s.see(func(v *view) {
		to = v.bridge(bridge)
		if have = v.ports[v.byName[port]]; have != nil {
			on = v.bridgeOf(have)
		}
	})
	switch {
	case to == nil:
		return fmt.Errorf("no bridge %s on Open vSwitch (%w)", bridge, backends.ErrUnavailable)
	case on == to:
		return nil
	case have != nil && have.ids[idLab] != labName:
		return fmt.Errorf("port %s is on bridge %s of Open vSwitch already (%w)", port, on.name, backends.ErrConflict)
	}
	var ops []ovsdb.Operation
	if on != nil {
		ops = append(ops, takeOff(on, have))
	}
	ids := mapOf(map[string]string{idOwner: n.owner, idLab: labName})
	ops = append(ops, insert("Interface", "i", ovsdb.Row{"name": port, "external_ids": ids}),
		insert("Port", "p", ovsdb.Row{"name": port, "interfaces": ovsdb.UUID{GoUUID: "i"}, "external_ids": ids}),
		mutate("Bridge", to.uuid, ovsdb.Mutation{Column: "ports", Mutator: ovsdb.MutateOperationInsert, Value: ovsdb.UUID{GoUUID: "p"}}))
	_, err = n.Transact(ctx, ops...)
	return err
}

// DelPort takes it off again; one that is gone, or not ours, is left alone.
func (n *Network) DelPort(ctx context.Context, bridge, port string) error {
	s, _, err := n.reach(ctx)
	if err != nil {
		return err
	}
	var on *bridgeRow
	var have *portRow
	s.see(func(v *view) {
		if have = v.ports[v.byName[port]]; have != nil {
			on = v.bridgeOf(have)
		}
	})
	if have == nil || on == nil || on.name != bridge || have.ids[idOwner] != n.owner {
		return nil
	}
	_, err = n.Transact(ctx, takeOff(on, have))
	return err
}
