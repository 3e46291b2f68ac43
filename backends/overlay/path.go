package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// Find looks up how the machine whose namespace is given reaches the
// tunnel's remote. The MTU is the outgoing interface's or, where the kernel
// has learned of a narrower place further on, that place's.
func Find(ns *nsnet.NS, t backends.Tunnel) (Path, error) {
	opt := &netlink.RouteGetOptions{Oif: t.Parent}
	if t.Parent != "" {
		switch have, err := ns.Find(t.Parent); {
		case err != nil:
			return Path{}, fmt.Errorf("tunnel %s: %w", t.ID(), err)
		case have == nil:
			return Path{}, fmt.Errorf("tunnel %s: this machine has no interface %s (%w)", t.ID(), t.Parent, backends.ErrUnavailable)
		}
	}
	if t.Local.IsValid() {
		opt.SrcAddr = t.Local.AsSlice()
	}
	routes, err := ns.RouteGetWithOptions(t.Remote.AsSlice(), opt)
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		if errors.Is(err, unix.EINVAL) && t.Local.IsValid() {
			return Path{}, fmt.Errorf("tunnel %s: %s is not an address of this machine (%w)", t.ID(), t.Local, backends.ErrUnavailable)
		}
		return Path{}, fmt.Errorf("tunnel %s: this machine has no route to %s: %w (%w)", t.ID(), t.Remote, err, backends.ErrUnavailable)
	}
	r := routes[0]
	if r.Type == unix.RTN_LOCAL {
		return Path{}, fmt.Errorf("tunnel %s: %s is an address of this machine itself: name that of the other (%w)", t.ID(), t.Remote, backends.ErrConflict)
	}
	dev, err := ns.LinkByIndex(r.LinkIndex)
	if err != nil {
		return Path{}, fmt.Errorf("tunnel %s: %w", t.ID(), err)
	}
	p := Path{Local: t.Local, Device: dev.Attrs().Name, MTU: dev.Attrs().MTU}
	if src, ok := netip.AddrFromSlice(r.Src); ok {
		p.Local = src.Unmap()
	}
	if r.MTU > 0 {
		p.MTU = min(p.MTU, r.MTU)
	}
	if dev.Attrs().Flags&net.FlagUp == 0 || dev.Attrs().OperState == netlink.OperDown || dev.Attrs().OperState == netlink.OperLowerLayerDown {
		return p, fmt.Errorf("tunnel %s: interface %s, through which %s is reached, is down (%w)", t.ID(), p.Device, t.Remote, backends.ErrUnavailable)
	}
	return p, nil
}

// wait is how long a far end may take to say that it is not there.
const wait = 300 * time.Millisecond

// Refused asks whether anybody takes tunnelled frames at the remote, and
// returns why not when the remote, or a machine on the way, says so. Silence
// is consent: a tunnel has no keepalive, and a far end that listens does not
// answer. The question is one datagram too short to be a frame.
func Refused(ctx context.Context, ns *nsnet.NS, t backends.Tunnel) string {
	var fd int
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(t.UDPPort)})
	if t.Remote.Is4() {
		to.(*unix.SockaddrInet4).Addr = t.Remote.As4()
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(t.UDPPort), Addr: t.Remote.As16()}
	}
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	if family == unix.AF_INET {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	if err := unix.Connect(fd, to); err != nil {
		return refusal(t, err)
	}
	if _, err := unix.Write(fd, []byte{0}); err != nil {
		return refusal(t, err)
	}
	for end := time.Now().Add(wait); ctx.Err() == nil; {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code == 0 {
			break
		}
		return refusal(t, unix.Errno(code))
	}
	return ""
}

func refusal(t backends.Tunnel, err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Sprintf("%s takes nothing on UDP port %d: the far end of the tunnel is not there", t.Remote, t.UDPPort)
	case errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Sprintf("%s does not answer: the machine is off or not on this network", t.Remote)
	}
	return fmt.Sprintf("%s cannot be reached: %v", t.Remote, err)
}

// Unanswered reports whether the machine's neighbours say that the next hop
// to the remote is not there.
func Unanswered(ns *nsnet.NS, t backends.Tunnel) string {
	routes, err := ns.RouteGet(t.Remote.AsSlice())
	if err != nil || len(routes) == 0 {
		return ""
	}
	hop := routes[0].Gw
	if hop == nil {
		hop = t.Remote.AsSlice()
	}
	neighbours, err := ns.NeighList(routes[0].LinkIndex, netlink.FAMILY_ALL)
	if err != nil {
		return ""
	}
	for _, n := range neighbours {
		if n.IP.Equal(hop) && n.State&netlink.NUD_FAILED != 0 {
			return fmt.Sprintf("%s does not answer: the machine is off or not on this network", hop)
		}
	}
	return ""
}
