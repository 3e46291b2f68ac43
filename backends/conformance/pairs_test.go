package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/conformance"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/network/veth"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/netns"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/podman/podmantest"
)

// One line each.
var (
	providers = []conformance.Provider{
		{Name: "netns", New: func(t *testing.T) *conformance.Env { return embedded(t, newHolder, false) }},
		{Name: "docker", New: func(t *testing.T) *conformance.Env { return containers(t, dockertest.New(t), newHolder, false) }},
		{Name: "podman", New: func(t *testing.T) *conformance.Env { return containers(t, podmantest.New(t), newHolder, false) }},
		{Name: "libvirt", New: machines, Shared: true, Except: map[string]string{"hundred-links-at-once": "its machines have as many interfaces as they had at their boot",
			"foreign-interfaces-stay":  "nobody can put an interface into a machine",
			"carrier-follows-the-peer": "what a machine does to its own interface does not show at its tap",
		},
			Sample: conformance.Only("interfaces-before-init", "isolation-before-connect", "connect", "disconnect", "deleted-behind-our-back", "cleanup-leaves-nothing")},
		{Name: "netns-rootless", Away: inOwn, New: func(t *testing.T) *conformance.Env { return embedded(t, inside, true) },
			Sample: conformance.But("cancel-in-the-middle", "hundred-links-at-once")},
		{Name: "podman-rootless", Away: inPodmans, New: func(t *testing.T) *conformance.Env {
			return containers(t, enginetest.At(podmantest.Rootless, os.Getenv(insideHost)).Provider(t), inside, true)
		}, Sample: conformance.Only("interfaces-before-init", "isolation-before-connect", "connect", "reconnect-elsewhere", "multi-point-segment",
			"stopped-node-has-no-carrier", "deleted-behind-our-back", "restart-keeps-links", "node-made-anew", "cleanup-leaves-nothing")},
	}
	networks = []conformance.Network{
		{Name: "veth", New: in(veth.New)},
		{Name: "linuxbridge", New: in(linuxbridge.New), Except: map[string]string{"pause-frames": "its bridges drop them, whatever they are told"}},
		{Name: "ovs", New: openSwitch, Panel: func(n backends.Network) string { return n.(switched).panel },
			Things: func(n backends.Network) []string { return n.(switched).things() }},
	}
)

func TestConformance(t *testing.T) { conformance.Run(t, providers, networks) }

var newestDocker = enginetest.Shared{Kind: dockertest.Newest}

// Today's Docker starts and ends containers in other steps than Debian's.
func TestNewestDocker(t *testing.T) {
	conformance.Run(t, []conformance.Provider{{Name: "docker", New: func(t *testing.T) *conformance.Env {
		return containers(t, newestDocker.Get(t).Provider(t), newHolder, false)
	},
		Sample: conformance.Only("interfaces-before-init", "connect", "restart-keeps-links", "node-made-anew", "cleanup-leaves-nothing")}}, networks)
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
	sw    *ovstest.Switch
	panel string
}

func openSwitch(t *testing.T, env *conformance.Env) backends.Network {
	if env.Machine != nil {
		// In the namespace of their taps, where others have interfaces as well:
		// there it is the switch's records and the taps that are looked at.
		sw := ovstest.Here(t)
		return switched{sw.Network(ovs.Config{}), sw, env.Panel}
	}
	sw := ovstest.Start(t)
	return switched{sw.Network(ovs.Config{}), sw, sw.Namespace()}
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

// newHolder starts a holder of the test's own, which stays until the test's end.
func newHolder(t *testing.T) (h *holder.Client, labs string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if a := holder.Probe(false); !a.OK {
		t.Skip(a.Reason)
	}
	dir := t.TempDir()
	h, err := holder.Ensure(t.Context(), holder.Config{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(h.PID()) // a handle: the number may be another's one day
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = process.Kill()
		if err := h.Wait(ctx); err != nil {
			t.Error("the holder did not end: ", err)
		}
	})
	stays := backends.NodeRef{Lab: "holder", Node: "stays"} // it ends when it holds nothing
	if _, err := h.Create(t.Context(), holder.Node{Ref: stays, Folder: filepath.Join(dir, "labs", stays.Lab, stays.Node), Config: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	return h, filepath.Join(dir, "labs")
}

// place finds the holder that a pair's nodes are held by or are beside of, and
// a folder for labs.
type place func(*testing.T) (h *holder.Client, labs string)

func newEmbedded(t *testing.T, h *holder.Client, rootless bool, labs string) *netns.Provider {
	t.Helper()
	p, err := netns.New(netns.Config{Holder: h, Rootless: rootless, Labs: labs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// embedded is a place for the provider netns.
func embedded(t *testing.T, at place, rootless bool) *conformance.Env {
	h, labs := at(t)
	return &conformance.Env{Provider: newEmbedded(t, h, rootless, labs), Panel: h.Panel(), Things: func() []string {
		list, _ := filepath.Glob(filepath.Join(labs, "*", "*"))
		return list
	}}
}

// containers is a place for a provider of containers; as in the program, the
// holder's namespace is the panel, and switches are embedded nodes.
func containers(t *testing.T, p backends.Provider, at place, rootless bool) *conformance.Env {
	h, labs := at(t)
	return &conformance.Env{Provider: p, Panel: h.Panel(), Switches: newEmbedded(t, h, rootless, labs), Prepare: func(c *backends.NodeConfig) {
		c.Node.Image = enginetest.Image
		c.Node.Container.NetworkMode = "none"
	}}
}
