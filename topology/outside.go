package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"archetype/lab"
)

// special are names of ends in the brief form that stand for something else
// than a node.
var special = []string{"host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch"}

// linkType is a type of the extended form.
type linkType struct {
	construct
	outside bool // one end in the lab, given by endpoint
}

// linkTypes begins with the one between two nodes.
var linkTypes = []linkType{
	{construct{"veth", served, "between two nodes; the brief form is this one"}, false},
	{construct{"veth-stitch", served, "the same as `veth`: every link can be watched and impaired"}, false},
	{construct{"host", served, "an interface on the machine; of an ordinary user's lab, in the user namespace around it"}, true},
	{construct{"mgmt-net", served, "a port of the management network's bridge, which `mgmt: bridge` must name"}, true},
	{construct{"macvlan", served, "upon an interface of the machine, in any mode"}, true},
	{construct{"dummy", served, "an interface without a peer"}, true},
	{construct{"vxlan", served, "a tunnel that ends in the node"}, true},
	{construct{"vxlan-stitch", served, "a tunnel that ends on the machine"}, true},
}

// bridgeEnds are ends at nodes that are bridges of the machine.
var bridgeEnds = []construct{
	{"bridge", served, "a port of the machine's own bridge"},
	{"ovs-bridge", served, "a port of the machine's own Open vSwitch bridge"},
}

// fieldsOfTypes are the fields that only some types have.
var fieldsOfTypes = map[string][]string{
	"endpoints":        {"veth", "veth-stitch"},
	"endpoint":         {"host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch"},
	"host-interface":   {"host", "mgmt-net", "macvlan"},
	"mode":             {"macvlan"},
	"remote":           {"vxlan", "vxlan-stitch"},
	"vni":              {"vxlan", "vxlan-stitch"},
	"dst-port":         {"vxlan", "vxlan-stitch"},
	"src-port":         {"vxlan", "vxlan-stitch"},
	"udp-port":         {"vxlan", "vxlan-stitch"},
	"parent-interface": {"vxlan", "vxlan-stitch"},
}

// outsideLink reads a link of the extended form that leaves the lab.
func (r *reader) outsideLink(t *lab.Topology, v *value, kind linkType, l lab.Link, index int, what string) {
	at := v.get("endpoint")
	if at == nil || at.form != formMap {
		r.errorAt(v.line, v.column, "write endpoint: {node: a, interface: eth1}", "%s: a link of type %s needs an endpoint", what, kind.name)
		return
	}
	end, out, ok := r.end(t, at, what)
	if !ok {
		return
	}
	if out != nil {
		r.errorAt(at.line, at.column, "", "%s: the endpoint of a link of type %s must be a node", what, kind.name)
		return
	}
	before := r.fails
	l.A = end
	o := &lab.Outside{Type: lab.OutsideType(kind.name)}
	l.Outside = o
	name := func(field string, needed bool) (s string, at *value) {
		at = v.get(field)
		if at != nil {
			s = r.str(at, what+": "+field)
		}
		if s == "" && needed && r.fails == before {
			r.errorAt(v.line, v.column, "", "%s: a link of type %s needs %s", what, kind.name, field)
		}
		if problem := interfaceName(s); s != "" && problem != "" {
			r.errorAt(at.line, at.column, "", "%s: %s %q %s", what, field, s, problem)
		}
		return s, at
	}
	port := func(field string) int {
		if at := v.get(field); at != nil {
			return r.integer(at, what+": "+field, 1, 65535)
		}
		return 0
	}
	far := at
	switch o.Type {
	case lab.OutsideHost, lab.OutsideManagement, lab.OutsideMacvlan:
		var where *value
		o.Interface, where = name("host-interface", true)
		if where != nil {
			far = where
		}
		if m := v.get("mode"); m != nil {
			o.Mode, _ = oneOf("bridge", "vepa", "passthru", "private", "source")(r, m, what+": mode").(string)
		}
		l.B.Endpoint = lab.Endpoint{Node: kind.name, Interface: o.Interface}
	case lab.OutsideDummy:
		l.B.Endpoint = lab.Endpoint{Node: kind.name, Interface: "-"}
	case lab.OutsideVXLAN, lab.OutsideVXLANStitch:
		r.vxlan(v, o, what)
		o.DestinationPort, o.SourcePort = port("dst-port"), port("src-port")
		if old := port("udp-port"); o.DestinationPort == 0 {
			o.DestinationPort = old
		}
		o.Parent, _ = name("parent-interface", false)
		l.B.Endpoint = lab.Endpoint{Node: kind.name, Interface: fmt.Sprintf("%s/%d", o.Remote, o.VNI)}
	}
	r.addresses(v.get("ipv4"), &l, what+": ipv4", false)
	r.addresses(v.get("ipv6"), &l, what+": ipv6", true)
	if r.fails == before {
		r.leave(t, l, index, what, at, far)
	}
}

