package topology

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"archetype/lab"
)

// special are names that stand for something else than a node in the brief
// form of a link.
var special = []string{"host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch"}

// linkTypes are the types of the extended form.
var linkTypes = []string{"veth", "host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch"}

func (r *reader) link(t *lab.Topology, v *value, index int, seen map[lab.Endpoint]int) {
	what := fmt.Sprintf("link %d", index+1)
	if v.form != formMap {
		r.errorAt(v.line, v.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s must be a map, this is %s", what, v.form)
		return
	}
	if tv := v.get("type"); tv != nil {
		kind := r.str(tv, what+": type")
		if !slices.Contains(linkTypes, kind) {
			r.errorAt(tv.line, tv.column, didYouMean(lab.Closest(kind, linkTypes)), "%s: unknown type %q", what, kind)
			return
		}
		if kind != "veth" {
			r.warnAt(tv.line, tv.column, "", "%s: type %q is not served yet: the link is left out", what, kind)
			return
		}
	}
	var l lab.Link
	var ends *value
	var v4, v6 *value
	r.fields(v, what, linkConstructs, map[string]func(field){
		"endpoints": func(f field) { ends = f.value },
		"mtu":       func(f field) { l.MTU = r.integer(f.value, what+": mtu", minMTU, maxMTU) },
		"labels":    func(f field) { l.Labels = r.strMap(f.value, what+": labels") },
		"ipv4":      func(f field) { v4 = f.value },
		"ipv6":      func(f field) { v6 = f.value },
	})
	if ends == nil {
		r.errorAt(v.line, v.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s has no endpoints", what)
		return
	}
	if ends.form != formList || len(ends.items) != 2 {
		r.errorAt(ends.line, ends.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s: endpoints must be a list of two", what)
		return
	}
	both := [2]*lab.End{&l.A, &l.B}
	for i, item := range ends.items {
		ok, served := r.end(t, item, both[i], what)
		if !ok || !served {
			return
		}
	}
	r.addresses(v4, &l, what+": ipv4", false)
	r.addresses(v6, &l, what+": ipv6", true)
	for i, end := range both {
		if other, ok := seen[end.Endpoint]; ok {
			if other == index {
				r.errorAt(ends.items[i].line, ends.items[i].column, "", "%s: both ends are %s: a link cannot go to itself", what, end.Endpoint)
			} else {
				r.errorAt(ends.items[i].line, ends.items[i].column, "", "%s: %s is used by link %d already", what, end.Endpoint, other+1)
			}
			return
		}
		seen[end.Endpoint] = index
	}
	t.Links = append(t.Links, l)
}

// end reads one end in either form. With served false the link goes
// somewhere that is not served yet.
func (r *reader) end(t *lab.Topology, v *value, end *lab.End, what string) (ok, served bool) {
	before := r.fails
	var node, ifc string
	nodeAt, ifcAt := v, v
	if v.form == formMap {
		r.fields(v, what+": endpoint", endpointConstructs, map[string]func(field){
			"node":      func(f field) { node, nodeAt = r.str(f.value, what+": node"), f.value },
			"interface": func(f field) { ifc, ifcAt = r.str(f.value, what+": interface"), f.value },
			"mac":       func(f field) { end.MAC = r.mac(f.value, what) },
			"ipv4":      func(f field) { end.IPv4 = r.endAddresses(f.value, what+": ipv4", false) },
			"ipv6":      func(f field) { end.IPv6 = r.endAddresses(f.value, what+": ipv6", true) },
		})
		if node == "" || ifc == "" {
			r.errorAt(v.line, v.column, "", "%s: an endpoint needs node and interface", what)
			return false, false
		}
	} else {
		s := r.str(v, what+": endpoint")
		e, err := lab.ParseEndpoint(s)
		if err != nil {
			if r.fails == before {
				r.errorAt(v.line, v.column, "", "%s: %v", what, err)
			}
			return false, false
		}
		node, ifc = e.Node, e.Interface
	}
	at, found := r.index[node]
	if !found && slices.Contains(special, node) {
		r.warnAt(nodeAt.line, nodeAt.column, "", "%s: an end at %q is not served yet: the link is left out", what, node)
		return true, false
	}
	if !found {
		names := make([]string, len(t.Nodes))
		for i, n := range t.Nodes {
			names[i] = n.Name
		}
		if !r.broken[node] { // said already why the node is not there
			r.errorAt(nodeAt.line, nodeAt.column, didYouMean(lab.Closest(node, names)), "%s: unknown node %q", what, node)
		}
		return false, false
	}
	kernel := ifc
	if r.opt.Kinds != nil {
		k, err := r.opt.Kinds.Interface(t.Nodes[at].Kind, ifc)
		if err != nil {
			r.errorAt(ifcAt.line, ifcAt.column, "", "%s: node %q of kind %s: %v", what, node, t.Nodes[at].Kind, err)
			return false, false
		}
		kernel = k
	}
	if problem := interfaceName(kernel); problem != "" {
		r.errorAt(ifcAt.line, ifcAt.column, "", "%s: interface name %q %s", what, kernel, problem)
		return false, false
	}
	end.Endpoint = lab.Endpoint{Node: node, Interface: kernel}
	if kernel != ifc {
		n := &t.Nodes[at]
		if n.Aliases == nil {
			n.Aliases = map[string]string{}
		}
		n.Aliases[ifc] = kernel
	}
	return r.fails == before, true
}

// interfaceName says what is wrong with a name the kernel would not take.
func interfaceName(s string) string {
	switch {
	case len(s) > 15:
		return "is longer than the kernel's 15 bytes"
	case s == "." || s == "..":
		return "is no name for an interface"
	case s == "lo":
		return "is the node's own loopback"
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '/' || c == ':' || c == '%' }):
		return "may not contain '/', ':', '%' or white space"
	}
	return ""
}

func (r *reader) mac(v *value, what string) string {
	s := r.str(v, what+": mac")
	m, err := net.ParseMAC(s)
	switch {
	case err != nil || len(m) != 6:
		r.errorAt(v.line, v.column, "write it as 02:00:00:00:00:01", "%s: %q is not a MAC address", what, s)
	case m[0]&1 != 0:
		r.errorAt(v.line, v.column, "the first byte must be even", "%s: %q is a multicast address", what, s)
	default:
		return m.String()
	}
	return ""
}

func (r *reader) endAddresses(v *value, what string, six bool) []netip.Prefix {
	items := []*value{v}
	if v.form == formList {
		items = v.items
	}
	var out []netip.Prefix
	for _, item := range items {
		if p, ok := r.address(item, what, six); ok {
			out = append(out, p)
		}
	}
	return out
}

// addresses are a link's: one for each end, in the ends' order; an empty one
// leaves its end without.
func (r *reader) addresses(v *value, l *lab.Link, what string, six bool) {
	if v == nil || v.form == formNull {
		return
	}
	if v.form != formList || len(v.items) > 2 {
		r.errorAt(v.line, v.column, "", "%s must be a list of at most two addresses, one for each end", what)
		return
	}
	for i, item := range v.items {
		if item.form == formNull || (item.form == formScalar && item.text == "") {
			continue
		}
		p, ok := r.address(item, what, six)
		if !ok {
			continue
		}
		end := [2]*lab.End{&l.A, &l.B}[i]
		if six {
			end.IPv6 = append(end.IPv6, p)
		} else {
			end.IPv4 = append(end.IPv4, p)
		}
	}
}

func (r *reader) address(v *value, what string, six bool) (netip.Prefix, bool) {
	s := r.str(v, what)
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		hint := "write it with its prefix length, such as 10.0.0.1/24"
		if six {
			hint = "write it with its prefix length, such as 2001:db8::1/64"
		}
		r.errorAt(v.line, v.column, hint, "%s: %q is not an address", what, s)
	case p.Addr().Is4() == six:
		r.errorAt(v.line, v.column, "", "%s: %s belongs to the other family", what, s)
	default:
		return p, true
	}
	return netip.Prefix{}, false
}
