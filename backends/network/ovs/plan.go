package ovs

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
)

// tags are the VLAN tags that a bridge has: 0 and 4095 mean something else.
const (
	firstTag = 1
	lastTag  = 4094
)

// vlanMode has a port's frames carried with whatever tags they have.
const vlanMode = "dot1q-tunnel"

// ExhaustedError is a bridge that has no VLAN tag left.
type ExhaustedError struct {
	Bridge string
	Shared bool // it serves all labs
}

func (e *ExhaustedError) Error() string {
	fix := "split the lab in two"
	if e.Shared {
		fix = "give each lab a bridge of its own (ovs: {mode: dedicated} in settings.yaml), or destroy a lab"
	}
	return fmt.Sprintf("bridge %s has no VLAN tag left: each link and each interface without one takes one of %d; %s",
		e.Bridge, lastTag, fix)
}

// Unwrap makes it one of the errors that the engine knows.
func (e *ExhaustedError) Unwrap() error { return backends.ErrUnavailable }

// plan is what one transaction is to make of one bridge.
type plan struct {
	v     *view
	name  string
	lab   string // whose bridge it is; empty: everybody's
	row   *bridgeRow
	used  [lastTag + 2]int // how many ports have each tag
	next  int              // no tag below it is free
	ports map[end]*planned
	gone  []string   // UUIDs of ports to be removed
	away  []*portRow // on other bridges, to be removed there
	drop  bool       // the bridge itself goes, if nothing of anybody is left on it
}

// planned is a port as it shall be.
type planned struct {
	was  *portRow // nil: it is new
	end  end
	name string
	link string
	tag  int // 0: none found
	tap  int // its index in the kernel; 0: it is no tap
}

func newPlan(v *view, name, lab string) *plan {
	p := &plan{v: v, name: name, lab: lab, row: v.bridge(name), next: firstTag, ports: map[end]*planned{}}
	if p.row == nil {
		return p
	}
	for _, id := range p.row.ports {
		row := v.ports[id]
		if row == nil {
			continue
		}
		if row.tag > 0 {
			p.used[row.tag]++
		}
		if e, ok := v.end(row); ok {
			p.ports[e] = &planned{was: row, end: e, name: row.name, link: row.ids[idLink], tag: row.tag}
		}
	}
	return p
}

// port plans the port of an end, with the interface of that name.
func (p *plan) port(e end, name string) *planned {
	have := p.ports[e]
	if have != nil && have.name == name {
		return have
	}
	n := &planned{end: e, name: name}
	switch row := p.v.ports[p.v.byName[name]]; {
	case have != nil: // its interface was made anew: so is the port
		n.tag = have.tag // which goes from the one to the other
		if have.was != nil {
			p.gone = append(p.gone, have.was.uuid)
		}
	case row == nil:
	case p.v.bridgeOf(row) == p.row: // somebody took our marks from it
		n.was, n.tag = row, row.tag
	default: // somebody put it elsewhere
		p.away = append(p.away, row)
	}
	p.ports[e] = n
	return n
}

// at plans the port of a side that is attached.
func (p *plan) at(s *side, far string) *planned {
	x := p.port(endOf(s.Port), far)
	x.tap = s.index()
	return x
}

// remove plans a port's end.
func (p *plan) remove(e end) {
	have := p.ports[e]
	if have == nil {
		return
	}
	p.take(have, 0)
	delete(p.ports, e)
	if have.was != nil {
		p.gone = append(p.gone, have.was.uuid)
	}
}

func (p *plan) take(port *planned, tag int) {
	if port.tag > 0 {
		p.used[port.tag]--
		p.next = min(p.next, port.tag)
	}
	port.tag = tag
	if tag > 0 {
		p.used[tag]++
	}
}

func (p *plan) free() (int, error) {
	for ; p.next <= lastTag; p.next++ {
		if p.used[p.next] == 0 {
			return p.next, nil
		}
	}
	return 0, &ExhaustedError{Bridge: p.name, Shared: p.lab == ""}
}

