package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/internal/packets"
	"archetype/lab"
)

// Jumbo frames of 9,000 bytes cross as they are, whether the link was asked for
// them or its nodes raised the MTU of their interfaces by themselves.
func jumbo(b *bench) {
	const mtu = 9000
	raised := b.cable("a", "c")
	b.connect(raised)
	for _, p := range []backends.Port{raised.A, raised.B} {
		if i := b.interfaceOf(p); i.MTU != 1500 {
			b.Errorf("MTU of %s is %d", p.End, i.MTU)
		}
		b.device(p.End.Node, probe.Request{Op: probe.OpMTU, Iface: p.End.Interface, Bytes: mtu})
	}
	b.passes(raised)
	token := b.token()
	b.intact(raised.A, raised.B, ipv4("02:bb:00:00:00:01", raised.A, token, mtu), token)

	l := b.cable("a", "b")
	l.A.MTU, l.B.MTU = mtu, mtu
	b.connect(l)
	b.passes(l)
	for _, p := range []backends.Port{l.A, l.B} {
		if b.env.Machine != nil {
			b.device(p.End.Node, probe.Request{Op: probe.OpMTU, Iface: p.End.Interface, Bytes: mtu})
		}
		if i := b.interfaceOf(p); i.MTU != mtu {
			b.Errorf("MTU of %s is %d", p.End, i.MTU)
		}
	}
	token = b.token()
	b.intact(l.A, l.B, frame("02:bb:00:00:00:01", l.A, typeTest, token, mtu), token)
	// IPv4 that must not be fragmented: what looks into packets might.
	token = b.token()
	b.intact(l.B, l.A, ipv4("02:bb:00:00:00:01", l.B, token, mtu), token)
	// The same once cut, joined and provisioned first.
	b.disconnect(l)
	b.connect(l)
	b.passes(l)
	token = b.token()
	b.intact(l.A, l.B, ipv4("02:bb:00:00:00:01", l.A, token, mtu), token)
}

