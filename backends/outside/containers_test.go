package outside_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/network/veth"
	"archetype/backends/outside"
	"archetype/backends/overlay/vxlan"
	"archetype/backends/provider/docker/dockertest"
	"archetype/internal/nstest"
	"archetype/lab"
	"archetype/vendors"
)

func TestMain(m *testing.M) { os.Exit(dockertest.Main(m)) }

// A container's links leave the lab as any node's do, over a restart too; and
// the management network's bridge is found without being named.
func TestContainers(t *testing.T) {
	p := dockertest.New(t)
	host := nstest.Enter(t, nstest.Here(t)) // the container engine's
	panel := nstest.New(t)
	tunnels, err := vxlan.New(host.Path, panel.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tunnels.Close() })
	out, err := outside.New(outside.Config{Host: host.Path, Panel: panel.Path, Tunnels: tunnels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	network, err := veth.New(panel.Path)
	if err != nil {
		t.Fatal(err)
	}
	net := out.Over(network)
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	ctx, before := t.Context(), host.Names()
	ref := backends.NodeRef{Lab: "l", Node: "n1"}
	mgmt := &lab.Management{Network: "archetype-outside", IPv4Subnet: "172.31.251.0/24"}
	if _, err := p.ManagementBridge(ctx, mgmt); !errors.Is(err, backends.ErrNotFound) {
		t.Fatalf("before there is one: %v", err)
	}
	end := func(iface, address string) lab.End {
		return lab.End{Endpoint: lab.Endpoint{Node: "n1", Interface: iface}, IPv4: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	ends := []lab.End{end("eth1", "10.9.0.1/24"), end("eth2", "172.31.251.200/24")}
	err = p.Create(ctx, backends.NodeConfig{Ref: ref, Kind: kind, Interfaces: []string{"eth1", "eth2"}, Ends: ends, Management: mgmt,
		Node:   lab.Node{Name: "n1", Kind: "linux", Image: dockertest.Image, Cmd: "sleep 1000"},
		Labels: map[string]string{"archetype.lab": "l", "archetype.node": "n1", "archetype.spec": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := p.ManagementBridge(ctx, mgmt)
	if err != nil || !slices.Contains(host.Names(), bridge) {
		t.Fatalf("bridge %q, %v", bridge, err)
	}
	far := lab.End{Endpoint: lab.Endpoint{Node: "host", Interface: "arch-out1"}, IPv4: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}
	links := []backends.Link{
		{Lab: "l", A: backends.Port{Lab: "l", End: ends[0]}, B: backends.Port{Lab: "l", End: far,
			Outside: &lab.Outside{Type: lab.OutsideHost, Interface: "arch-out1"}}},
		{Lab: "l", A: backends.Port{Lab: "l", End: ends[1]}, B: backends.Port{Lab: "l",
			End:     lab.End{Endpoint: lab.Endpoint{Node: "mgmt-net", Interface: "arch-out2"}},
			Outside: &lab.Outside{Type: lab.OutsideManagement, Interface: "arch-out2", Bridge: bridge}}},
	}
	connect := func() {
		t.Helper()
		for i := range links {
			if links[i].A.Attachment, err = p.Attachment(ctx, ref, links[i].A.End.Interface); err != nil {
				t.Fatal(err)
			}
			if err := net.Connect(ctx, links[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	reached := func(when, address string, args ...string) {
		t.Helper()
		nstest.Until(t, "the node reaches "+address+" "+when, func() bool {
			cmd := append(append([]string{"ping", "-c", "1", "-W", "1"}, args...), address)
			r, err := p.Exec(ctx, ref, backends.ExecRequest{Command: cmd})
			if err != nil {
				t.Fatal(err)
			}
			return r.Code == 0
		})
	}
	connect()
	if err := p.Start(ctx, ref); err != nil {
		t.Fatal(err)
	}
	reached("at first", "10.9.0.2")
	reached("at first", "172.31.251.1", "-I", "eth2")
	if err := errors.Join(p.Stop(ctx, ref, time.Second), p.Start(ctx, ref)); err != nil {
		t.Fatal(err)
	}
	connect()
	reached("after a restart", "10.9.0.2")
	for _, l := range links {
		if st, err := net.State(ctx, l); err != nil || !st.Connected {
			t.Errorf("%+v, %v", st, err)
		}
		if err := net.DeleteLink(ctx, l); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(p.Remove(ctx, ref), out.Cleanup(context.WithoutCancel(ctx), "l")); err != nil {
		t.Fatal(err)
	}
	for _, name := range host.Names() {
		if !slices.Contains(before, name) && strings.HasPrefix(name, "arch-out") {
			t.Errorf("left on the machine: %s", name)
		}
	}
}
