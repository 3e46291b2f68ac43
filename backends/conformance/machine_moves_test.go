package conformance_test

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/network/veth"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/nstest"
	"archetype/lab"
)

// TestMachineOnAllNetworks: one machine has a link on each network at once,
// and every link is moved to every network while packets cross all three.
func TestMachineOnAllNetworks(t *testing.T) {
	t.Parallel()
	d := libvirttest.Start(t)
	kind := libvirttest.Build(t, d.Dir, "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore\nfor n in 0 1 2; do ip addr add 10.7.$n.1/24 dev eth$n; ip link set eth$n up; done", nil).Kind(t, "machine", "")
	p := d.Provider()
	here := nstest.Here(t) // where the taps are
	ref := backends.NodeRef{Lab: "moves", Node: "vm"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v, err := veth.New(here)
	must(err)
	b, err := linuxbridge.New(here)
	must(err)
	networks := []backends.Network{v, b, ovstest.Here(t).Network(ovs.Config{Panel: here})}
	c := backends.NodeConfig{Ref: ref, Node: lab.Node{Name: "vm", Kind: kind.Name}, Kind: p.Adapt(kind), Interfaces: []string{"eth1", "eth2", "eth3"}}
	must(p.Create(t.Context(), c))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, n := range networks {
			if err := n.Cleanup(ctx, ref.Lab); err != nil {
				t.Error(err)
			}
		}
		if err := p.Remove(ctx, ref); err != nil {
			t.Error(err)
		}
	})
	var links []backends.Link
	var pings []*pinger
	for i, n := range networks {
		must(n.Initialize(t.Context(), ref.Lab))
		iface := fmt.Sprintf("eth%d", i+1)
		at, err := p.Attachment(t.Context(), ref, iface)
		must(err)
		peer := nstest.New(t)
		l := backends.Link{Lab: ref.Lab, A: backends.Port{Lab: ref.Lab, Attachment: at, End: lab.End{Endpoint: lab.Endpoint{Node: "vm", Interface: iface}}},
			B: backends.Port{Lab: ref.Lab, Attachment: peer.Attachment("e"), End: lab.End{Endpoint: lab.Endpoint{Node: "peer" + iface, Interface: "e"}}}}
		must(n.Connect(t.Context(), l))
		links = append(links, l)
		must(peer.Do(func() error {
			return exec.Command("ip", "addr", "add", fmt.Sprintf("10.7.%d.2/24", i), "dev", "e").Run()
		}))
		pings = append(pings, &pinger{peer, fmt.Sprintf("10.7.%d.1", i)})
	}
	must(p.Start(t.Context(), ref))
	all := func(when string) {
		t.Helper()
		for i, g := range pings {
			if !g.reaches() {
				t.Fatalf("%s: nothing passes over link %d", when, i)
			}
		}
	}
	all("a link on each network")
	boot := func() uint64 {
		list, err := p.List(t.Context(), ref.Lab)
		must(err)
		return list[0].Boot
	}
	first := boot()
	for _, g := range pings {
		defer g.goOn(t.Context())()
	}
	for turn := range networks {
		for i, l := range links {
			from, to := networks[(i+turn)%len(networks)], networks[(i+turn+1)%len(networks)]
			must(from.(backends.Handover).Release(t.Context(), l))
			must(to.Connect(t.Context(), l))
			all(fmt.Sprintf("link %d moved from %s to %s", i, from.Name(), to.Name()))
		}
	}
	if boot() != first {
		t.Error("the machine was started anew")
	}
}

// pinger sends echo requests from a namespace to the machine.
type pinger struct {
	ns *nstest.NS
	to string
}

func (g *pinger) command(words ...string) *exec.Cmd {
	return exec.Command("busybox", append(append([]string{"ping"}, words...), g.to)...)
}

func (g *pinger) reaches() bool {
	for range 120 {
		if g.ns.Do(func() error { return g.command("-c", "1", "-W", "1").Run() }) == nil {
			return true
		}
	}
	return false
}

// goOn sends all the time, until it is told to stop.
func (g *pinger) goOn(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = g.ns.Do(func() error { return g.command("-c", "1", "-W", "1").Run() })
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
