package ovs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/lab"
)

const labName = "t"

// bench is a switch, a network on it, and nodes to be linked.
type bench struct {
	t testing.TB
	*ovs.Network
	sw    *ovstest.Switch
	nodes map[string]*node
}

// node stands for one: a network namespace, which is all that a network sees.
type node struct {
	*nsnet.NS
	path string
}

func newBench(t testing.TB, cfg ovs.Config) *bench {
	t.Helper()
	sw := ovstest.Start(t)
	return &bench{t: t, sw: sw, Network: sw.Network(cfg), nodes: map[string]*node{}}
}

func (b *bench) node(name string) *node {
	b.t.Helper()
	if n := b.nodes[name]; n != nil {
		return n
	}
	var f *os.File
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		b.t.Fatal(err)
	}
	n := &node{path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())}
	ns, err := nsnet.Open(n.path)
	if err != nil {
		b.t.Fatal(err)
	}
	n.NS = ns
	if err := ns.Sysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil { // silence on the cables
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ns.Close(); _ = f.Close() })
	b.nodes[name] = n
	return n
}

// port is one of a node, "node:interface".
func (b *bench) port(at string) backends.Port {
	b.t.Helper()
	e, err := lab.ParseEndpoint(at)
	if err != nil {
		b.t.Fatal(err)
	}
	n := b.node(e.Node)
	return backends.Port{Lab: labName, End: lab.End{Endpoint: e}, Attachment: backends.Attachment{Netns: n.path, Interface: e.Interface}, MTU: 9000}
}

func (b *bench) cable(x, y string) backends.Link {
	b.t.Helper()
	return backends.Link{Lab: labName, A: b.port(x), B: b.port(y)}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) state(l backends.Link) backends.LinkStatus {
	b.t.Helper()
	st, err := b.State(context.Background(), l)
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// socket is one on an interface of a node, for whole frames.
func (b *bench) socket(p backends.Port) int {
	b.t.Helper()
	var fd int
	err := b.node(p.End.Node).Do(func() error {
		i, err := net.InterfaceByName(p.End.Interface)
		if err != nil {
			return err
		}
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	b.must(err)
	b.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// frame is one that a test sends: a destination, tags, and a text to know it by.
func frame(dst string, tags []uint32, text string, size int) []byte {
	mac, err := net.ParseMAC(dst)
	if err != nil {
		panic(err)
	}
	f := append([]byte(mac), 2, 0, 0, 0, 0, 0xee)
	for _, t := range tags {
		f = binary.BigEndian.AppendUint32(f, t)
	}
	f = append(f, 0x88, 0xb5)
	f = append(f, text...)
	for len(f) < max(60, size) {
		f = append(f, 0)
	}
	return f
}

// receive returns the next frame that is not of the kernel's own making.
func receive(fd int, wait time.Duration) []byte {
	deadline := time.Now().Add(wait)
	buf, oob := make([]byte, 70000), make([]byte, 256)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, int(left/time.Millisecond)+1); n == 0 {
			return nil
		}
		n, on, _, from, err := unix.Recvmsg(fd, buf, oob, 0)
		if err != nil {
			return nil
		}
		if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		f := buf[:n]
		msgs, _ := unix.ParseSocketControlMessage(oob[:on])
		for _, m := range msgs { // the kernel takes the outer tag out of the frame
			if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 {
				status, tci := binary.NativeEndian.Uint32(m.Data), binary.NativeEndian.Uint16(m.Data[16:])
				if status&0x10 != 0 {
					tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(m.Data[18:]))
					tag = binary.BigEndian.AppendUint16(tag, tci)
					f = append(append(bytes.Clone(f[:12]), tag...), f[12:]...)
				}
			}
		}
		if bytes.Equal(f[6:12], []byte{2, 0, 0, 0, 0, 0xee}) {
			return bytes.Clone(f)
		}
	}
}

// everything is what has arrived at a socket.
func everything(fd int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		buf := make([]byte, 70000)
		for {
			n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype != unix.PACKET_OUTGOING && !yield(buf[:n]) {
				return
			}
		}
	}
}

// crosses reports whether a frame sent at x is what arrives at y.
func crosses(x, y int, f []byte, wait time.Duration) (got []byte, ok bool) {
	if _, err := unix.Write(x, f); err != nil {
		return nil, false
	}
	got = receive(y, wait)
	return got, bytes.Equal(got, f)
}

// talks checks both directions of a link.
func (b *bench) talks(l backends.Link) {
	b.t.Helper()
	x, y := b.socket(l.A), b.socket(l.B)
	for i, pair := range [][2]int{{x, y}, {y, x}} {
		// A switch that was just started may not be ready for the first frame.
		var got []byte
		ok := false
		for try := 0; try < 50 && !ok; try++ {
			got, ok = crosses(pair[0], pair[1], frame("02:00:00:00:00:01", nil, fmt.Sprint("hello", i), 0), 200*time.Millisecond)
		}
		if !ok {
			b.t.Errorf("%s -- %s, direction %d: got %x", l.A.End, l.B.End, i, got)
		}
	}
}

// silent checks that nothing goes from one end to another.
func (b *bench) silent(from, to backends.Port) {
	b.t.Helper()
	x, y := b.socket(from), b.socket(to)
	if got, _ := crosses(x, y, frame("ff:ff:ff:ff:ff:ff", nil, "nobody hears this", 0), 300*time.Millisecond); got != nil {
		b.t.Errorf("%s reaches %s", from.End, to.End)
	}
}

// atSwitch works where the switch has its interfaces.
func (b *bench) atSwitch(f func(*nsnet.NS)) {
	b.t.Helper()
	ns, err := nsnet.Open(b.sw.Namespace())
	b.must(err)
	defer ns.Close()
	f(ns)
}

func carrier(ns *nsnet.NS, name string, up bool) error {
	l, err := ns.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return ns.LinkSetUp(l)
	}
	return ns.LinkSetDown(l)
}
