package ovs_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/backends/network/ovs"
)

// BenchmarkPorts wires links on a switch: with Connect, few at once and as
// many as an engine asks for, and by ovs-vsctl, a process per port, on
// interfaces that are there already. Run it with -benchtime=1x.
func BenchmarkPorts(b *testing.B) {
	for _, ports := range []int{200, 1000} {
		for _, atOnce := range []int{16, 128} {
			if ports > 200 && atOnce < 128 {
				continue // takes minutes: that is why an engine asks for more
			}
			b.Run(fmt.Sprintf("Connect/ports=%d/at-once=%d", ports, atOnce), func(b *testing.B) {
				measure(b, ports, func(w *bench, links []backends.Link) { w.connectAll(links, atOnce) })
			})
		}
		b.Run(fmt.Sprintf("ovs-vsctl/ports=%d", ports), func(b *testing.B) {
			w := newBench(b, ovs.Config{})
			b.ReportMetric(1/w.vsctl(ports).Seconds(), "ports/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// vsctl is how long ovs-vsctl takes for a port on the way to so many. It gets
// slower with each, so it is sampled: what lies between comes in one command.
func (b *bench) vsctl(ports int) time.Duration {
	b.t.Helper()
	const samples, each = 5, 10
	b.sw.Ctl("add-br", "arch0", "--", "set", "bridge", "arch0", "datapath_type=netdev")
	var took time.Duration
	for s := range samples {
		var fill []string
		for i := s * ports / samples; i < (s+1)*ports/samples; i++ {
			name := fmt.Sprintf("v%d", i)
			b.veth(name)
			add := []string{"--", "add-port", "arch0", name, fmt.Sprintf("tag=%d", i+1)}
			if i < (s+1)*ports/samples-each {
				fill = append(fill, add...)
				continue
			}
			if fill != nil {
				b.sw.Ctl(fill...)
				fill = nil
			}
			start := time.Now()
			b.sw.Ctl(add[1:]...)
			took += time.Since(start)
		}
	}
	return took / (samples * each)
}

func measure(b *testing.B, ports int, f func(*bench, []backends.Link)) {
	var took time.Duration
	for range b.N {
		b.StopTimer()
		w := newBench(b, ovs.Config{})
		links := make([]backends.Link, ports/2)
		for i := range links {
			links[i] = w.cable(fmt.Sprintf("a:e%d", i), fmt.Sprintf("b:e%d", i))
		}
		b.StartTimer()
		start := time.Now()
		f(w, links)
		took += time.Since(start)
		b.StopTimer()
		w.must(w.Cleanup(context.Background(), labName))
	}
	b.ReportMetric(float64(ports*b.N)/took.Seconds(), "ports/s")
	b.ReportMetric(0, "ns/op")
}

// connectAll connects links, so many at once.
func (b *bench) connectAll(links []backends.Link, atOnce int) {
	b.t.Helper()
	gate := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, l := range links {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := b.Connect(context.Background(), l); err != nil {
				b.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// veth makes a pair for ovs-vsctl to use.
func (b *bench) veth(name string) {
	b.t.Helper()
	ns, err := nsnet.Open(b.sw.Namespace())
	b.must(err)
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = name, net.FlagUp
	b.must(ns.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "p" + name}))
}
