package ovs

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// What everything of ours carries in its external_ids.
const (
	idOwner = "archetype-owner" // which Archetype it belongs to
	idLab   = "archetype-lab"
	idEnd   = "archetype-end"  // node:interface
	idLink  = "archetype-link" // both ends; absent while the port has no link
	idEpoch = "archetype-epoch"
	idIndex = "archetype-index" // of a tap in the kernel
)

// bridgeRow, portRow, ifaceRow are what we look at in the switch's records.
// A row is never changed once it is in a view: it is replaced.
type bridgeRow struct {
	uuid, name, datapath string
	ports                []string // UUIDs
	ids                  map[string]string
}

func (b *bridgeRow) epoch() int { n, _ := strconv.Atoi(b.ids[idEpoch]); return n }

type portRow struct {
	uuid, name string
	tag        int // 0: none
	mode       string
	ifaces     []string
	ids        map[string]string
}

type ifaceRow struct {
	name   string
	ofport int // 0: not wired by the switch (yet); negative: it could not
	err    string
	up     bool // the switch has seen carrier, and forwards to it
}

// end is one interface of a node of a lab.
type end struct{ lab, end string }

// view is the state of the switch's records: filled at the start of a session
// and kept up to date by it. The session's lock guards it.
type view struct {
	owner   string
	root    string // UUID of the switch's own row
	version string
	limit   string // how many VLAN tags the switch looks at, when not its default
	cfg     int    // the latest configuration that the switch has carried out
	bridges map[string]*bridgeRow
	ports   map[string]*portRow
	ifaces  map[string]*ifaceRow
	ours    map[end]string    // ports of ours
	byName  map[string]string // ports
	on      map[string]string // the bridge of each port
}

func newView(owner string) *view {
	return &view{owner: owner, bridges: map[string]*bridgeRow{}, ports: map[string]*portRow{}, ifaces: map[string]*ifaceRow{},
		ours: map[end]string{}, byName: map[string]string{}, on: map[string]string{}}
}

// monitored are the tables and columns that a view holds.
var monitored = map[string]ovsdb.MonitorRequest{
	"Open_vSwitch": columns("cur_cfg", "ovs_version", "other_config"),
	"Bridge":       columns("name", "datapath_type", "ports", "external_ids"),
	"Port":         columns("name", "tag", "vlan_mode", "interfaces", "external_ids"),
	"Interface":    columns("name", "ofport", "error", "link_state"),
}

func columns(names ...string) ovsdb.MonitorRequest {
	return ovsdb.MonitorRequest{Columns: names, Select: ovsdb.NewDefaultMonitorSelect()}
}

// apply takes an update in and returns the ends that it is about.
func (v *view) apply(updates ovsdb.TableUpdates) map[end]bool {
	about := map[end]bool{}
	for id, u := range updates["Open_vSwitch"] {
		if u.New != nil {
			row := *u.New
			v.root, v.cfg, v.version, v.limit = id, number(row["cur_cfg"]), text(row["ovs_version"]), table(row["other_config"])["vlan-limit"]
		}
	}
	for id, u := range updates["Interface"] {
		if u.New == nil {
			delete(v.ifaces, id)
			continue
		}
		row := *u.New
		i := &ifaceRow{name: text(row["name"]), ofport: number(row["ofport"]), err: text(row["error"]), up: text(row["link_state"]) == "up"}
		v.ifaces[id] = i
		if p := v.ports[v.byName[i.name]]; p != nil {
			v.note(p, about)
		}
	}
	for id, u := range updates["Port"] {
		if old := v.ports[id]; old != nil {
			v.note(old, about)
			v.drop(old)
		}
		if u.New != nil {
			row := *u.New
			p := &portRow{uuid: id, name: text(row["name"]), tag: number(row["tag"]), mode: text(row["vlan_mode"]), ifaces: ids(row["interfaces"]), ids: table(row["external_ids"])}
			v.ports[id] = p
			v.byName[p.name] = id
			if e, ok := v.end(p); ok {
				v.ours[e] = id
			}
			v.note(p, about)
		}
	}
	for id, u := range updates["Bridge"] {
		if old := v.bridges[id]; old != nil {
			for _, p := range old.ports {
				delete(v.on, p)
			}
			delete(v.bridges, id)
		}
		if u.New != nil {
			row := *u.New
			b := &bridgeRow{uuid: id, name: text(row["name"]), datapath: text(row["datapath_type"]),
				ports: ids(row["ports"]), ids: table(row["external_ids"])}
			v.bridges[id] = b
			for _, p := range b.ports {
				v.on[p] = id
			}
		}
	}
	return about
}

func (v *view) drop(p *portRow) {
	delete(v.ports, p.uuid)
	if v.byName[p.name] == p.uuid {
		delete(v.byName, p.name)
	}
	if e, ok := v.end(p); ok && v.ours[e] == p.uuid {
		delete(v.ours, e)
	}
}

func (v *view) note(p *portRow, about map[end]bool) {
	if e, ok := v.end(p); ok {
		about[e] = true
	}
}

// end says which end a port stands for, if it is ours.
func (v *view) end(p *portRow) (end, bool) {
	return end{p.ids[idLab], p.ids[idEnd]}, p.ids[idOwner] == v.owner && p.ids[idEnd] != ""
}

// port returns the port of an end, and nil when there is none.
func (v *view) port(e end) *portRow { return v.ports[v.ours[e]] }

// trouble is why a port carries nothing, or empty.
func (v *view) trouble(p *portRow) string {
	if p.mode != vlanMode {
		return fmt.Sprintf("its VLAN mode is %q and should be %q", p.mode, vlanMode)
	}
	for _, id := range p.ifaces {
		switch i := v.ifaces[id]; {
		case i == nil:
			return "its interface has no record"
		case i.err != "":
			return i.err
		case i.ofport <= 0:
			return "the switch has not taken it in"
		}
	}
	return ""
}

// forwards reports whether the switch sends what is for a port there.
func (v *view) forwards(p *portRow) bool {
	for _, id := range p.ifaces {
		if i := v.ifaces[id]; i == nil || !i.up {
			return false
		}
	}
	return true
}

func (v *view) bridge(name string) *bridgeRow {
	for _, b := range v.bridges {
		if b.name == name {
			return b
		}
	}
	return nil
}

// bridgeOf returns the bridge that a port is on.
func (v *view) bridgeOf(p *portRow) *bridgeRow { return v.bridges[v.on[p.uuid]] }

// The values of OVSDB: a set of one is written like its element, and an
// absent value is an empty set.

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int { f, _ := v.(float64); return int(f) }

func table(v any) map[string]string {
	out := map[string]string{}
	if m, ok := v.(ovsdb.OvsMap); ok {
		for k, val := range m.GoMap {
			out[text(k)] = text(val)
		}
	}
	return out
}

func ids(v any) []string {
	switch v := v.(type) {
	case ovsdb.UUID:
		return []string{v.GoUUID}
	case ovsdb.OvsSet:
		out := make([]string, 0, len(v.GoSet))
		for _, e := range v.GoSet {
			if u, ok := e.(ovsdb.UUID); ok {
				out = append(out, u.GoUUID)
			}
		}
		return out
	}
	return nil
}

func mapOf(m map[string]string) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}
