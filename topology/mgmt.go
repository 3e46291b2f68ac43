package topology

import (
	"net/netip"

	"archetype/lab"
)

// management reads the mgmt section.
func (r *reader) management(v *value) *lab.Management {
	const what = "mgmt"
	if v.form == formNull {
		return nil
	}
	m := &lab.Management{}
	plain := func(to *string) func(field) {
		return func(f field) { *to = r.str(f.value, what+": "+f.name) }
	}
	var four, six *value // where the subnets stand
	subnet := func(to *string, at **value, is6 bool) func(field) {
		return func(f field) {
			*at = f.value
			if s := r.str(f.value, what+": "+f.name); s == "auto" || r.prefix(f.value, what+": "+f.name, is6) {
				*to = s
			}
		}
	}
	inner := func(to *string, is6 bool) func(field) {
		return func(f field) {
			if r.prefix(f.value, what+": "+f.name, is6) {
				*to = f.value.text
			}
		}
	}
	gateway := func(to *string, is6 bool) func(field) {
		return func(f field) { *to, _ = ip(is6)(r, f.value, what+": "+f.name).(string) }
	}
	var gw4, gw6, range4, range6 *value
	at := func(to **value, then func(field)) func(field) {
		return func(f field) { *to = f.value; then(f) }
	}
	r.fields(v, what, mgmtConstructs, map[string]func(field){
		"network": plain(&m.Network),
		"bridge": func(f field) {
			m.Bridge = r.str(f.value, what+": bridge")
			if problem := interfaceName(m.Bridge); problem != "" {
				r.errorAt(f.value.line, f.value.column, "", "mgmt: bridge %q %s", m.Bridge, problem)
			}
		},
		"ipv4-subnet": subnet(&m.IPv4Subnet, &four, false), "ipv4_subnet": subnet(&m.IPv4Subnet, &four, false),
		"ipv6-subnet": subnet(&m.IPv6Subnet, &six, true), "ipv6_subnet": subnet(&m.IPv6Subnet, &six, true),
		"ipv4-gw": at(&gw4, gateway(&m.IPv4Gateway, false)), "ipv6-gw": at(&gw6, gateway(&m.IPv6Gateway, true)),
		"ipv4-range": at(&range4, inner(&m.IPv4Range, false)), "ipv6-range": at(&range6, inner(&m.IPv6Range, true)),
		"mtu": func(f field) { m.MTU = r.integer(f.value, "mgmt: mtu", minMTU, maxMTU) },
		"external-access": func(f field) {
			if b, ok := truth(r, f.value, "mgmt: external-access").(bool); ok {
				m.ExternalAccess = &b
			}
		},
		"skip-when-unused": func(f field) { m.SkipUnused, _ = truth(r, f.value, "mgmt: skip-when-unused").(bool) },
		"driver-opts":      func(f field) { m.DriverOptions = r.strMap(f.value, "mgmt: driver-opts") },
	})
	r.within(gw4, m.IPv4Gateway, m.IPv4Subnet, "mgmt: ipv4-gw")
	r.within(gw6, m.IPv6Gateway, m.IPv6Subnet, "mgmt: ipv6-gw")
	r.within(range4, m.IPv4Range, m.IPv4Subnet, "mgmt: ipv4-range")
	r.within(range6, m.IPv6Range, m.IPv6Subnet, "mgmt: ipv6-range")
	return m
}

func (r *reader) prefix(v *value, what string, is6 bool) bool {
	s := r.str(v, what)
	if s == "" {
		return false
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		hint := "such as 172.20.20.0/24"
		if is6 {
			hint = "such as 2001:db8:20::/64"
		}
		r.errorAt(v.line, v.column, hint, "%s: %q is not a subnet", what, s)
	case p.Addr().Is4() == is6:
		r.errorAt(v.line, v.column, "", "%s: %s belongs to the other family", what, s)
	default:
		return true
	}
	return false
}

// within says where an address or range is outside of its subnet.
func (r *reader) within(at *value, inner, subnet, what string) {
	p, err := netip.ParsePrefix(subnet)
	if at == nil || inner == "" || err != nil {
		return
	}
	a, err := netip.ParseAddr(inner)
	if err != nil {
		q, err := netip.ParsePrefix(inner)
		if err != nil {
			return
		}
		if q.Bits() < p.Bits() {
			a = netip.IPv6Unspecified() // wider than the subnet: not within it
			if q.Addr().Is4() {
				a = netip.IPv4Unspecified()
			}
		} else {
			a = q.Addr()
		}
	}
	if !p.Contains(a) {
		r.errorAt(at.line, at.column, "", "%s: %s is not within %s", what, inner, subnet)
	}
}

// nodeAddresses says where two nodes want one management address, or one that
// the subnet does not have.
func (r *reader) nodeAddresses(t *lab.Topology, at map[string]*value) {
	taken := map[string]string{}
	for _, n := range t.Nodes {
		for _, c := range []struct{ field, address, subnet string }{
			{"mgmt-ipv4", n.Container.ManagementIPv4, subnet4(t.Management)},
			{"mgmt-ipv6", n.Container.ManagementIPv6, subnet6(t.Management)},
		} {
			v := at[n.Name+" "+c.field]
			if c.address == "" || v == nil {
				continue
			}
			if other, ok := taken[c.address]; ok {
				r.errorAt(v.line, v.column, "", "node %q: %s %s is node %q's already", n.Name, c.field, c.address, other)
			}
			taken[c.address] = n.Name
			r.within(v, c.address, c.subnet, "node \""+n.Name+"\": "+c.field)
		}
	}
}

func subnet4(m *lab.Management) string {
	if m == nil {
		return ""
	}
	return m.IPv4Subnet
}

func subnet6(m *lab.Management) string {
	if m == nil {
		return ""
	}
	return m.IPv6Subnet
}
