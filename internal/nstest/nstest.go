// Package nstest gives tests network namespaces that stand for machines and
// nodes, and moves real packets between them.
package nstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/internal/osthread"
	"archetype/internal/whole"
)

// patience is how long anything may take on a machine that is busy. It is
// never waited for in full where all is well.
const patience = time.Minute

// NS is a namespace that goes with its test.
type NS struct {
	*nsnet.NS
	Path string
	t    testing.TB
}

// New makes a namespace with its loopback up.
func New(t testing.TB) *NS {
	t.Helper()
	f, err := unshared()
	if errors.Is(err, unix.EPERM) {
		t.Skip("network namespaces are not permitted here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	ns, err := nsnet.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close(); _ = f.Close() })
	n := &NS{NS: ns, Path: path, t: t}
	lo, err := ns.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	return n
}

func unshared() (f *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		f, err = os.Open("/proc/thread-self/ns/net")
	}()
	<-done
	return f, err
}

// Both runs a test twice: as root and, in a process of its own, in a user
// namespace as an ordinary user has it.
func Both(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	const inside = "ARCHETYPE_TEST_ROOTLESS"
	if os.Getenv(inside) != "" {
		f(t)
		return
	}
	t.Run("rootful", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		f(t)
	})
	t.Run("rootless", func(t *testing.T) {
		name, _, _ := strings.Cut(t.Name(), "/")
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
			Pdeathsig:   unix.SIGKILL}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := osthread.Start(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		var exit *exec.ExitError
		switch {
		case err != nil && !errors.As(err, &exit):
			t.Skip("user namespaces are not permitted here: ", err)
		case err != nil:
			t.Errorf("%v\n%s", err, out.Bytes())
		case strings.Contains(out.String(), "--- SKIP: "+name+" "):
			t.Skip(out.String())
		}
	})
}

// Attachment is where a node in the namespace has its interface.
func (n *NS) Attachment(name string) backends.Attachment {
	return backends.Attachment{Netns: n.Path, Interface: name}
}

// Cable joins two namespaces by a pair of interfaces with addresses.
func Cable(a *NS, nameA, addressA string, b *NS, nameB, addressB string, mtu int) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = nameA, mtu
	a.must(a.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: b.FD(), PeerMTU: uint32(mtu)}))
	a.Address(nameA, addressA)
	b.Address(nameB, addressB)
}

// Address gives an interface an address and sets it up.
func (n *NS) Address(name, address string) {
	n.t.Helper()
	l, err := n.LinkByName(name)
	n.must(err)
	n.must(n.LinkSetUp(l))
	if address == "" {
		return
	}
	p := netip.MustParsePrefix(address)
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	n.must(n.AddrAdd(l, a))
}

// Down sets an interface down.
func (n *NS) Down(name string) {
	n.t.Helper()
	l, err := n.LinkByName(name)
	n.must(err)
	n.must(n.LinkSetDown(l))
}

// Names lists the interfaces, without the loopback, sorted.
func (n *NS) Names() []string {
	n.t.Helper()
	links, err := whole.List(n.LinkList)
	n.must(err)
	var out []string
	for _, l := range links {
		if l.Attrs().Name != "lo" && l.Type() != "ifb" && l.Type() != "sit" && l.Type() != "ipip" {
			out = append(out, l.Attrs().Name)
		}
	}
	slices.Sort(out)
	return out
}

func (n *NS) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// Send sends a datagram of which the IP packet has the given size, with
// "don't fragment" set, and returns nil once it has arrived whole. It sends
// again while nothing comes, until patience ends: addresses may have to be
// resolved first.
func Send(from, to *NS, address string, size int) error {
	return send(from, to, address, size, patience)
}

// Silent reports an error unless nothing arrives for a while.
func Silent(from, to *NS, address string) error {
	err := send(from, to, address, 100, 300*time.Millisecond)
	if err == nil {
		return errors.New("a packet arrived")
	}
	return nil
}

func send(from, to *NS, address string, size int, wait time.Duration) error {
	ip := netip.MustParseAddr(address)
	network, header := "udp4", 28
	if ip.Is6() {
		network, header = "udp6", 48
	}
	var in, out *net.UDPConn
	err := to.Do(func() (err error) {
		in, err = net.ListenUDP(network, &net.UDPAddr{IP: ip.AsSlice()})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	err = from.Do(func() (err error) {
		out, err = net.DialUDP(network, nil, in.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	raw, err := out.SyscallConn()
	if err != nil {
		return err
	}
	_ = raw.Control(func(fd uintptr) {
		if ip.Is6() {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}
	})
	payload := make([]byte, size-header)
	for i := range payload {
		payload[i] = byte(i)
	}
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(wait); ; {
		if _, err := out.Write(payload); errors.Is(err, unix.EMSGSIZE) {
			return err
		}
		_ = in.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := in.Read(buf); err == nil {
			if !slices.Equal(buf[:n], payload) {
				return fmt.Errorf("%d bytes arrived that are not the %d sent", n, len(payload))
			}
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no packet of %d bytes arrives at %s", size, address)
		}
	}
}

// Stream sends some bytes by TCP, larger than any packet, and returns nil once
// they have arrived.
func Stream(from, to *NS, address string) error {
	var l net.Listener
	err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte("archetype"), 20_000)
	failed := make(chan error, 1)
	go func() {
		var c net.Conn
		err := from.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", l.Addr().String(), patience)
			return err
		})
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = c.Write(sent)
			_ = c.Close()
		}
		failed <- err
	}()
	c, err := l.Accept()
	if err != nil {
		return errors.Join(err, <-failed)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes arrived that are not the %d sent", len(got), len(sent))
	}
	return nil
}

// Enter opens a namespace that somebody else made.
func Enter(t testing.TB, path string) *NS {
	t.Helper()
	ns, err := nsnet.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return &NS{NS: ns, Path: path, t: t}
}

// Here is a path of the namespace of the test itself. The one in /proc/self is
// that of the process's first thread, which may be elsewhere at any moment.
func Here(t testing.TB) string {
	t.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
}

// Until waits until f holds.
func Until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}
