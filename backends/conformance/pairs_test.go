package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/conformance"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/network/veth"
	"archetype/backends/provider/netns"
	"archetype/backends/provider/netns/holder"
)

// One line each.
var (
	providers = []conformance.Provider{
		{Name: "netns", New: func(t *testing.T) *conformance.Env { return embedded(t, false) }},
		{Name: "netns-rootless", New: func(t *testing.T) *conformance.Env { return embedded(t, true) }},
	}
	networks = []conformance.Network{
		{Name: "veth", New: in(veth.New)},
		{Name: "linuxbridge", New: in(linuxbridge.New), Except: map[string]string{"pause-frames": "its bridges drop them, whatever they are told"}},
		{Name: "ovs", New: openSwitch, Panel: func(n backends.Network) string { return n.(switched).sw.Namespace() },
			Things: func(n backends.Network) []string { return n.(switched).things() }},
	}
)

func TestConformance(t *testing.T) {
	before := machine(t)
	t.Cleanup(func() { // once all pairs are done
		if after := machine(t); !slices.Equal(before, after) {
			t.Errorf("on the machine was\n  %s\nand is now\n  %s", strings.Join(before, "\n  "), strings.Join(after, "\n  "))
		}
	})
	conformance.Run(t, providers, networks)
}

// in opens a network that lives in the panel.
func in[N backends.Network](open func(panel string) (N, error)) func(*testing.T, *conformance.Env) backends.Network {
	return func(t *testing.T, env *conformance.Env) backends.Network {
		n, err := open(env.Panel)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// switched is a network with the switch that it is on.
type switched struct {
	*ovs.Network
	sw *ovstest.Switch
}

func openSwitch(t *testing.T, env *conformance.Env) backends.Network {
	if env.Rootless {
		t.Skip("not possible without root: Open vSwitch takes no interfaces from a user namespace")
	}
	sw := ovstest.Start(t)
	return switched{sw.Network(ovs.Config{}), sw}
}

// things are the switch's own records.
func (s switched) things() []string {
	var out []string
	for _, table := range []string{"Bridge", "Port", "Interface"} {
		for _, name := range strings.Fields(s.sw.Ctl("--bare", "--columns=name", "list", table)) {
			out = append(out, table+" "+name)
		}
	}
	return out
}

// newHolder starts a holder of the test's own.
func newHolder(t *testing.T, rootless bool) (*holder.Client, string) {
	t.Helper()
	if !rootless && os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if a := holder.Probe(rootless); !a.OK {
		t.Skip(a.Reason)
	}
	dir := t.TempDir()
	h, err := holder.Ensure(t.Context(), holder.Config{Dir: filepath.Join(dir, "run"), Rootless: rootless})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = syscall.Kill(h.PID(), syscall.SIGKILL)
		if err := h.Wait(ctx); err != nil {
			t.Error("the holder did not end: ", err)
		}
	})
	return h, dir
}

func embedded(t *testing.T, rootless bool) *conformance.Env {
	h, dir := newHolder(t, rootless)
	p, err := netns.New(netns.Config{Holder: h, Rootless: rootless, Labs: filepath.Join(dir, "labs")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	stays := backends.NodeRef{Lab: "holder", Node: "stays"} // it ends when it holds nothing
	if err := h.Create(t.Context(), holder.Node{Ref: stays, Folder: filepath.Join(dir, "labs", stays.Lab, stays.Node), Config: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	return &conformance.Env{Provider: p, Rootless: rootless, Panel: h.Panel(), Things: func() []string { return left(filepath.Join(dir, "labs")) }}
}

// left lists the folders of nodes.
func left(dir string) []string {
	list, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	return list
}
