package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"archetype/backends/mark"
	"archetype/lab"
)

// usualMTU is that of an interface of which nothing is said, in bytes.
const usualMTU = 1500

// mustAgree wants inspect and the machine to say the same of a lab that rests.
func (p *pair) mustAgree(t *testing.T, lab string) {
	t.Helper()
	var bad []string
	if !became(func() bool {
		bad = p.agrees(p.w.inspect(lab))
		return len(bad) == 0
	}) {
		said := slices.DeleteFunc(p.portrait(), func(s string) bool { return strings.HasPrefix(s, "file ") })
		t.Errorf("inspect and the machine differ:\n%s\n%s\n%s", strings.Join(bad, "\n"), p.w.run("inspect", lab), strings.Join(said, "\n"))
	}
}

// agrees compares what inspect says of a lab that rests to what the kernel
// and the daemons say themselves, and returns what is not so.
func (p *pair) agrees(l *inspectJSON) []string {
	p.w.Helper()
	var bad []string
	ends := map[string]iface{}
	for _, n := range l.Nodes {
		running, pid := p.runs(l.Lab.Name, n)
		if want := n.Actual == "running"; running != want {
			bad = append(bad, fmt.Sprintf("%s is %s, and runs: %t", n.Name, n.Actual, running))
			continue
		}
		if running && pid != n.PID {
			bad = append(bad, fmt.Sprintf("%s has PID %d, inspect says %d", n.Name, pid, n.PID))
		}
		if running && n.Error != "" {
			bad = append(bad, fmt.Sprintf("%s is %s, with the error %s", n.Name, n.Actual, n.Error))
		}
		if n.Provider == "libvirt" || !running {
			continue // its interfaces are taps, or nowhere to be found by a process
		}
		ifs, err := interfacesOf("/proc/" + strconv.Itoa(pid) + "/ns/net")
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", n.Name, err))
		}
		for _, i := range ifs {
			ends[n.Name+":"+i.name] = i
		}
	}
	fars := p.fars(l.Lab.Name)
	for _, k := range l.Links {
		if k.Error != "" && k.Actual == k.Desired {
			bad = append(bad, fmt.Sprintf("%s -- %s is %s, with the error %s", k.A, k.B, k.Actual, k.Error))
		}
		for _, end := range []string{k.A, k.B} {
			n := l.node(endOf(end))
			if n.Provider == "libvirt" || n.Actual != "running" {
				continue
			}
			i, ok := ends[end]
			if !ok {
				bad = append(bad, fmt.Sprintf("%s -- %s: there is no interface %s", k.A, k.B, end))
			} else {
				bad = append(bad, k.agrees(end, i, p.forgotten)...)
			}
			delete(ends, end)
		}
		if k.Actual == "up" && k.Outside == "" && l.runs(endOf(k.A)) && l.runs(endOf(k.B)) {
			bad = append(bad, k.suffers(fars)...)
		}
	}
	for end, i := range ends {
		if strings.HasPrefix(i.alias, "archetype") {
			bad = append(bad, "an interface of no link: "+end+" "+i.String())
		}
	}
	bad = append(bad, l.ofNoLink(fars)...)
	if p.tags != nil {
		bad = append(bad, p.tags(l)...)
	}
	slices.Sort(bad)
	return bad
}

// agrees compares one end of a link to its interface in the node. Where links were
// forgotten with a store, their interfaces keep the MTU that they had for those.
func (k linkJSON) agrees(end string, i iface, forgotten bool) []string {
	var bad []string
	if on := k.Carrier == "on"; i.carrier != on && k.Actual != "pending" {
		bad = append(bad, fmt.Sprintf("%s -- %s: carrier %s, and %s sees %t", k.A, k.B, k.Carrier, end, i.carrier))
	}
	kind, mtu := "veth", usualMTU
	switch k.Outside {
	case "macvlan":
		kind = k.Outside
	case "vxlan":
		kind, mtu = k.Outside, i.mtu // a tunnel has what the way to its other end leaves
	case "dummy":
		kind = i.kind // of a pair, where the kernel has none
	}
	if k.MTU != 0 && k.Outside == "" {
		mtu = k.MTU
	}
	if forgotten && k.MTU == 0 {
		mtu = i.mtu
	}
	if i.kind != kind || i.mtu != mtu {
		bad = append(bad, fmt.Sprintf("%s -- %s: %s is a %s with MTU %d, not a %s with %d", k.A, k.B, end, i.kind, i.mtu, kind, mtu))
	}
	return bad
}

// fars are the far ends of a lab's ends of links, by end: of a machine whose
// tap is the switch's own port, the tap.
func (p *pair) fars(of string) map[string][]iface {
	p.w.Helper()
	out, taps := map[string][]iface{}, map[string][]iface{}
	for _, ifs := range eachNamespace(namespacePaths(p.w)) {
		for _, i := range ifs {
			switch m, ok := mark.Parse(i.alias); {
			case !ok || m.Lab != of:
			case m.Use == "far" || m.Use == "port" || m.Use == "held":
				out[m.ID] = append(out[m.ID], i)
			case m.Use == "tap":
				taps[m.ID] = append(taps[m.ID], i)
			}
		}
	}
	for end, tap := range taps {
		if out[end] == nil {
			out[end] = tap
		}
	}
	return out
}

// suffers compares a link's impairments to those of the far ends: what leaves
// one end suffers on its way to the other.
func (k linkJSON) suffers(fars map[string][]iface) []string {
	var bad []string
	for to, want := range map[string]lab.Impairment{k.B: k.ImpairA, k.A: k.ImpairB} {
		switch far := fars[to]; {
		case len(far) != 1:
			bad = append(bad, fmt.Sprintf("%s -- %s: %s has the far ends %v", k.A, k.B, to, far))
		case far[0].rate != want.Rate:
			bad = append(bad, fmt.Sprintf("%s -- %s: to %s pass %d bits a second, not %d", k.A, k.B, to, far[0].rate, want.Rate))
		}
	}
	return bad
}

// ofNoLink are far ends that no link of the lab has. A machine keeps the taps
// that it was started with.
func (l *inspectJSON) ofNoLink(fars map[string][]iface) []string {
	var bad []string
	for end, far := range fars {
		if far[0].kind == "tuntap" && l.node(endOf(end)).Provider == "libvirt" {
			continue
		}
		if !slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.A == end || k.B == end }) {
			bad = append(bad, fmt.Sprintf("a far end of no link: %s %v", end, far))
		}
	}
	return bad
}
