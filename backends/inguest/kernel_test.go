package inguest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs"
	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/network/veth"
	"archetype/internal/nstest"
	"archetype/lab"
)

// rig is two nodes with a link between them, over one network.
type rig struct {
	*testing.T
	a, z    *nstest.NS
	panel   *nstest.NS
	network backends.Network
	link    backends.Link
	out, in int
	sw      *ovstest.Switch
}

// everyNetwork runs a test over each network that this kernel makes.
func everyNetwork(t *testing.T, f func(r *rig)) {
	if os.Getenv(inside) == "" {
		t.Skip("runs only in the guest, where TestInGuest starts it")
	}
	for _, name := range []string{"veth", "linuxbridge", "ovs"} {
		t.Run(name, func(t *testing.T) {
			r := &rig{T: t, a: nstest.New(t), z: nstest.New(t)}
			panel := nstest.New(t)
			r.panel = panel
			var err error
			switch name {
			case "veth":
				r.network, err = veth.New(panel.Path)
			case "linuxbridge":
				r.network, err = linuxbridge.New(panel.Path)
			default:
				r.sw = ovstest.Start(t)
				r.network = r.sw.Network(ovs.Config{Panel: panel.Path})
			}
			r.must(err)
			r.must(r.network.Initialize(t.Context(), "guest"))
			port := func(ns *nstest.NS, node, address string) backends.Port {
				return backends.Port{Lab: "guest", Attachment: ns.Attachment("eth1"), End: lab.End{
					Endpoint: lab.Endpoint{Node: node, Interface: "eth1"}, IPv4: []netip.Prefix{netip.MustParsePrefix(address)}}}
			}
			r.link = backends.Link{Lab: "guest", A: port(r.a, "a", "10.7.0.1/24"), B: port(r.z, "z", "10.7.0.2/24")}
			r.must(r.network.Connect(t.Context(), r.link))
			t.Cleanup(func() {
				if err := r.network.DeleteLink(context.Background(), r.link); err != nil {
					t.Error(err)
				}
			})
			r.must(r.a.Do(func() (err error) { r.out, err = packets(0); return err }))
			r.must(r.z.Do(func() (err error) { r.in, err = packets(unix.ETH_P_ALL); return err }))
			t.Cleanup(func() { _, _ = unix.Close(r.out), unix.Close(r.in) })
			r.must(nstest.Send(r.a, r.z, "10.7.0.2", 100)) // addresses are known from now on
			f(r)
		})
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// packets is a socket for whole frames, with the kernel's word on when they
// came: a slow machine reads them late.
func packets(proto uint16) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto<<8|proto>>8))
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
}

// worsen gives what leaves a an impairment.
func (r *rig) worsen(i lab.Impairment) {
	r.Helper()
	r.link.A.End.Impair = i
	r.must(r.network.(backends.Impairer).Impair(r.Context(), r.link))
}

const frameSize = 1000 // bytes

// frame is one of ours: all its bytes but the first two are 0x5a.
func frame() []byte {
	f := []byte(strings.Repeat("\x5a", frameSize))
	f[0], f[1] = 0x02, 0xbb // a destination that floods
	return f
}

// send sends so many frames at once, and returns when it has.
func (r *rig) send(n int) {
	r.Helper()
	l, err := r.a.LinkByName("eth1")
	r.must(err)
	for range n {
		err := unix.Sendto(r.out, frame(), 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index})
		if !errors.Is(err, unix.ENOBUFS) { // dropped by the limit of a rate
			r.must(err)
		}
	}
}