// ipv4 is an Ethernet frame with a UDP packet of size bytes and the bit set
// that forbids to fragment it.
func ipv4(to string, from backends.Port, token string, size int) []byte {
	f := frame(to, from, 0x0800, "", size)
	h := f[14:34]
	copy(h, []byte{0x45, 0, byte(size >> 8), byte(size), 0, 1, 0x40, 0, 64, 17, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
	copy(f[34:], []byte{0x1f, 0x40, 0x1f, 0x40, byte((size - 20) >> 8), byte(size - 20), 0, 0})
	copy(f[42:], token)
	return f
}

// VLAN tags of the lab's own cross, one or two, also the one that only gives
// a priority. Who captures at an end sees them as they are.
func tagged(b *bench) {
	l := b.cable("a", "b")
	b.connect(l)
	b.passes(l)
	seen := []*listener{b.listen(l.A), b.listen(l.B)}
	for _, tags := range [][]uint16{{0x8100, 100}, {0x8100, 4094}, {0x8100, 0xe000}, {0x88a8, 200}, {0x88a8, 200, 0x8100, 100}, {0x8100, 7, 0x8100, 8}} {
		for _, to := range []string{everybody, "02:bb:00:00:00:01", "01:80:c2:00:00:0e"} {
			token := b.token()
			plain := frame(to, l.A, typeTest, token, 64)
			data := append([]byte(nil), plain[:12]...)
			for _, v := range tags {
				data = binary.BigEndian.AppendUint16(data, v)
			}
			data = append(data, plain[12:]...)
			b.intact(l.A, l.B, data, token)
			for _, s := range seen {
				s.sees(token, data)
			}
		}
	}
}

// listener captures at a port.
type listener struct {
	*bench
	p backends.Port
	r *packets.Reader
}

func (b *bench) listen(p backends.Port) *listener {
	b.Helper()
	c, ok := b.network.(backends.Capturer)
	if !ok {
		b.Fatal("the network captures nothing")
	}
	stream, err := c.Capture(b.Context(), p)
	b.must(err)
	b.Cleanup(func() { _ = stream.Close() })
	r, err := packets.NewReader(stream)
	b.must(err)
	return &listener{b, p, r}
}

// sees waits for the frame with the token and checks that it is this.
func (s *listener) sees(token string, want []byte) {
	s.Helper()
	for {
		p, err := s.r.Next()
		if err != nil {
			s.Fatalf("capture at %s: %v", s.p.End, err)
		}
		switch {
		case !bytes.Contains(p.Data(), []byte(token)):
		case bytes.Equal(p.Data(), want):
			return
		default:
			s.Fatalf("at %s passed\n%s\nand captured was\n%s", s.p.End, hex.Dump(head(want)), hex.Dump(head(p.Data())))
		}
	}
}

// controls are protocols whose frames a bridge keeps to itself and a cable
// does not.
var controls = []struct {
	name, to  string
	ethertype int
}{
	{"stp-frames", "01:80:c2:00:00:00", 0},
	{"pause-frames", "01:80:c2:00:00:01", typeControl},
	{"lacp-frames", "01:80:c2:00:00:02", typeSlow},
	{"802.1x-frames", "01:80:c2:00:00:03", typeAuth},
	{"lldp-frames", "01:80:c2:00:00:0e", typeLLDP},
	{"cdp-frames", "01:00:0c:cc:cc:cc", 0},
}

func control(b *bench, c struct {
	name, to  string
	ethertype int
}) {
	l := b.cable("a", "b")
	b.connect(l)
	b.passes(l)
	for _, d := range [][2]backends.Port{{l.A, l.B}, {l.B, l.A}} {
		token := b.token()
		data := frame(c.to, d[0], c.ethertype, "\x42\x42\x03"+token, 64)
		if c.ethertype == 0 { // 802.3 with a length, as spanning tree has it
			binary.BigEndian.PutUint16(data[12:], uint16(len(data)-14))
		}
		b.intact(d[0], d[1], data, token)
	}
}

// A segment with more than two ends is a node of kind bridge with a link to
// each: the seam's links have two ends, and so every network serves it.
func segment(b *bench) {
	switches := b.env.Switches
	if switches == nil {
		switches = b.env.Provider
	}
	kind, ok := b.kinds.Kind("bridge")
	if !ok {
		b.Fatal("no kind bridge")
	}
	c := backends.NodeConfig{Ref: b.ref("sw"), Kind: kind, Node: lab.Node{Name: "sw", Kind: "bridge"}, Interfaces: []string{"eth1", "eth2", "eth3"}}
	b.must(switches.Create(b.Context(), c))
	defer func() { b.must(switches.Remove(b.Context(), c.Ref)) }()
	var arms []backends.Link
	arm := func(node string) {
		l := backends.Link{Lab: b.lab, A: b.port(b, b.env.Provider, node+":"+b.iface(node)),
			B: b.port(b, switches, fmt.Sprintf("sw:eth%d", len(arms)+1))}
		b.links = append(b.links, l)
		arms = append(arms, l)
		b.connect(l)
	}
	for _, node := range []string{"a", "b", "c"} {
		arm(node)
	}
	b.must(switches.Start(b.Context(), c.Ref))
	heard := func(from backends.Link, to ...backends.Link) {
		b.Helper()
		for _, l := range to {
			b.reaches(from.A, l.A)
		}
		token := b.token()
		b.device(from.A.End.Node, probe.Request{Op: probe.OpSend, Send: []probe.Frame{
			{Iface: from.A.End.Interface, Data: frame(everybody, from.A, typeTest, token, 64)}}})
		for _, l := range to {
			b.eventually("everybody on the segment hears "+from.A.End.String(), func() error {
				for _, f := range b.device(l.A.End.Node, probe.Request{Op: probe.OpSeen, Token: token}).Frames {
					if f.Iface == l.A.End.Interface {
						return nil
					}
				}
				return errors.New("but " + l.A.End.String())
			})
		}
	}
	heard(arms[0], arms[1], arms[2])
	heard(arms[1], arms[0], arms[2])
	// It learns where everybody is: what is for one goes to nobody else.
	token := b.token()
	b.intact(arms[0].A, arms[1].A, frame("02:aa:00:00:00:62", arms[0].A, typeTest, token, 64), token)
	b.unseenAt(arms[2].A, token)
	b.disconnect(arms[2])
	heard(arms[0], arms[1])
	b.sealed(arms[2].A)
	b.connect(arms[2])
	heard(arms[2], arms[0], arms[1])
	arm("b") // one more, while it runs
	heard(arms[3], arms[0], arms[2])
	b.must(switches.Stop(b.Context(), c.Ref, grace)) // and switched off and on
	b.sealed(arms[0].A, arms[3].A)
	b.must(switches.Start(b.Context(), c.Ref))
	heard(arms[0], arms[1], arms[2], arms[3])
}

func (b *bench) unseenAt(p backends.Port, token string) {
	b.Helper()
	for _, f := range b.device(p.End.Node, probe.Request{Op: probe.OpSeen, Token: token}).Frames {
		if f.Iface == p.End.Interface {
			b.Fatalf("a frame for somebody else is at %s", p.End)
		}
	}
}
