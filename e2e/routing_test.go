package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func needs(t *testing.T, what string, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := os.Stat(p); err == nil {
			continue
		}
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: %s is missing", what, p)
		}
	}
}

// reaches waits until routes are there: protocols take their time.
func (w *world) reaches(lab, from, to string) {
	w.Helper()
	if !became(func() bool { return w.ping(lab, from, to) }) {
		w.Errorf("%s does not reach %s:\n%s", from, to, w.run("exec", lab, from, "--", "ip", "route"))
	}
}

func TestOSPFExample(t *testing.T) {
	needs(t, "frr", "/usr/lib/frr/ospfd", "vtysh")
	everyMode(t, func(w *world) {
		w.ok("deploy", w.file("ospf.clab.yml", example(w.T, "ospf-triangle")))
		lab := "ospf-triangle"
		for _, r := range []string{"r1", "r2", "r3"} {
			w.await(r+" to be fully adjacent to both others", func() bool {
				return strings.Count(w.ok("exec", lab, r, "--", "vtysh", "-c", "show ip ospf neighbor"), "Full/") == 2
			})
		}
		w.reaches(lab, "r1", "10.255.0.3")
		w.reaches(lab, "r2", "10.255.0.1")
		// One side of the triangle is cut: around the other two.
		w.ok("link", "disconnect", lab, "r1:eth2", "r3:eth1")
		w.await("the way around", func() bool {
			// There may be no way at all while OSPF finds another.
			return strings.Contains(w.run("exec", lab, "r1", "--", "ip", "route", "get", "10.255.0.3").out, "via 10.0.12.2")
		})
		w.reaches(lab, "r1", "10.255.0.3")
	})
}

func TestBGPExample(t *testing.T) {
	needs(t, "frr", "/usr/lib/frr/bgpd", "vtysh")
	t.Parallel()
	w := newWorld(t, asUser)
	w.ok("deploy", w.file("bgp.clab.yml", example(t, "bgp-fabric")))
	l := w.inspect("bgp-fabric")
	var hosts []string
	for _, n := range l.Nodes {
		switch n.Kind {
		case "linux":
			hosts = append(hosts, n.Name)
		case "frr":
			cables := 0
			for _, k := range l.Links {
				a, _, _ := strings.Cut(k.A, ":")
				b, _, _ := strings.Cut(k.B, ":")
				if (a == n.Name && l.node(b).Kind == "frr") || (b == n.Name && l.node(a).Kind == "frr") {
					cables++
				}
			}
			w.await(n.Name+" to have all its sessions", func() bool {
				out := w.ok("exec", "bgp-fabric", n.Name, "--", "vtysh", "-c", "show bgp neighbors")
				return strings.Count(out, "BGP state = Established") == cables
			})
		}
	}
	if len(hosts) < 2 {
		t.Fatalf("hosts: %v", hosts)
	}
	w.reaches("bgp-fabric", hosts[0], hosts[len(hosts)-1])
	w.reaches("bgp-fabric", hosts[len(hosts)-1], hosts[0])
}

const birds = `
name: birds
topology:
  kinds: {bird: {startup-config: bird.conf}}
  nodes:
    a: {kind: bird, exec: [ip addr add 192.0.2.1/32 dev lo]}
    b: {kind: bird, exec: [ip addr add 192.0.2.2/32 dev lo]}
  links:
    - {type: veth, endpoints: [{node: a, interface: eth1, ipv4: 10.5.0.1/24}, {node: b, interface: eth1, ipv4: 10.5.0.2/24}]}
`

const birdConf = `
protocol device {}
protocol direct { ipv4; }
protocol kernel { ipv4 { export all; }; }
protocol ospf v2 {
  ipv4 { import all; export all; };
  area 0 {
    interface "eth1" { hello 1; dead 4; type ptp; };
    interface "lo" { stub; };
  };
}
`

func TestBird(t *testing.T) {
	needs(t, "bird", "/usr/sbin/bird", "/usr/sbin/birdc")
	t.Parallel()
	w := newWorld(t, asUser)
	w.file("bird.conf", birdConf)
	w.ok("deploy", w.file("birds.clab.yml", birds))
	w.await("the adjacency", func() bool {
		return strings.Contains(w.ok("exec", "birds", "a", "--", "birdc", "show", "ospf", "neighbors"), "Full")
	})
	w.reaches("birds", "a", "192.0.2.2")
	w.ok("restart", "birds", "b")
	w.reaches("birds", "a", "192.0.2.2")
}
