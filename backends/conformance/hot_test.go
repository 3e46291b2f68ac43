package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/network/veth"
	"archetype/internal/nstest"
	"archetype/lab"
)

// What is measured here is what a device on a cable sees: frames are sent all
// the time, and it counts when they arrive. Run it with -benchtime=1x.

const (
	hotTurns   = 200 // of a cable that is cut and joined
	swapLinks  = 100
	hotPause   = 50 * time.Microsecond // between two frames
	hotSilence = 20 * time.Millisecond // after which no frame is on its way any more
	hotLimit   = 10 * time.Second      // for what takes milliseconds
	hotType    = 0x88b5                // the Ethernet type for experiments
)

// BenchmarkHot cuts and joins a cable between two nodes that run.
func BenchmarkHot(b *testing.B) {
	for _, name := range []string{"veth", "linuxbridge", "ovs"} {
		b.Run(name, func(b *testing.B) {
			h := newHot(b)
			n := h.network(name)
			l := h.cable(0)
			h.must(n.Connect(b.Context(), l))
			h.watch(l)
			h.first()
			h.turns(n, l, hotTurns)
			h.must(n.DeleteLink(context.Background(), l))
		})
	}
}

// turns cuts and joins a cable, and reports how long each takes.
func (h *hot) turns(n backends.Network, l backends.Link, turns int) {
	var join, cut, last []time.Duration
	for range turns {
		began := h.now()
		h.must(n.Disconnect(h.Context(), l))
		cut = append(cut, h.now()-began)
		h.silent()
		last = append(last, max(0, time.Duration(h.latest.Load())-began))
		h.arm()
		began = h.now()
		h.must(n.Connect(h.Context(), l))
		join = append(join, h.first()-began)
	}
	h.report("connect", join)
	h.report("disconnect", cut)
	h.report("last-frame", last)
}

// BenchmarkSwap moves the links of a lab from one network to another while
// frames cross the link that is on its way.
func BenchmarkSwap(b *testing.B) {
	names := []string{"veth", "linuxbridge", "ovs"}
	for _, from := range names {
		for _, to := range names {
			if from == to {
				continue
			}
			b.Run(from+"-to-"+to, func(b *testing.B) {
				h := newHot(b)
				old, next := h.network(from), h.network(to)
				links := make([]backends.Link, swapLinks)
				for i := range links {
					links[i] = h.cable(i)
					h.must(old.Connect(b.Context(), links[i]))
				}
				var gaps []time.Duration
				for _, l := range links {
					h.watch(l)
					h.first()
					h.longest.Store(0)
					h.must(old.(backends.Handover).Release(b.Context(), l))
					h.must(next.Connect(b.Context(), l))
					h.arm()
					h.first()
					gaps = append(gaps, time.Duration(h.longest.Load()))
				}
				h.report("gap", gaps)
				for _, l := range links {
					h.must(next.DeleteLink(context.Background(), l))
				}
			})
		}
	}
}

// hot is two nodes and what measures between them.
type hot struct {
	*testing.B
	a, z, panel *nstest.NS
	out, in     int
	frame       []byte // what is sent
	pause       time.Duration
	start       time.Time

	mu   sync.Mutex
	name string // of the interface that is sent from

	latest  atomic.Int64 // when the latest frame arrived, in ns from the start
	longest atomic.Int64 // the longest time between two
	armed   atomic.Bool
	arrived chan time.Duration
}

func newHot(b *testing.B) *hot {
	a, z := nstest.New(b), nstest.New(b)
	frame := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, hotType >> 8, hotType & 0xff}, make([]byte, 50))
	return newHotWith(b, a, z, frame, hotType, hotPause)
}

// newHotWith has a frame sent from one place all the time, and looks for those
// of a type that arrive at another.
func newHotWith(b *testing.B, a, z *nstest.NS, frame []byte, arrives uint16, pause time.Duration) *hot {
	h := &hot{B: b, a: a, z: z, panel: nstest.New(b), frame: frame, pause: pause, start: time.Now(), arrived: make(chan time.Duration, 1)}
	h.must(h.a.Do(func() (err error) { h.out, err = packetSocket(0); return err }))
	h.must(h.z.Do(func() (err error) { h.in, err = packetSocket(arrives); return err }))
	h.must(unix.SetsockoptTimeval(h.in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.send(ctx) })
	wg.Go(func() { h.receive(ctx) })
	b.Cleanup(func() {
		cancel()
		wg.Wait()
		_, _ = unix.Close(h.out), unix.Close(h.in)
	})
	return h
}