const maxVNI = 1<<24 - 1

func (r *reader) vxlan(v *value, o *lab.Outside, what string) {
	remote, vni := v.get("remote"), v.get("vni")
	if remote == nil || vni == nil {
		r.errorAt(v.line, v.column, "remote is the address of the other machine, vni the tunnel's number", "%s: a link of type %s needs remote and vni", what, o.Type)
		return
	}
	o.Remote = r.str(remote, what+": remote")
	if _, err := netip.ParseAddr(o.Remote); err != nil && !hostName.MatchString(o.Remote) {
		r.errorAt(remote.line, remote.column, "", "%s: remote %q is neither an address nor a name", what, o.Remote)
	}
	o.VNI = r.integer(vni, what+": vni", 1, maxVNI)
}

// outsideEnd reads an end of the brief form that is no node of the lab.
func (r *reader) outsideEnd(t *lab.Topology, node, ifc string, nodeAt, ifcAt *value, what string) (*lab.Outside, bool) {
	o := &lab.Outside{Interface: ifc}
	switch {
	case r.outside[node] == lab.OutsideHost, node == "host":
		o.Type = lab.OutsideHost
	case r.outside[node] != "":
		o.Type, o.Bridge = r.outside[node], node
	case node == "mgmt-net", node == "macvlan":
		o.Type = lab.OutsideType(node)
	case node == "dummy":
		return &lab.Outside{Type: lab.OutsideDummy}, true
	case slices.Contains(special, node):
		r.errorAt(nodeAt.line, nodeAt.column, "write type: "+node+" with endpoint, remote and vni", "%s: a tunnel needs more than the brief form says", what)
		return nil, false
	default:
		names := append([]string{"host", "mgmt-net", "macvlan", "dummy"}, slices.Sorted(maps.Keys(r.outside))...)
		for _, n := range t.Nodes {
			names = append(names, n.Name)
		}
		if !r.broken[node] { // said already why the node is not there
			r.errorAt(nodeAt.line, nodeAt.column, didYouMean(lab.Closest(node, names)), "%s: unknown node %q", what, node)
		}
		return nil, false
	}
	if problem := interfaceName(ifc); problem != "" {
		r.errorAt(ifcAt.line, ifcAt.column, "", "%s: interface name %q %s", what, ifc, problem)
		return nil, false
	}
	return o, true
}

// leave keeps a link that leaves the lab, and says what of it is not served.
func (r *reader) leave(t *lab.Topology, l lab.Link, index int, what string, near, far *value) {
	if !r.take(l.A, index, what, near) {
		return
	}
	switch o := l.Outside; o.Type {
	case lab.OutsideHost, lab.OutsideBridge, lab.OutsideOVSBridge, lab.OutsideManagement:
		// All these interfaces are in the machine's one namespace.
		if other, ok := r.onMachine[o.Interface]; ok {
			r.errorAt(far.line, far.column, "give one of them another name", "%s: the machine's interface %q is used by link %d already", what, o.Interface, other+1)
			return
		}
		r.onMachine[o.Interface] = index
	}
	t.Outside = append(t.Outside, l)
	c := outsideConstruct(l.Outside.Type)
	if c.status == later {
		r.warnOnce("link "+c.name, far.line, far.column, "%s: %s is not served yet: %s, the link is left out", what, outsideName(l.Outside), c.note)
	}
}

func outsideConstruct(t lab.OutsideType) construct {
	for _, l := range linkTypes {
		if l.outside && l.name == string(t) {
			return l.construct
		}
	}
	for _, c := range bridgeEnds {
		if c.name == string(t) {
			return c
		}
	}
	return construct{name: string(t), status: later}
}

func outsideName(o *lab.Outside) string {
	if o.Bridge != "" {
		return fmt.Sprintf("an end at the machine's %s %q", strings.ReplaceAll(string(o.Type), "-", " "), o.Bridge)
	}
	return fmt.Sprintf("type %q", o.Type)
}