// join gives two ports one tag that nobody else has. A port that was alone on
// its tag brings it along.
func (p *plan) join(a, b *planned, link string) error {
	alone := func(x, other *planned) bool {
		return x.tag >= firstTag && x.tag <= lastTag && (p.used[x.tag] == 1 || p.used[x.tag] == 2 && other.tag == x.tag)
	}
	var tag int
	switch {
	case alone(a, b):
		tag = a.tag
	case alone(b, a):
		tag = b.tag
	default:
		var err error
		if tag, err = p.free(); err != nil {
			return err
		}
	}
	p.take(a, tag)
	p.take(b, tag)
	a.link, b.link = link, link
	return nil
}

// isolate gives a port a tag of its own.
func (p *plan) isolate(x *planned, link string) error {
	x.link = link
	if x.tag >= firstTag && p.used[x.tag] == 1 {
		return nil
	}
	tag, err := p.free()
	if err != nil {
		return err
	}
	p.take(x, tag)
	return nil
}

// operations are what turns the bridge that is into the one that is planned.
// They fail as a whole when somebody else changed it meanwhile: a tag must
// not be handed out twice.
func (p *plan) operations(owner, datapath string) []ovsdb.Operation {
	var ops []ovsdb.Operation
	var added []any
	for _, x := range p.ports {
		switch {
		case x.tag == 0: // no tag was left for it
		case x.was == nil:
			name := "p" + strconv.Itoa(len(added))
			added = append(added, ovsdb.UUID{GoUUID: name})
			ops = append(ops,
				insert("Interface", "i"+name, ovsdb.Row{"name": x.name, "external_ids": mapOf(x.ids(owner, nil))}),
				insert("Port", name, ovsdb.Row{"name": x.name, "interfaces": ovsdb.UUID{GoUUID: "i" + name}, "tag": x.tag,
					"vlan_mode": vlanMode, "external_ids": mapOf(x.ids(owner, nil))}))
		case x.was.tag != x.tag || x.was.mode != vlanMode || !maps.Equal(x.was.ids, x.ids(owner, x.was.ids)):
			ops = append(ops, ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: "Port", Where: is(x.was.uuid),
				Row: ovsdb.Row{"tag": x.tag, "vlan_mode": vlanMode, "external_ids": mapOf(x.ids(owner, x.was.ids))}})
		}
	}
	for _, row := range p.away {
		if b := p.v.bridgeOf(row); b != nil {
			ops = append(ops, takeOff(b, row))
		}
	}
	if p.row == nil {
		if len(added) == 0 {
			return nil
		}
		return append(p.create(owner, datapath, added), ops...)
	}
	if len(ops) == 0 && len(p.gone) == 0 && !p.drop {
		return nil
	}
	guard := ovsdb.Operation{Op: ovsdb.OperationWait, Table: "Bridge", Where: is(p.row.uuid), Columns: []string{"external_ids"},
		Until: "==", Rows: []ovsdb.Row{{"external_ids": mapOf(p.row.ids)}}, Timeout: new(int)}
	if p.drop && p.empty() {
		guard.Columns = append(guard.Columns, "ports")
		guard.Rows[0]["ports"] = uuids(p.row.ports)
		return append([]ovsdb.Operation{guard}, mutate("Open_vSwitch", p.v.root,
			ovsdb.Mutation{Column: "bridges", Mutator: ovsdb.MutateOperationDelete, Value: uuids([]string{p.row.uuid})}))
	}
	epoch := strconv.Itoa(p.row.epoch() + 1)
	ops = append([]ovsdb.Operation{guard, {Op: ovsdb.OperationUpdate, Table: "Bridge", Where: is(p.row.uuid),
		Row: ovsdb.Row{"external_ids": mapOf(with(p.row.ids, idEpoch, epoch))}}}, ops...)
	var m []ovsdb.Mutation
	if len(p.gone) > 0 {
		m = append(m, ovsdb.Mutation{Column: "ports", Mutator: ovsdb.MutateOperationDelete, Value: uuids(p.gone)})
	}
	if len(added) > 0 {
		m = append(m, ovsdb.Mutation{Column: "ports", Mutator: ovsdb.MutateOperationInsert, Value: ovsdb.OvsSet{GoSet: added}})
	}
	if len(m) > 0 {
		ops = append(ops, mutate("Bridge", p.row.uuid, m...))
	}
	return ops
}

