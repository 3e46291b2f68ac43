package privilege

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// try makes one of everything that the table names of the kernel, in a network
// namespace that vanishes at once, and returns what did not work.
func try() map[string]error {
	out := map[string]error{}
	if err := apart(func() { attempts(out) }); err != nil {
		for _, r := range table {
			if r.sort == kernel {
				out[r.what] = fmt.Errorf("it cannot be tried: %w", err)
			}
		}
	}
	out["overlay"] = fileSystem("overlay")
	return out
}

// apart runs f on a thread in a network namespace of its own, and brings the
// thread back: the process's first one must not end up elsewhere.
func apart(f func()) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		defer func() { _ = home.Close() }()
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // the thread stays locked, so nobody else gets it
	}
	runtime.UnlockOSThread()
	return nil
}

func attempts(out map[string]error) {
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	out["veth"] = netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs("try0"), PeerName: "try1"})
	out["bridge"] = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("try2")})
	_, out["openvswitch"] = netlink.GenlFamilyGet("ovs_datapath")
	on, err := netlink.LinkByName("lo")
	if err != nil {
		out["netem"], out["tbf"], out["mirred"] = err, err, err
		return
	}
	out["mirred"] = redirect(on)
	place := netlink.QdiscAttrs{LinkIndex: on.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	out["netem"] = netlink.QdiscReplace(netlink.NewNetem(place, netlink.NetemQdiscAttrs{Latency: 1000, Limit: 10}))
	place.Handle = netlink.MakeHandle(2, 0)
	out["tbf"] = netlink.QdiscReplace(&netlink.Tbf{QdiscAttrs: place, Rate: 1e6, Limit: 1e5, Buffer: 1e4})
}

// redirect hands what comes in at an interface on.
func redirect(on netlink.Link) error {
	place := netlink.MakeHandle(0xffff, 0)
	index := on.Attrs().Index
	err := netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: place, Parent: netlink.HANDLE_INGRESS}})
	if err != nil {
		return err
	}
	return netlink.FilterAdd(&netlink.U32{FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: place, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{netlink.NewMirredAction(index)}})
}

// fileSystem reports whether the kernel has one of that name. One that is a
// module may be loaded when it is mounted, so it is only missing where modules
// are, too.
func fileSystem(name string) error {
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 0 && f[len(f)-1] == name {
			return nil
		}
	}
	if _, err := os.Stat("/proc/modules"); err == nil {
		return nil
	}
	return errors.New("no such file system, and no modules")
}
