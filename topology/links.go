package topology

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"archetype/lab"
)

// link reads one link, in the brief or the extended form.
func (r *reader) link(t *lab.Topology, v *value, index int) {
	what := fmt.Sprintf("link %d", index+1)
	if v.form != formMap {
		r.errorAt(v.line, v.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s must be a map, this is %s", what, v.form)
		return
	}
	kind := linkTypes[0] // of the brief form: its ends may still say otherwise
	if tv := v.get("type"); tv != nil {
		name := strings.ToLower(strings.TrimSpace(r.str(tv, what+": type")))
		i := slices.IndexFunc(linkTypes, func(l linkType) bool { return l.name == name })
		if i < 0 {
			names := make([]string, len(linkTypes))
			for i, l := range linkTypes {
				names[i] = l.name
			}
			r.errorAt(tv.line, tv.column, didYouMean(lab.Closest(name, names)), "%s: unknown type %q", what, name)
			return
		}
		kind = linkTypes[i]
	}
	for _, f := range v.fields {
		if only, ok := fieldsOfTypes[f.name]; ok && !slices.Contains(only, kind.name) {
			r.errorAt(f.line, f.column, "it belongs to "+strings.Join(only, ", "), "%s: %q means nothing in a link of type %s", what, f.name, kind.name)
			return
		}
	}
	l := lab.Link{}
	var impair lab.Impairment
	r.fields(v, what, linkConstructs, map[string]func(field){
		"mtu":    func(f field) { l.MTU = r.integer(f.value, what+": mtu", minMTU, maxMTU) },
		"labels": func(f field) { l.Labels = r.strMap(f.value, what+": labels") },
		"impair": func(f field) { impair = r.impairment(f.value, what+": impair") },
	})
	if kind.outside {
		r.outsideLink(t, v, kind, l, index, what)
		return
	}
	ends := v.get("endpoints")
	if ends == nil {
		r.errorAt(v.line, v.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s has no endpoints", what)
		return
	}
	if ends.form != formList || len(ends.items) != 2 {
		r.errorAt(ends.line, ends.column, `write endpoints: ["a:eth1", "b:eth1"]`, "%s: endpoints must be a list of two", what)
		return
	}
	var both [2]lab.End
	var out [2]*lab.Outside
	for i, item := range ends.items {
		var ok bool
		if both[i], out[i], ok = r.end(t, item, what); !ok {
			return
		}
	}
	l.A, l.B = both[0], both[1]
	for _, end := range []*lab.End{&l.A, &l.B} {
		if end.Impair.IsZero() { // the end's own wins
			end.Impair = impair
		}
	}
	r.addresses(v.get("ipv4"), &l, what+": ipv4", false)
	r.addresses(v.get("ipv6"), &l, what+": ipv6", true)
	switch {
	case out[0] != nil && out[1] != nil:
		r.errorAt(ends.line, ends.column, "one of the ends must be a node", "%s goes from the machine to the machine", what)
	case out[0] != nil: // A is always the node's end
		l.A, l.B, l.Outside = l.B, l.A, out[0]
		r.leave(t, l, index, what, ends.items[1], ends.items[0])
	case out[1] != nil:
		l.Outside = out[1]
		r.leave(t, l, index, what, ends.items[0], ends.items[1])
	case r.take(l.A, index, what, ends.items[0]) && r.take(l.B, index, what, ends.items[1]):
		t.Links = append(t.Links, l)
	}
}

// take notes that a link uses an endpoint; an endpoint has one link.
func (r *reader) take(end lab.End, index int, what string, at *value) bool {
	other, used := r.used[end.Endpoint]
	switch {
	case !used:
		r.used[end.Endpoint] = index
		return true
	case other == index:
		r.errorAt(at.line, at.column, "", "%s: both ends are %s: a link cannot go to itself", what, end.Endpoint)
	default:
		r.errorAt(at.line, at.column, "", "%s: %s is used by link %d already", what, end.Endpoint, other+1)
	}
	return false
}

// end reads one end in either form. Where it is no node of the lab it comes
// with what it is instead.
func (r *reader) end(t *lab.Topology, v *value, what string) (end lab.End, out *lab.Outside, ok bool) {
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
			"impair":    func(f field) { end.Impair = r.impairment(f.value, what+": impair") },
		})
		if node == "" || ifc == "" {
			if r.fails == before {
				r.errorAt(v.line, v.column, "", "%s: an endpoint needs node and interface", what)
			}
			return end, nil, false
		}
	} else {
		s := r.str(v, what+": endpoint")
		if s == string(lab.OutsideDummy) {
			s += ":-" // it needs no more
		}
		e, err := lab.ParseEndpoint(s)
		if err != nil {
			if r.fails == before {
				r.errorAt(v.line, v.column, "", "%s: %v", what, err)
			}
			return end, nil, false
		}
		node, ifc = e.Node, e.Interface
	}
	at, found := r.index[node]
	if !found {
		out, ok := r.outsideEnd(t, node, ifc, nodeAt, ifcAt, what)
		end.Endpoint = lab.Endpoint{Node: node, Interface: ifc}
		if out != nil && out.Type == lab.OutsideDummy {
			end.Interface = "-"
		}
		return end, out, ok && r.fails == before
	}
	kernel := ifc
	if r.opt.Kinds != nil {
		k, err := r.opt.Kinds.Interface(t.Nodes[at].Kind, ifc)
		if err != nil {
			r.errorAt(ifcAt.line, ifcAt.column, "", "%s: node %q of kind %s: %v", what, node, t.Nodes[at].Kind, err)
			return end, nil, false
		}
		kernel = k
	}
	if problem := interfaceName(kernel); problem != "" {
		r.errorAt(ifcAt.line, ifcAt.column, "", "%s: interface name %q %s", what, kernel, problem)
		return end, nil, false
	}
	end.Endpoint = lab.Endpoint{Node: node, Interface: kernel}
	if kernel != ifc {
		n := &t.Nodes[at]
		if n.Aliases == nil {
			n.Aliases = map[string]string{}
		}
		n.Aliases[ifc] = kernel
	}
	return end, nil, r.fails == before
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