// empty reports whether nothing but its own port is left on the bridge.
func (p *plan) empty() bool {
	gone := map[string]bool{}
	for _, id := range p.gone {
		gone[id] = true
	}
	for _, id := range p.row.ports {
		if row := p.v.ports[id]; !gone[id] && (row == nil || row.name != p.name) {
			return false
		}
	}
	return len(p.ports) == 0
}

// create makes the bridge. It is a bundle of cables, so it learns no
// addresses, keeps no frame to itself, and takes part in nothing.
func (p *plan) create(owner, datapath string, ports []any) []ovsdb.Operation {
	name := map[string]string{idOwner: "shared", idEpoch: "1"}
	if p.lab != "" {
		name[idOwner], name[idLab] = owner, p.lab
	}
	all := make([]any, 0, lastTag+2)
	for tag := range lastTag + 2 {
		all = append(all, tag)
	}
	ports = append(ports, ovsdb.UUID{GoUUID: "own"})
	return []ovsdb.Operation{
		{Op: ovsdb.OperationWait, Table: "Bridge", Where: []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, p.name)},
			Columns: []string{"name"}, Until: "!=", Rows: []ovsdb.Row{{"name": p.name}}, Timeout: new(int)},
		insert("Interface", "iown", ovsdb.Row{"name": p.name, "type": "internal"}),
		// The bridge's own port would be flooded with everything.
		insert("Port", "own", ovsdb.Row{"name": p.name, "interfaces": ovsdb.UUID{GoUUID: "iown"}, "vlan_mode": "trunk", "trunks": 0}),
		insert("Bridge", "bridge", ovsdb.Row{"name": p.name, "datapath_type": datapath, "ports": ovsdb.OvsSet{GoSet: ports},
			"flood_vlans": ovsdb.OvsSet{GoSet: all}, "external_ids": mapOf(name), "mcast_snooping_enable": false,
			"other_config": mapOf(map[string]string{"forward-bpdu": "true"})}),
		mutate("Open_vSwitch", p.v.root, ovsdb.Mutation{Column: "bridges", Mutator: ovsdb.MutateOperationInsert,
			Value: ovsdb.UUID{GoUUID: "bridge"}}),
	}
}

// ids are a port's, with what others wrote there.
func (x *planned) ids(owner string, have map[string]string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	out[idOwner], out[idLab], out[idEnd] = owner, x.end.lab, x.end.end
	if x.tap > 0 {
		out[idIndex] = strconv.Itoa(x.tap)
	}
	if x.link == "" {
		delete(out, idLink)
	} else {
		out[idLink] = x.link
	}
	return out
}

func insert(table, name string, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: name, Row: row}
}

func mutate(table, id string, m ...ovsdb.Mutation) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: table, Where: is(id), Mutations: m}
}

// takeOff removes a port from a bridge, and with that from the switch.
func takeOff(b *bridgeRow, port *portRow) ovsdb.Operation {
	return mutate("Bridge", b.uuid, ovsdb.Mutation{Column: "ports", Mutator: ovsdb.MutateOperationDelete, Value: uuids([]string{port.uuid})})
}

func is(id string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: id})}
}

func uuids(ids []string) ovsdb.OvsSet {
	out := ovsdb.OvsSet{GoSet: make([]any, len(ids))}
	for i, id := range ids {
		out.GoSet[i] = ovsdb.UUID{GoUUID: id}
	}
	return out
}
