package topology

import (
	"encoding/json"
	"strings"
	"testing"
)

const outsideLab = `
name: l
topology:
  nodes:
    a: {kind: linux}
    b: {kind: ceos}
    br-out: {kind: bridge, network-mode: host}
    br-ovs: {kind: ovs-bridge, network-mode: host}
    sw: {kind: bridge}
    host: {kind: host}
  links:
    - endpoints: ["host:va1", "a:eth1"]
      ipv4: [10.0.0.1/24, 10.0.0.2/24]
    - endpoints: ["a:eth2", "br-out:va2"]
    - endpoints: ["a:eth3", "br-ovs:va3"]
    - endpoints: ["a:eth4", "mgmt-net:va4"]
    - endpoints: ["b:Ethernet1", "macvlan:eth0"]
    - endpoints: ["a:eth6", "dummy"]
    - endpoints: ["a:eth7", "sw:p1"]
    - {type: host, endpoint: {node: a, interface: eth8, mac: "02:00:00:00:00:01"}, host-interface: va8, mtu: 1400}
    - {type: mgmt-net, endpoint: {node: a, interface: eth9}, host-interface: va9}
    - {type: macvlan, endpoint: {node: a, interface: eth10}, host-interface: eth0, mode: vepa}
    - {type: dummy, endpoint: {node: a, interface: eth11}}
    - {type: vxlan, endpoint: {node: a, interface: eth12}, remote: 192.0.2.1, vni: 100, udp-port: 4789}
    - {type: vxlan-stitch, endpoint: {node: b, interface: eth2}, remote: peer.example.com, vni: 101, dst-port: 5000, src-port: 5001, parent-interface: eth0}
    - {type: veth-stitch, endpoints: [{node: a, interface: eth14}, {node: sw, interface: p2}]}
`

func TestLinksThatLeaveTheLab(t *testing.T) {
	top, warnings, err := parseIn(t, outsideLab, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Nodes) != 3 || len(top.Links) != 2 {
		t.Errorf("%d nodes, %d links; want a, b and sw, and two links", len(top.Nodes), len(top.Links))
	}
	want := []string{
		`{"a":{"node":"a","interface":"eth1","ipv4":["10.0.0.2/24"]},"b":{"node":"host","interface":"va1","ipv4":["10.0.0.1/24"]},"outside":{"type":"host","interface":"va1"}}`,
		`{"a":{"node":"a","interface":"eth2"},"b":{"node":"br-out","interface":"va2"},"outside":{"type":"bridge","interface":"va2","bridge":"br-out"}}`,
		`{"a":{"node":"a","interface":"eth3"},"b":{"node":"br-ovs","interface":"va3"},"outside":{"type":"ovs-bridge","interface":"va3","bridge":"br-ovs"}}`,
		`{"a":{"node":"a","interface":"eth4"},"b":{"node":"mgmt-net","interface":"va4"},"outside":{"type":"mgmt-net","interface":"va4"}}`,
		`{"a":{"node":"b","interface":"eth1"},"b":{"node":"macvlan","interface":"eth0"},"outside":{"type":"macvlan","interface":"eth0"}}`,
		`{"a":{"node":"a","interface":"eth6"},"b":{"node":"dummy","interface":"-"},"outside":{"type":"dummy"}}`,
		`{"a":{"node":"a","interface":"eth8","mac":"02:00:00:00:00:01"},"b":{"node":"host","interface":"va8"},"mtu":1400,"outside":{"type":"host","interface":"va8"}}`,
		`{"a":{"node":"a","interface":"eth9"},"b":{"node":"mgmt-net","interface":"va9"},"outside":{"type":"mgmt-net","interface":"va9"}}`,
		`{"a":{"node":"a","interface":"eth10"},"b":{"node":"macvlan","interface":"eth0"},"outside":{"type":"macvlan","interface":"eth0","mode":"vepa"}}`,
		`{"a":{"node":"a","interface":"eth11"},"b":{"node":"dummy","interface":"-"},"outside":{"type":"dummy"}}`,
		`{"a":{"node":"a","interface":"eth12"},"b":{"node":"vxlan","interface":"192.0.2.1/100"},"outside":{"type":"vxlan","remote":"192.0.2.1","vni":100,"dst_port":4789}}`,
		`{"a":{"node":"b","interface":"eth2"},"b":{"node":"vxlan-stitch","interface":"peer.example.com/101"},"outside":{"type":"vxlan-stitch","remote":"peer.example.com","vni":101,"dst_port":5000,"src_port":5001,"parent":"eth0"}}`,
	}
	for i, l := range top.Outside {
		got, _ := json.Marshal(l)
		if i >= len(want) || string(got) != want[i] {
			t.Errorf("link %d: %s", i, got)
		}
	}
	if len(top.Outside) != len(want) {
		t.Errorf("%d links leave, want %d", len(top.Outside), len(want))
	}
	ids := map[string]bool{}
	for _, l := range append(top.Links, top.Outside...) {
		ids[l.ID()] = true
	}
	if len(ids) != len(want)+2 {
		t.Errorf("%d identities for %d links", len(ids), len(want)+2)
	}
	// Every type that is not served is named once.
	said := map[string]int{}
	for _, w := range warnings {
		for _, l := range linkTypes {
			if strings.Contains(w.Message, "type \""+l.name+"\"") {
				said[l.name]++
			}
		}
	}
	for _, l := range linkTypes {
		if l.status == later && said[l.name] != 1 {
			t.Errorf("type %s is named %d times in the warnings", l.name, said[l.name])
		}
	}
}

