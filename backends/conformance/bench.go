package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/lab"
)

// bench is what a case works with.
type bench struct {
	*testing.T
	*suite
	links []backends.Link
	ports []backends.Port
}

// iface names an interface of a node that no case has used or, of a machine,
// that none uses now.
func (b *bench) iface(node string) string {
	b.Helper()
	if b.env.Machine == nil {
		return fmt.Sprintf("eth%d", b.count.Add(1))
	}
	for i := 3; i <= b.env.Machine.Interfaces; i++ {
		if name := fmt.Sprintf("eth%d", i); !b.used[node+":"+name] {
			b.used[node+":"+name] = true
			return name
		}
	}
	b.Fatalf("%s has too few interfaces for this case", node)
	return ""
}

// release gives a machine's interface back as it was after its boot.
func (b *bench) release(p backends.Port) {
	e := p.End.String()
	if b.env.Machine == nil || !b.used[e] {
		return
	}
	delete(b.used, e)
	if _, err := b.ask(context.Background(), p.End.Node, probe.Request{Op: probe.OpReset, Iface: p.End.Interface}); err != nil {
		b.Errorf("%s afterwards: %v", p.End, err)
	}
}

// cable is a link between new interfaces of two nodes; it is not yet made.
func (b *bench) cable(x, y string) backends.Link {
	b.Helper()
	l := b.between(b, x+":"+b.iface(x), y+":"+b.iface(y), nil)
	b.links = append(b.links, l)
	return l
}

// addressed gives both ends addresses of a subnet of their own.
func (b *bench) addressed(l backends.Link) backends.Link {
	n := byte(b.count.Add(1))
	for i, p := range []*backends.Port{&l.A, &l.B} {
		p.End.IPv4 = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 254, n, byte(i + 1)}), 24)}
		p.End.IPv6 = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, n, 15: byte(i + 1)}), 64)}
	}
	b.configure(b, l.A.End, l.B.End)
	return l
}

// spare is a new interface of a that no cable needs.
func (b *bench) spare() backends.Port {
	b.Helper()
	p := b.port(b, b.env.Provider, "a:"+b.iface("a"))
	b.ports = append(b.ports, p)
	return p
}

// remove takes away all that the case made.
func (b *bench) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, l := range b.links {
		if err := b.network.DeleteLink(ctx, l); err != nil {
			b.Errorf("delete of %s afterwards: %v", l.ID(), err)
		}
		b.release(l.A)
		b.release(l.B)
	}
	for _, p := range b.ports {
		if err := b.network.DeletePort(ctx, p); err != nil {
			b.Errorf("delete of %s afterwards: %v", p.End, err)
		}
		b.release(p)
	}
	b.links, b.ports = nil, nil
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) connect(l backends.Link) {
	b.Helper()
	b.must(b.network.Connect(b.Context(), l))
}

func (b *bench) disconnect(l backends.Link) {
	b.Helper()
	b.must(b.network.Disconnect(b.Context(), l))
}

func (b *bench) device(node string, req probe.Request) probe.Reply {
	b.Helper()
	rep, err := b.ask(b.Context(), node, req)
	b.must(err)
	return rep
}

// interfaceOf returns a port's interface as its node sees it, or nil.
func (b *bench) interfaceOf(p backends.Port) *probe.Interface {
	b.Helper()
	for _, i := range b.device(p.End.Node, probe.Request{Op: probe.OpInterfaces}).Interfaces {
		if i.Name == p.End.Interface {
			return &i
		}
	}
	return nil
}

// carrier waits until the nodes see the carrier, or none.
func (b *bench) carrier(on bool, ports ...backends.Port) {
	b.Helper()
	for _, p := range ports {
		if _, err := b.ask(b.Context(), p.End.Node, probe.Request{Op: probe.OpCarrier, Iface: p.End.Interface, State: &on}); err != nil {
			b.Fatalf("carrier %v at %s: %v", on, p.End, err)
		}
	}
}

// eventually tries until there is no error: for what has no event to wait for.
func (b *bench) eventually(what string, f func() error) {
	b.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	b.Fatalf("%s: %v", what, err)
}

// token is text that no other frame has.
func (b *bench) token() string { return fmt.Sprintf("AT-%06d.", b.tokens.Add(1)) }

// Ethernet types.
const (
	typeTest    = 0x88b5 // for experiments
	typeControl = 0x8808
	typeSlow    = 0x8809
	typeAuth    = 0x888e
	typeLLDP    = 0x88cc
)

// frame is an Ethernet frame from an address that says where it came from.
// Its payload is padded to size bytes.
func frame(to string, from backends.Port, ethertype int, token string, size int) []byte {
	f := address(to)
	f = append(f, 0x02, 0xaa, 0, 0, 0, from.End.Node[0])
	f = append(f, byte(ethertype>>8), byte(ethertype))
	f = append(f, token...)
	return append(f, bytes.Repeat([]byte{0x5a}, max(0, 14+size-len(f)))...)
}

func address(s string) []byte {
	a, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		panic(err) // a literal of ours
	}
	return a
}

const everybody = "ff:ff:ff:ff:ff:ff"

// reaches sends until a frame gets from one port to the other: the data path
// of a switch may follow a moment after its control.
func (b *bench) reaches(from, to backends.Port) {
	b.Helper()
	token := b.token()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, last = b.ask(b.Context(), from.End.Node, probe.Request{Op: probe.OpSend,
			Send: []probe.Frame{{Iface: from.End.Interface, Data: frame(everybody, from, typeTest, token, 64)}}})
		rep := b.device(to.End.Node, probe.Request{Op: probe.OpSeen, Token: token, Count: 1, Wait: 50 * time.Millisecond})
		for _, f := range rep.Frames {
			if f.Iface == to.End.Interface {
				return
			}
		}
	}
	b.Fatalf("nothing gets from %s to %s (%v)", from.End, to.End, last)
}