// arrived collects frames of our size until there are enough or none comes for
// a while, each with when it came.
func (r *rig) arrived(enough int, silence time.Duration) (all [][]byte, at []time.Time) {
	r.Helper()
	timeout := unix.NsecToTimeval(silence.Nanoseconds())
	r.must(unix.SetsockoptTimeval(r.in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	buf, control := make([]byte, 4096), make([]byte, 256)
	for len(all) < enough {
		n, cn, _, _, err := unix.Recvmsg(r.in, buf, control, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return all, at
		case n == frameSize:
			all, at = append(all, append([]byte(nil), buf[:n]...)), append(at, r.came(control[:cn]))
		}
	}
	return all, at
}

// came is when the kernel says that a frame did.
func (r *rig) came(control []byte) time.Time {
	r.Helper()
	list, err := unix.ParseSocketControlMessage(control)
	r.must(err)
	for _, m := range list {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	r.Fatal("the kernel does not say when a frame came")
	return time.Time{}
}

// spotless checks that frames pass unharmed.
func (r *rig) spotless() {
	r.Helper()
	r.send(20)
	all, _ := r.arrived(20, 5*time.Second)
	for _, f := range all {
		if string(f) != string(frame()) {
			r.Fatal("a frame was changed on a link without impairment")
		}
	}
	if len(all) != 20 {
		r.Fatalf("%d of 20 frames arrived over a link without impairment", len(all))
	}
}

// TestGuestImpairments: what is wished for a link is what frames suffer.
// Bounds are those that chance or a slow machine cannot break.
func TestGuestImpairments(t *testing.T) {
	everyNetwork(t, func(r *rig) {
		r.spotless()

		// They come no earlier than the delay says; all do come.
		r.worsen(lab.Impairment{Delay: 200 * time.Millisecond})
		began := time.Now()
		r.send(10)
		all, at := r.arrived(10, 10*time.Second)
		if len(all) != 10 || at[0].Sub(began) < 199*time.Millisecond {
			r.Errorf("delay: %d of 10 arrived, the first after %v", len(all), at)
		}

		// With jitter they come apart, though sent together.
		r.worsen(lab.Impairment{Delay: 300 * time.Millisecond, Jitter: 200 * time.Millisecond})
		began = time.Now()
		r.send(40)
		all, at = r.arrived(40, 10*time.Second)
		if len(all) != 40 || at[0].Sub(began) < 99*time.Millisecond || at[39].Sub(at[0]) < 50*time.Millisecond {
			r.Errorf("jitter: %d of 40 arrived: %v", len(all), at)
		}

		// Of 400, half are lost; fewer than 100 or more than 300 never are.
		r.worsen(lab.Impairment{Loss: 50})
		r.send(400)
		if all, _ = r.arrived(400, 2*time.Second); len(all) < 100 || len(all) > 300 {
			r.Errorf("loss of half: %d of 400 arrived", len(all))
		}
		r.worsen(lab.Impairment{Loss: 100})
		r.send(20)
		if all, _ = r.arrived(1, time.Second); len(all) != 0 {
			r.Error("loss of all: a frame arrived")
		}

		// 100 kB at 800 kbit/s take a second, alone and with a delay.
		for _, i := range []lab.Impairment{{Rate: 800_000}, {Rate: 800_000, Delay: time.Millisecond}} {
			r.worsen(i)
			r.send(100)
			all, at = r.arrived(100, 10*time.Second)
			if n := len(at); n < 12 || at[n-1].Sub(at[0]) < time.Duration(n-10)*8*time.Millisecond {
				r.Errorf("rate, %s: %d of 100 arrived: %v", i, len(all), at)
			}
		}

		// Each frame has a bit that is wrong.
		r.worsen(lab.Impairment{Corruption: 100})
		r.send(20)
		all, _ = r.arrived(20, 2*time.Second)
		harmed := 0
		for _, f := range all {
			if string(f) != string(frame()) {
				harmed++
			}
		}
		if harmed == 0 || harmed != len(all) {
			r.Errorf("corruption: %d of %d frames that arrived are harmed", harmed, len(all))
		}

		r.worsen(lab.Impairment{})
		r.spotless()
	})
}

// TestGuestKernelDatapath: where the kernel can do a switch's work, it does:
// TCP crosses, and a cut and a join hold.
func TestGuestKernelDatapath(t *testing.T) {
	everyNetwork(t, func(r *rig) {
		if r.sw == nil {
			r.Skip("is about Open vSwitch")
		}
		if a := r.network.Available(r.Context()); !a.OK || !strings.Contains(a.Detail, "kernel datapath") {
			r.Fatalf("it is not the kernel's: %+v", a)
		}
		if got := strings.Trim(r.sw.Ctl("get", "bridge", "arch0", "datapath_type"), `"`); got != "system" && got != "" {
			r.Errorf("datapath_type is %q", got)
		}
		r.must(nstest.Stream(r.a, r.z, "10.7.0.2"))
		r.must(r.network.Disconnect(r.Context(), r.link))
		r.must(nstest.Silent(r.a, r.z, "10.7.0.2"))
		r.must(r.network.Connect(r.Context(), r.link))
		r.must(nstest.Send(r.a, r.z, "10.7.0.2", 100))
		r.must(nstest.Send(r.z, r.a, "10.7.0.1", 1500))
	})
}

// TestGuestVLANAndVRF: a node's own VLANs and routing domains upon a link work
// over it, and come through a cut, a join and a move to another network.
func TestGuestVLANAndVRF(t *testing.T) {
	everyNetwork(t, func(r *rig) {
		for i, ns := range []*nstest.NS{r.a, r.z} {
			l, err := ns.LinkByName("eth1")
			r.must(err)
			vrf := &netlink.Vrf{LinkAttrs: attrs("blue"), Table: 10}
			r.must(ns.LinkAdd(vrf))
			r.must(ns.LinkSetUp(vrf))
			vlan := attrs("eth1.20")
			vlan.ParentIndex, vlan.MasterIndex = l.Attrs().Index, vrf.Attrs().Index
			r.must(ns.LinkAdd(&netlink.Vlan{LinkAttrs: vlan, VlanId: 20, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}))
			ns.Address("eth1.20", fmt.Sprintf("10.20.0.%d/24", i+1))
		}
		r.tagged()
		r.must(r.network.Disconnect(r.Context(), r.link))
		r.unplugged()
		r.must(r.network.Connect(r.Context(), r.link))
		r.tagged()

		// And over a move to another network, and back.
		other, err := linuxbridge.New(r.panel.Path)
		if r.network.Name() == other.Name() {
			other, err = veth.New(r.panel.Path)
		}
		r.must(err)
		r.must(r.network.(backends.Handover).Release(r.Context(), r.link))
		r.must(other.Connect(r.Context(), r.link))
		r.tagged()
		r.must(other.Release(r.Context(), r.link))
		r.must(r.network.Connect(r.Context(), r.link))
		r.tagged()
	})
}

// unplugged checks that a node's system sees its cable out, and nothing else
// changed: what it has put upon the link is there, with its addresses, and up.
func (r *rig) unplugged() {
	r.Helper()
	nstest.Until(r.T, "the carrier is off", func() bool {
		l, err := r.a.LinkByName("eth1")
		return err == nil && l.Attrs().RawFlags&unix.IFF_LOWER_UP == 0
	})
	vrf, err := r.a.LinkByName("blue")
	r.must(err)
	for name, master := range map[string]int{"eth1": 0, "eth1.20": vrf.Attrs().Index} {
		l, err := r.a.LinkByName(name)
		r.must(err)
		addrs, err := r.a.AddrList(l, netlink.FAMILY_V4)
		r.must(err)
		if l.Attrs().RawFlags&unix.IFF_UP == 0 || l.Attrs().MasterIndex != master || len(addrs) != 1 {
			r.Errorf("while the cable is out, %s is %+v with %v", name, l.Attrs(), addrs)
		}
	}
	routes, err := r.a.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 10}, netlink.RT_FILTER_TABLE)
	r.must(err)
	for _, route := range routes {
		if route.Dst.String() == "10.20.0.0/24" && route.Flags&unix.RTNH_F_LINKDOWN != 0 {
			return
		}
	}
	r.Errorf("routes of the VRF while the cable is out: %v", routes)
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// tagged asks for the other's address in the VLAN until it is told: that it is
// known shows frames with the tag to have passed both ways.
func (r *rig) tagged() {
	r.Helper()
	l, err := r.a.LinkByName("eth1.20")
	r.must(err)
	nstest.Until(r.T, "a frame passes with its tag", func() bool {
		_ = r.a.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: []byte{10, 20, 0, 2}, State: netlink.NUD_PROBE, Flags: netlink.NTF_USE})
		list, err := r.a.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
		for _, n := range list {
			if err == nil && n.IP.String() == "10.20.0.2" && n.State&netlink.NUD_REACHABLE != 0 {
				return true
			}
		}
		return false
	})
	_ = r.a.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: []byte{10, 20, 0, 2}})
}
