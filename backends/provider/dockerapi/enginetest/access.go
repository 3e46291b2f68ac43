package enginetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/internal/nstest"
	"archetype/lab"
	"archetype/vendors"
)

// ExternalAccess: another machine, to which this one routes, reaches the nodes of a management
// network, unless its file says that it shall not. The chain is where the rules are.
func ExternalAccess(t *testing.T, s *Shared, chain string) {
	t.Helper()
	p := s.Get(t).Provider(t)
	if !Installed("iptables") || !Installed("nsenter") {
		t.Skip("needs iptables and nsenter")
	}
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	here := nstest.Enter(t, fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	far := nstest.New(t)
	nstest.Cable(here, "far0", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
	route := exec.Command("nsenter", "--net="+far.Path, StaticBusybox(), "ip", "route", "add", "default", "via", "192.0.2.1")
	if out, err := route.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	reaches := func(address string) bool {
		return exec.Command("nsenter", "--net="+far.Path, StaticBusybox(), "ping", "-c1", "-W1", address).Run() == nil
	}
	rules := func() string { // ours: the engine has its own
		out, err := exec.Command("iptables", "-w", "-S", chain).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var ours strings.Builder
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "archetype") {
				ours.WriteString(line)
			}
		}
		return ours.String()
	}
	before := rules()
	run := func(name, address string, external *bool) backends.NodeRef {
		t.Helper()
		m := &lab.Management{Network: "access-" + name, IPv4Subnet: address + "/24", ExternalAccess: external}
		ref := backends.NodeRef{Lab: "access", Node: name}
		node := strings.TrimSuffix(address, "0") + "10"
		c := backends.NodeConfig{Ref: ref, Kind: kind, Management: m, Labels: map[string]string{},
			Node: lab.Node{Name: name, Kind: "linux", Image: Image, Cmd: "sleep 1000", Container: lab.Container{ManagementIPv4: node}}}
		if err := errors.Join(p.Create(t.Context(), c), p.Start(t.Context(), ref)); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	no := false
	open := run("open", "172.31.211.0", nil)
	closed := run("closed", "172.31.212.0", &no)
	nstest.Until(t, "the other machine reaches the node", func() bool { return reaches("172.31.211.10") })
	nstest.Until(t, "this machine reaches the other node", func() bool {
		return exec.Command(StaticBusybox(), "ping", "-c1", "-W1", "172.31.212.10").Run() == nil
	})
	if reaches("172.31.212.10") {
		t.Error("external-access: false has no effect")
	}
	if err := errors.Join(p.Remove(t.Context(), open), p.Remove(t.Context(), closed)); err != nil {
		t.Fatal(err)
	}
	// A rule from before may have been that of a bridge whose name was free
	// again: it goes with the one that had it last.
	for rule := range strings.Lines(rules()) {
		if !strings.Contains(before, rule) {
			t.Errorf("this rule is left: %sand before there were:\n%s", rule, before)
		}
	}
}