// passes checks that a link works both ways.
func (b *bench) passes(l backends.Link) {
	b.Helper()
	b.carrier(true, l.A, l.B)
	b.reaches(l.A, l.B)
	b.reaches(l.B, l.A)
}

// intact sends one frame and checks that this, once and exactly this,
// arrives at the other port and nowhere else.
func (b *bench) intact(from, to backends.Port, data []byte, token string) {
	b.Helper()
	b.device(from.End.Node, probe.Request{Op: probe.OpSend, Send: []probe.Frame{{Iface: from.End.Interface, Data: data}}})
	rep := b.device(to.End.Node, probe.Request{Op: probe.OpSeen, Token: token, Count: 1})
	if len(rep.Frames) == 0 {
		b.Fatalf("the frame never got from %s to %s", from.End, to.End)
	}
	for _, f := range rep.Frames {
		if f.Iface != to.End.Interface || !bytes.Equal(f.Data, data) {
			b.Fatalf("sent to %s\n%s\nand at %s arrived\n%s", to.End.Interface, hex.Dump(head(data)), f.Iface, hex.Dump(head(f.Data)))
		}
	}
	if len(rep.Frames) != 1 {
		b.Fatalf("the frame arrived %d times", len(rep.Frames))
	}
}

func head(data []byte) []byte { return data[:min(len(data), 64)] }

// sealed checks that nothing sent into the ports arrives anywhere. It
// returns the token that must not show up later either.
func (b *bench) sealed(ports ...backends.Port) string {
	b.Helper()
	token := b.token()
	for _, p := range ports {
		if b.env.Machine != nil {
			// Its driver keeps for later what it is given after the carrier went,
			// until its system takes note, up to a second after.
			b.device(p.End.Node, probe.Request{Op: probe.OpSettled, Iface: p.End.Interface})
		}
		var send []probe.Frame
		for _, to := range []string{everybody, "01:80:c2:00:00:0e", "33:33:00:00:00:01", "02:bb:00:00:00:01"} {
			send = append(send, probe.Frame{Iface: p.End.Interface, Data: frame(to, p, typeTest, token, 64)})
		}
		// An interface that is off may refuse them: that is as good.
		_, _ = b.ask(b.Context(), p.End.Node, probe.Request{Op: probe.OpSend, Send: send})
	}
	for _, l := range b.ring { // what comes after has passed everywhere else
		b.reaches(l.A, l.B)
		b.reaches(l.B, l.A)
	}
	b.unseen(token)
	return token
}

func (b *bench) unseen(token string) {
	b.Helper()
	for _, node := range []string{"a", "b", "c"} {
		if got := b.device(node, probe.Request{Op: probe.OpSeen, Token: token}); len(got.Frames) > 0 {
			b.Fatalf("a frame that should have reached nobody is at %s:%s", node, got.Frames[0].Iface)
		}
	}
}

// has checks of which ends the network says that they are there.
func (b *bench) has(l backends.Link, ends ...bool) {
	b.Helper()
	b.eventually("ends of "+l.ID(), func() error {
		st, err := b.network.State(b.Context(), l)
		if err == nil && !slices.Equal(st.Ends[:], ends) {
			err = fmt.Errorf("%+v", st)
		}
		return err
	})
}

// state checks what the network says of a link, in time.
func (b *bench) state(l backends.Link, connected bool, carrier lab.Carrier) {
	b.Helper()
	b.eventually("state of "+l.ID(), func() error {
		st, err := b.network.State(b.Context(), l)
		if err != nil {
			return err
		}
		if st.Connected != connected || st.Carrier != carrier || st.ID != l.ID() || st.Lab != l.Lab || st.Gone {
			return fmt.Errorf("%+v", st)
		}
		if !connected && st.Reason == "" {
			return errors.New("no reason is given")
		}
		return nil
	})
}

// absent checks that the network knows nothing of a link any more.
func (b *bench) absent(l backends.Link) {
	b.Helper()
	if st, err := b.network.State(b.Context(), l); !errors.Is(err, backends.ErrNotFound) {
		b.Fatalf("state of %s, which is gone: %+v, %v", l.ID(), st, err)
	}
	b.gone(l.A, l.B)
}

// gone checks that the interfaces of ports have gone with them. Those of a
// machine stay and lose their carrier.
func (b *bench) gone(ports ...backends.Port) {
	b.Helper()
	for _, p := range ports {
		if b.env.Machine != nil {
			b.carrier(false, p)
		} else if b.interfaceOf(p) != nil {
			b.Fatalf("%s is still there", p.End)
		}
	}
}

// same checks that an interface is up and the one it was, with all that its
// node has made of it and upon it.
func (b *bench) same(p backends.Port, index int) {
	b.Helper()
	if i := b.interfaceOf(p); i == nil || i.Index != index || !i.Up {
		b.Errorf("%s, which was number %d and up, became %+v", p.End, index, i)
	}
}

// addresses checks that an interface has all of them.
func (b *bench) addresses(p backends.Port, want ...netip.Prefix) {
	b.Helper()
	i := b.interfaceOf(p)
	if i == nil {
		b.Fatalf("%s does not exist", p.End)
	}
	for _, w := range append(append(slices.Clone(want), p.End.IPv4...), p.End.IPv6...) {
		if !slices.Contains(i.Addresses, w) {
			b.Fatalf("%s has %v and lacks %s", p.End, i.Addresses, w)
		}
	}
}
