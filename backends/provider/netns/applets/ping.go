package applets

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

type pinger struct {
	count    int
	interval float64
	wait     float64
	size     int
	quiet    bool
	v4, v6   bool
	out      io.Writer

	sent, received int
	times          []time.Duration
}

func pingMain(args []string, out, errOut io.Writer) int {
	p := &pinger{out: out}
	fs := flag.NewFlagSet("ping", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.IntVar(&p.count, "c", 0, "stop after this many")
	fs.Float64Var(&p.interval, "i", 1, "seconds between two")
	fs.Float64Var(&p.wait, "W", 1, "seconds to wait for an answer")
	fs.IntVar(&p.size, "s", 56, "bytes of data")
	fs.BoolVar(&p.quiet, "q", false, "only the summary")
	fs.BoolVar(&p.v4, "4", false, "IPv4")
	fs.BoolVar(&p.v6, "6", false, "IPv6")
	fs.Bool("n", false, "numbers only, as always here")
	fs.Usage = func() {}
	if err := fs.Parse(apart(args, "ciWs")); err != nil || fs.NArg() != 1 {
		printf(errOut, "Usage: ping [-c N] [-i SECONDS] [-W SECONDS] [-s BYTES] [-q] [-4|-6] HOST\n")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := p.run(ctx, fs.Arg(0)); err != nil {
		printf(errOut, "ping: %v\n", err)
		return 2
	}
	if p.received == 0 {
		return 1
	}
	return 0
}

// apart writes flags as package flag wants them: "-c1" as "-c 1" where the
// letter takes a value, and "-nq" as "-n -q".
func apart(args []string, valued string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		if len(a) < 3 || a[0] != '-' || a[1] == '-' {
			out = append(out, a)
			continue
		}
		for a = a[1:]; a != ""; a = a[1:] {
			out = append(out, "-"+a[:1])
			if strings.Contains(valued, a[:1]) {
				if a[1:] != "" {
					out = append(out, a[1:])
				}
				break
			}
		}
	}
	return out
}

func (p *pinger) run(ctx context.Context, host string) error {
	network := "ip"
	switch {
	case p.v4:
		network = "ip4"
	case p.v6:
		network = "ip6"
	}
	to, err := net.ResolveIPAddr(network, host)
	if err != nil {
		return fmt.Errorf("%s: name or service not known", host)
	}
	proto, listen, any, request := 1, "ip4:icmp", "0.0.0.0", icmp.Type(ipv4.ICMPTypeEcho)
	if to.IP.To4() == nil {
		proto, listen, any, request = 58, "ip6:ipv6-icmp", "::", ipv6.ICMPTypeEchoRequest
	}
	c, err := icmp.ListenPacket(listen, any)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	printf(p.out, "PING %s (%s): %d data bytes\n", host, to.IP, p.size)
	began := time.Now()
	id := os.Getpid() & 0xffff
	for seq := 1; (p.count == 0 || seq <= p.count) && ctx.Err() == nil; seq++ {
		next := time.Now().Add(time.Duration(p.interval * float64(time.Second)))
		if err := p.one(ctx, c, to, proto, request, id, seq); err != nil {
			return err
		}
		if p.count == 0 || seq < p.count {
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(next)):
			}
		}
	}
	loss := 100 * (p.sent - p.received) / max(1, p.sent)
	printf(p.out, "\n--- %s ping statistics ---\n%d packets transmitted, %d received, %d%% packet loss, time %dms\n",
		host, p.sent, p.received, loss, time.Since(began).Milliseconds())
	p.summary()
	return nil
}

func (p *pinger) summary() {
	if len(p.times) == 0 {
		return
	}
	least, most, sum, squares := math.MaxFloat64, 0.0, 0.0, 0.0
	for _, t := range p.times {
		ms := float64(t) / float64(time.Millisecond)
		least, most, sum, squares = min(least, ms), max(most, ms), sum+ms, squares+ms*ms
	}
	n := float64(len(p.times))
	mean := sum / n
	printf(p.out, "rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", least, mean, most, math.Sqrt(max(0, squares/n-mean*mean)))
}

func (p *pinger) one(ctx context.Context, c *icmp.PacketConn, to *net.IPAddr, proto int, request icmp.Type, id, seq int) error {
	data := make([]byte, max(p.size, 0))
	if len(data) >= 8 {
		binary.BigEndian.PutUint64(data, uint64(time.Now().UnixNano()))
	}
	b, err := (&icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: seq & 0xffff, Data: data}}).Marshal(nil)
	if err != nil {
		return err
	}
	sent := time.Now()
	p.sent++
	if _, err := c.WriteTo(b, to); err != nil {
		printf(p.out, "ping: %v\n", errors.Unwrap(err))
		return nil
	}
	if err := c.SetReadDeadline(sent.Add(time.Duration(p.wait * float64(time.Second)))); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return nil //nolint:nilerr // no answer in time is an answer
		}
		m, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil {
			continue
		}
		switch body := m.Body.(type) {
		case *icmp.Echo:
			if m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply || body.ID != id || body.Seq != seq&0xffff {
				continue
			}
			took := time.Since(sent)
			p.received++
			p.times = append(p.times, took)
			if !p.quiet {
				printf(p.out, "%d bytes from %s: icmp_seq=%d time=%.3f ms\n", n, from, seq, float64(took)/float64(time.Millisecond))
			}
			return nil
		case *icmp.DstUnreach:
			if !p.quiet {
				printf(p.out, "From %s icmp_seq=%d Destination unreachable\n", from, seq)
			}
			return nil
		}
	}
}
