package conformance_test

import (
	"bufio"
	"context"
	"slices"
	"strings"
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

const (
	machineTurns = 100
	machinePause = 500 * time.Microsecond // between two questions: an emulated processor answers slowly
)

// BenchmarkHotMachine cuts and joins the cable of a virtual machine that
// runs: it counts when the machine has answered the first question that came
// through, which is ARP's for its address.
func BenchmarkHotMachine(b *testing.B) {
	d := libvirttest.Start(b)
	kind := libvirttest.Build(b, d.Dir, "ip addr add 10.7.0.1/24 dev eth0; ip link set eth0 up", nil).Kind(b, "machine", "")
	p := d.Provider()
	ref := backends.NodeRef{Lab: "hotvm", Node: "vm"}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(p.Create(b.Context(), backends.NodeConfig{Ref: ref, Node: lab.Node{Name: "vm", Kind: kind.Name}, Kind: p.Adapt(kind), Interfaces: []string{"eth1"}}))
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Remove(ctx, ref); err != nil {
			b.Error(err)
		}
	})
	must(p.Start(b.Context(), ref))
	log, err := p.Logs(b.Context(), ref, backends.LogOptions{Follow: true, Boot: true})
	must(err)
	for s := bufio.NewScanner(log); s.Scan() && !strings.Contains(s.Text(), "guest: up"); {
		continue
	}
	_ = log.Close()
	at, err := p.Attachment(b.Context(), ref, "eth1")
	must(err)
	mac, asks, answers := []byte{2, 0, 0, 0, 0, 1}, []byte{10, 7, 0, 2}, []byte{10, 7, 0, 1}
	question := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, asks, make([]byte, 6), answers, make([]byte, 18))
	for _, name := range []string{"veth", "linuxbridge", "ovs"} {
		b.Run(name, func(b *testing.B) {
			here := nstest.Here(b) // where the tap is
			peer := nstest.New(b)
			h := newHotWith(b, peer, peer, question, 0x0806, machinePause)
			var n backends.Network
			var err error
			switch name {
			case "veth":
				n, err = veth.New(here)
			case "linuxbridge":
				n, err = linuxbridge.New(here)
			default:
				n = ovstest.Here(b).Network(ovs.Config{Panel: here})
			}
			h.must(err)
			h.must(n.Initialize(b.Context(), ref.Lab))
			b.Cleanup(func() {
				if err := n.Cleanup(context.Background(), ref.Lab); err != nil {
					b.Error(err)
				}
			})
			l := backends.Link{Lab: ref.Lab, A: backends.Port{Lab: ref.Lab, Attachment: peer.Attachment("e"), End: lab.End{Endpoint: lab.Endpoint{Node: "peer", Interface: "e"}}},
				B: backends.Port{Lab: ref.Lab, Attachment: at, End: lab.End{Endpoint: lab.Endpoint{Node: "vm", Interface: "eth1"}}}}
			h.must(n.Connect(b.Context(), l))
			h.watch(l)
			h.first()
			h.turns(n, l, machineTurns)
			h.must(n.DeleteLink(context.Background(), l))
		})
	}
}
