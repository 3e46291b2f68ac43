package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// randomLab is a lab of random form: how many nodes there are, how they are
// joined, what is worse than a cable, and what leaves the lab.
type randomLab struct {
	name  string
	text  string
	nodes []string
	links [][2]string // between nodes of the lab
	away  []string    // interfaces on the machine
	next  int         // the next number of an interface that is nowhere yet
}

// randomLab makes one up. Interfaces differ by lab where the machine would
// have both.
func (p *pair) randomLab(r *rand.Rand, name string) *randomLab {
	most := 6
	if p.provider == "libvirt" {
		most = 3
	}
	l := &randomLab{name: name, next: 20}
	var b strings.Builder
	head := strings.ReplaceAll(p.head, "lab-mgmt", "lab-mgmt-"+name)
	if name == "two" {
		head = strings.ReplaceAll(head, "172.31.222", "172.31.223")
	}
	fmt.Fprintf(&b, "name: %s\n%stopology:\n  defaults: {kind: linux}\n  nodes:\n", name, head)
	used := map[string]int{}
	end := func(i int) string {
		node := l.nodes[i]
		used[node]++
		return fmt.Sprintf("%s:eth%d", node, used[node])
	}
	var links []string
	cable := func(a, z string) {
		i := len(links)
		worse := ""
		if r.IntN(5) == 0 {
			worse = fmt.Sprintf(", impair: {rate: %dmbit}", 1+r.IntN(20))
		}
		if r.IntN(5) == 0 {
			worse += fmt.Sprintf(", mtu: %d", 1300+100*r.IntN(6))
		}
		side := func(end string, host int) string {
			node, ifc, _ := strings.Cut(end, ":")
			if node == "sw" {
				return fmt.Sprintf("{node: sw, interface: %s}", ifc)
			}
			return fmt.Sprintf("{node: %s, interface: %s, ipv4: 10.1.%d.%d/24}", node, ifc, i, host)
		}
		links = append(links, fmt.Sprintf("{type: veth, endpoints: [%s, %s]%s}", side(a, 1), side(z, 2), worse))
		l.links = append(l.links, [2]string{a, z})
	}
	n := 1 + r.IntN(most)
	for i := range n {
		node := p.node
		if p.provider == "libvirt" && i%2 == 1 || p.provider != "netns" && r.IntN(5) == 0 {
			node = "{provider: netns}" // of two sorts in one lab
		}
		if p.provider != "libvirt" { // a machine is as it was at its boot
			node = strings.Replace(node, "{", []string{"{", "{", "{", "{startup-delay: 1, ", "{env: {COLOUR: red}, ", `{exec: ["true"], `}[r.IntN(6)], 1)
			node = strings.Replace(node, ", }", "}", 1)
		}
		l.nodes = append(l.nodes, fmt.Sprintf("n%d", i))
		fmt.Fprintf(&b, "    n%d: %s\n", i, node)
	}
	switch form := r.IntN(5); {
	case n == 1 || form == 0: // a segment of many points
		fmt.Fprintf(&b, "    sw: {kind: bridge}\n")
		for i := range n {
			cable(end(i), fmt.Sprintf("sw:p%d", i))
		}
		l.nodes = append(l.nodes, "sw")
	case form == 1: // a line
		for i := range n - 1 {
			cable(end(i), end(i+1))
		}
	case form == 2: // all with all
		for i := range n {
			for j := range i {
				cable(end(i), end(j))
			}
		}
	case form == 3: // two cables between two nodes, and a star
		cable(end(0), end(1))
		for i := range n - 1 {
			cable(end(0), end(i+1))
		}
	default: // a ring
		for i := range n {
			cable(end(i), end((i+1)%n))
		}
	}
	for _, kind := range []string{"host", "macvlan", "dummy", "vxlan"} {
		if r.IntN(4) != 0 {
			continue
		}
		i := r.IntN(n)
		if p.provider == "libvirt" && i%2 == 0 {
			continue // a machine's interfaces are joined to taps
		}
		node, ifc, _ := strings.Cut(end(i), ":")
		switch kind {
		case "host":
			links = append(links, fmt.Sprintf("{endpoints: [%q, %q]}", node+":"+ifc, "host:h-"+name))
			l.away = append(l.away, "h-"+name)
		case "macvlan":
			links = append(links, fmt.Sprintf("{endpoints: [%q, %q]}", node+":"+ifc, "macvlan:nic"))
		case "dummy":
			links = append(links, fmt.Sprintf("{type: dummy, endpoint: {node: %s, interface: %s}}", node, ifc))
		case "vxlan":
			links = append(links, fmt.Sprintf("{type: vxlan, endpoint: {node: %s, interface: %s}, remote: 192.0.2.2, vni: %d}", node, ifc, 70+int(name[0])))
		}
	}
	if len(links) > 0 {
		b.WriteString("  links:\n")
	}
	for _, line := range links {
		fmt.Fprintf(&b, "    - %s\n", line)
	}
	l.text = b.String()
	if p.provider == "libvirt" {
		l.renamed(used)
	}
	return l
}

// renamed has a node with another number of interfaces be another node: a
// machine has as many as it had at its boot.
func (l *randomLab) renamed(interfaces map[string]int) {
	for i, node := range l.nodes {
		if node == "sw" {
			continue
		}
		name := fmt.Sprintf("%sk%d", node, interfaces[node])
		r := strings.NewReplacer(node+":", name+":", "node: "+node+",", "node: "+name+",")
		l.nodes[i], l.text = name, r.Replace(l.text)
		for j := range l.links {
			l.links[j] = [2]string{r.Replace(l.links[j][0]), r.Replace(l.links[j][1])}
		}
	}
}