func TestMistakesInLinksThatLeave(t *testing.T) {
	for name, tt := range map[string]struct{ link, want string }{
		"same name twice":      {"- endpoints: [\"a:eth1\", \"host:v\"]\n    - endpoints: [\"a:eth2\", \"mgmt-net:v\"]", `t.yml:8:29: error: link 2: the machine's interface "v" is used by link 1 already`},
		"same node end":        {"- endpoints: [\"a:eth1\", \"host:v\"]\n    - endpoints: [\"a:eth1\", \"b:eth1\"]", `t.yml:8:19: error: link 2: a:eth1 is used by link 1 already`},
		"long name":            {"- endpoints: [\"a:eth1\", \"host:averyveryverylongname\"]", `t.yml:7:29: error: link 1: interface name "averyveryverylongname" is longer`},
		"machine to machine":   {"- endpoints: [\"host:x\", \"mgmt-net:y\"]", "from the machine to the machine"},
		"brief tunnel":         {"- endpoints: [\"a:eth1\", \"vxlan:x\"]", "a tunnel needs more than the brief form says (write type: vxlan"},
		"no host-interface":    {"- {type: host, endpoint: {node: a, interface: eth1}}", "a link of type host needs host-interface"},
		"no endpoint":          {"- {type: dummy}", "needs an endpoint"},
		"endpoints":            {"- {type: dummy, endpoints: [\"a:x\", \"b:x\"]}", `t.yml:7:21: error: link 1: "endpoints" means nothing in a link of type dummy`},
		"vni":                  {"- {type: vxlan, endpoint: {node: a, interface: eth1}, remote: 192.0.2.1, vni: 99999999}", "within 1 to 16777215"},
		"no vni":               {"- {type: vxlan, endpoint: {node: a, interface: eth1}, remote: 192.0.2.1}", "needs remote and vni"},
		"remote":               {"- {type: vxlan, endpoint: {node: a, interface: eth1}, remote: \"a b\", vni: 1}", `remote "a b" is neither`},
		"mode":                 {"- {type: macvlan, endpoint: {node: a, interface: eth1}, host-interface: eth0, mode: brige}", `unknown value "brige" (did you mean "bridge"?)`},
		"mode of a veth":       {"- {endpoints: [\"a:eth1\", \"b:eth1\"], mode: bridge}", `"mode" means nothing in a link of type veth`},
		"endpoint outside":     {"- {type: dummy, endpoint: {node: host, interface: eth1}}", "must be a node"},
		"unknown node":         {"- {type: dummy, endpoint: {node: aa, interface: eth1}}", `unknown node "aa" (did you mean "a"?)`},
		"half an endpoint":     {"- {type: dummy, endpoint: {node: a}}", "an endpoint needs node and interface"},
		"a misspelled special": {"- endpoints: [\"a:eth1\", \"hosst:x\"]", `unknown node "hosst" (did you mean "host"?)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse("t.yml", []byte(two+"    "+tt.link+"\n"), Options{Kinds: kinds(t), Env: env()})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("said:\n%v\nwant %q", err, tt.want)
			}
		})
	}
}

func TestPartsOfTheMachine(t *testing.T) {
	if _, _, err := Parse("t.yml", []byte("name: l\ntopology: {nodes: {h: {kind: host}}}\n"), Options{Kinds: kinds(t)}); err == nil || !strings.Contains(err.Error(), "no nodes of its own") {
		t.Errorf("only the machine: %v", err)
	}
	if _, _, err := Parse("t.yml", []byte("name: l\ntopology: {nodes: {a: {kind: linux}, a-much-too-long-name: {kind: bridge, network-mode: host}}}\n"), Options{Kinds: kinds(t)}); err == nil || !strings.Contains(err.Error(), "longer than the kernel's") {
		t.Errorf("a bridge that cannot be: %v", err)
	}
	_, warnings, err := Parse("t.yml", []byte("name: l\ntopology: {nodes: {lo: {kind: bridge}}}\n"), Options{Kinds: kinds(t)})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "network-mode: host takes the machine's") {
		t.Errorf("a switch with a namesake: %v, %v", warnings, err)
	}
}

func TestKindsThatAreElsewhere(t *testing.T) {
	_, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  kinds: {k8s-kind: {image: x}}\n  nodes:\n    a: {kind: k8s-kind}\n"), Options{Kinds: kinds(t)})
	if _, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  nodes:\n    a: {kind: cisco_iol, type: l3}\n    b: {kind: cisco_iol, type: L2}\n"), Options{Kinds: kinds(t)}); err == nil || err.Error() != `t.yml:4:32: error: node "a": type "l3": kind cisco_iol has iol, l2 (did you mean "l2"?)` {
		t.Errorf("a type that the kind has not: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), `t.yml:5:15: error: node "a": containerlab's kind "k8s-kind" is not served: a Kubernetes cluster`) {
		t.Errorf("said %v", err)
	}
}
