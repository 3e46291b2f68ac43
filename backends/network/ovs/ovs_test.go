package ovs_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends/network/nsnet"
	"archetype/backends/network/ovs"
	"archetype/lab"
)

func TestConnectAndCut(t *testing.T) {
	b := newBench(t, ovs.Config{})
	if a := b.Available(t.Context()); !a.OK {
		t.Fatal(a)
	}
	l := b.cable("a:eth1", "b:eth1")
	other := b.cable("a:eth2", "c:eth1")
	b.must(b.Connect(t.Context(), l))
	b.must(b.Connect(t.Context(), other))
	st, st2 := b.state(l), b.state(other)
	if !st.Connected || st.Carrier != lab.CarrierOn || st.VLAN == 0 || st.VLAN == st2.VLAN {
		t.Errorf("%+v %+v", st, st2)
	}
	b.talks(l)
	b.talks(other)
	b.silent(l.A, other.B)
	b.must(b.Disconnect(t.Context(), l))
	if st := b.state(l); st.Connected || st.Carrier != lab.CarrierOff || st.VLAN != 0 {
		t.Errorf("after the cut: %+v", st)
	}
	for _, p := range []string{"a", "b"} {
		if i, err := b.node(p).LinkByName("eth1"); err != nil || i.Attrs().RawFlags&unix.IFF_RUNNING != 0 || i.Attrs().RawFlags&unix.IFF_UP == 0 {
			t.Errorf("%s:eth1 after the cut: %+v %v", p, i, err)
		}
	}
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
	b.talks(other)
	b.must(b.DeleteLink(t.Context(), l))
	b.talks(other)
	b.must(b.Cleanup(t.Context(), labName))
	if s := b.sw.Ctl("list-br"); s != "" {
		t.Errorf("a bridge is left: %s", s)
	}
}

func TestFramesCrossUnchanged(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	x, y := b.socket(l.A), b.socket(l.B)
	const c, s = 0x8100_0000, 0x88a8_0000
	for name, f := range map[string][]byte{
		"plain":              frame("02:00:00:00:00:01", nil, "", 0),
		"broadcast":          frame("ff:ff:ff:ff:ff:ff", nil, "", 0),
		"multicast":          frame("01:00:5e:00:00:05", nil, "", 0),
		"tagged":             frame("02:00:00:00:00:01", []uint32{c | 100}, "", 0),
		"priority-tagged":    frame("02:00:00:00:00:01", []uint32{c | 0x6000}, "", 0),
		"two tags":           frame("02:00:00:00:00:01", []uint32{c | 100, c | 200}, "", 0),
		"QinQ":               frame("02:00:00:00:00:01", []uint32{s | 100, c | 200}, "", 0),
		"three tags":         frame("02:00:00:00:00:01", []uint32{s | 1, c | 2, c | 3}, "", 0),
		"spanning tree":      frame("01:80:c2:00:00:00", nil, "", 0),
		"LACP":               frame("01:80:c2:00:00:02", nil, "", 0),
		"802.1X":             frame("01:80:c2:00:00:03", nil, "", 0),
		"LLDP":               frame("01:80:c2:00:00:0e", nil, "", 0),
		"LLDP, tagged":       frame("01:80:c2:00:00:0e", []uint32{c | 5}, "", 0),
		"Cisco's":            frame("01:00:0c:cc:cc:cc", nil, "", 0),
		"jumbo":              frame("02:00:00:00:00:01", nil, "", 9014),
		"jumbo, tagged":      frame("02:00:00:00:00:01", []uint32{c | 100}, "", 9018),
		"to its own address": frame("02:00:00:00:00:ee", nil, "", 0),
	} {
		for way, pair := range map[string][2]int{"there": {x, y}, "back": {y, x}} {
			if got, ok := crosses(pair[0], pair[1], f, time.Minute); !ok {
				t.Errorf("%s, %s: sent %d bytes %x, got %d bytes %x", name, way, len(f), f[:30], len(got), got[:min(30, len(got))])
			}
		}
	}
}

// A switch in user space does not finish checksums that were left to the
// hardware.
func TestTCP(t *testing.T) {
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	l.A.End.IPv4 = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
	l.B.End.IPv4 = []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}
	b.must(b.Connect(t.Context(), l))
	var server net.Listener
	b.must(b.node("a").Do(func() (err error) { server, err = net.Listen("tcp4", "10.0.0.1:7"); return err }))
	defer server.Close()
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	var c net.Conn
	b.must(b.node("b").Do(func() (err error) { c, err = net.DialTimeout("tcp4", "10.0.0.1:7", time.Minute); return err }))
	defer c.Close()
	b.must(c.SetDeadline(time.Now().Add(time.Minute)))
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { _, _ = c.Write(sent); _ = c.(*net.TCPConn).CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

// What a node sends stays on its cable: the host, where the switch has its
// interfaces, must not take it for its own.
func TestTheHostDoesNotHear(t *testing.T) {
	b := newBench(t, ovs.Config{})
	host, err := nsnet.Open(b.sw.Namespace())
	b.must(err)
	defer host.Close()
	lo, err := host.LinkByName("lo")
	b.must(err)
	b.must(host.LinkSetUp(lo))
	addr, err := netlink.ParseAddr("192.0.2.1/32")
	b.must(err)
	b.must(host.AddrAdd(lo, addr))
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	b.talks(l)
	x := b.socket(l.A)
	ask := frame("ff:ff:ff:ff:ff:ff", nil, "", 0)
	copy(ask[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xee, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1})
	if _, err := unix.Write(x, ask); err != nil {
		t.Fatal(err)
	}
	b.talks(l) // the answer would have been first
	for f := range everything(x) {
		if f[12] == 8 && f[13] == 6 {
			t.Errorf("the host answers a node: %x", f)
		}
	}
}
