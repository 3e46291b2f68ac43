package topology

import (
	"fmt"
	"net/netip"
	"regexp"

	"archetype/lab"
)

// management reads the mgmt section.
func (r *reader) management(v *value) *lab.Management {
	const what = "mgmt"
	if v.form == formNull {
		return nil
	}
	m := &lab.Management{}
	subnet := func(to *string, is6 bool) func(field) {
		return func(f field) {
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
		"network": func(f field) {
			m.Network = r.str(f.value, what+": network")
			if m.Network != "" && (!networkName.MatchString(m.Network) || m.Network == "host" || m.Network == "none") {
				r.errorAt(f.value.line, f.value.column, "letters, digits and _.- after a letter or digit; not host, not none",
					"mgmt: network %q cannot be a network's name", m.Network)
			}
		},
		"bridge": func(f field) {
			m.Bridge = r.str(f.value, what+": bridge")
			if problem := interfaceName(m.Bridge); problem != "" {
				r.errorAt(f.value.line, f.value.column, "", "mgmt: bridge %q %s", m.Bridge, problem)
			}
		},
		"ipv4-subnet": subnet(&m.IPv4Subnet, false), "ipv4_subnet": subnet(&m.IPv4Subnet, false),
		"ipv6-subnet": subnet(&m.IPv6Subnet, true), "ipv6_subnet": subnet(&m.IPv6Subnet, true),
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
	v4, v6 := m.Subnets()
	r.within(gw4, m.IPv4Gateway, v4, "mgmt: ipv4-gw")
	r.within(gw6, m.IPv6Gateway, v6, "mgmt: ipv6-gw")
	r.within(range4, m.IPv4Range, v4, "mgmt: ipv4-range")
	r.within(range6, m.IPv6Range, v6, "mgmt: ipv6-range")
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

// within says where an address or range is outside of its subnet, or has none
// that it could be in.
func (r *reader) within(at *value, inner, subnet, what string) {
	if at == nil || inner == "" {
		return
	}
	p, err := netip.ParsePrefix(subnet)
	if err != nil {
		r.errorAt(at.line, at.column, "give that family's subnet in mgmt", "%s: %s is in no subnet of the management network", what, inner)
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
	m := t.Management
	if m == nil {
		m = &lab.Management{}
	}
	v4, v6 := m.Subnets()
	taken := map[string]string{}
	for _, gw := range []string{m.IPv4Gateway, m.IPv6Gateway} {
		taken[gw] = "the gateway's"
	}
	for _, s := range []string{v4, v6} {
		if p, err := netip.ParsePrefix(s); err == nil {
			taken[p.Masked().Addr().String()] = "the subnet's"
		}
	}
	for _, n := range t.Nodes {
		for _, c := range []struct{ field, address, subnet string }{
			{"mgmt-ipv4", n.Container.ManagementIPv4, v4}, {"mgmt-ipv6", n.Container.ManagementIPv6, v6},
		} {
			v := at[n.Name+" "+c.field]
			if c.address == "" || v == nil {
				continue
			}
			if other, ok := taken[c.address]; ok {
				r.errorAt(v.line, v.column, "", "node %q: %s %s is %s already", n.Name, c.field, c.address, other)
			}
			taken[c.address] = fmt.Sprintf("node %q's", n.Name)
			// Otherwise the engine, or a network that is there already, says which there are.
			if c.subnet != "auto" && (m.IPv4Subnet != "" || m.IPv6Subnet != "") {
				r.within(v, c.address, c.subnet, "node \""+n.Name+"\": "+c.field)
			}
		}
	}
}

// networkName is what container engines take for one.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