func packetSocket(proto uint16) (int, error) {
	return unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto<<8|proto>>8))
}

func (h *hot) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *hot) now() time.Duration { return time.Since(h.start) }

// network makes one of that name; ovs is on a switch of its own.
func (h *hot) network(name string) backends.Network {
	h.Helper()
	var n backends.Network
	var err error
	switch name {
	case "veth":
		n, err = veth.New(h.panel.Path)
	case "linuxbridge":
		n, err = linuxbridge.New(h.panel.Path)
	default:
		n = ovstest.Network(h, h.panel.Path)
	}
	h.must(err)
	h.must(n.Initialize(h.Context(), "hot"))
	h.Cleanup(func() {
		if err := n.Cleanup(context.Background(), "hot"); err != nil {
			h.Error(err)
		}
	})
	return n
}

func (h *hot) cable(i int) backends.Link {
	port := func(node, iface string, at backends.Attachment) backends.Port {
		return backends.Port{Lab: "hot", Attachment: at, End: lab.End{Endpoint: lab.Endpoint{Node: node, Interface: iface}}}
	}
	x, y := fmt.Sprintf("x%d", i), fmt.Sprintf("y%d", i)
	return backends.Link{Lab: "hot", A: port("a", x, h.a.Attachment(x)), B: port("z", y, h.z.Attachment(y))}
}

// watch has frames cross a link from now on, and awaits the first.
func (h *hot) watch(l backends.Link) {
	h.mu.Lock()
	h.name = l.A.End.Interface
	h.mu.Unlock()
	h.arm()
}

// arm has the next frame told that arrives.
func (h *hot) arm() {
	h.armed.Store(false)
	select {
	case <-h.arrived:
	default:
	}
	h.armed.Store(true)
}

// first is when the first frame arrived after arm.
func (h *hot) first() time.Duration {
	h.Helper()
	select {
	case at := <-h.arrived:
		return at
	case <-time.After(hotLimit):
		h.Fatal("no frame arrives")
		return 0
	}
}

// silent waits until no frame arrives any more.
func (h *hot) silent() {
	h.Helper()
	for end := h.now() + hotLimit; h.now()-time.Duration(h.latest.Load()) < hotSilence; time.Sleep(time.Millisecond) {
		if h.now() > end {
			h.Fatal("frames cross a cable that is cut")
		}
	}
}

func (h *hot) send(ctx context.Context) {
	to, at := "", &unix.SockaddrLinklayer{}
	for ; ctx.Err() == nil; time.Sleep(h.pause) {
		h.mu.Lock()
		name := h.name
		h.mu.Unlock()
		if name == "" {
			continue
		}
		if name != to || at.Ifindex == 0 {
			to, at = name, &unix.SockaddrLinklayer{}
			if l, err := h.a.Find(name); err == nil && l != nil {
				at.Ifindex = l.Attrs().Index
			}
			continue
		}
		err := unix.Sendto(h.out, h.frame, 0, at)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			at.Ifindex = 0 // a move may have made it anew
		}
	}
}

func (h *hot) receive(ctx context.Context) {
	buf := make([]byte, 256)
	for ctx.Err() == nil {
		if n, err := unix.Read(h.in, buf); err != nil || n < 14 {
			continue // it was set down, or nothing came
		}
		now := h.now()
		if gap := int64(now) - h.latest.Swap(int64(now)); gap > h.longest.Load() {
			h.longest.Store(gap)
		}
		if h.armed.CompareAndSwap(true, false) {
			h.arrived <- now
		}
	}
}

// report gives the median and the 99th percentile, in milliseconds.
func (h *hot) report(what string, all []time.Duration) {
	slices.Sort(all)
	at := func(percent int) float64 {
		return float64(all[min(len(all)*percent/100, len(all)-1)].Microseconds()) / 1000
	}
	h.ReportMetric(at(50), what+"-p50-ms")
	h.ReportMetric(at(99), what+"-p99-ms")
	h.ReportMetric(0, "ns/op")
}
