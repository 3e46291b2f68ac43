package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
)

// device is a node that runs.
type device struct {
	first []string
	fd    int // of the socket that sees all frames

	mu     sync.Mutex
	frames []Frame
	kept   chan struct{} // closed and made anew with every frame that is kept
}

func names() ([]string, error) {
	links, err := whole.List(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		out = append(out, l.Attrs().Name)
	}
	return out, nil
}

// serve returns when it cannot go on.
func (d *device) serve() error {
	if err := d.capture(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	l, err := net.Listen("unix", "@"+socket[1:])
	if err != nil {
		return err
	}
	t, err := net.Listen("tcp", fmt.Sprintf(":%d", tcpPort))
	if err != nil {
		return err
	}
	go sink(t)
	fmt.Println(LineBooted)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			var req Request
			if err := json.NewDecoder(c).Decode(&req); err != nil {
				return
			}
			rep, err := d.do(req)
			if err != nil {
				rep.Error = err.Error()
			}
			_ = json.NewEncoder(c).Encode(rep)
		}()
	}
}

func call(req Request) (Reply, error) {
	var rep Reply
	c, err := net.Dial("unix", "@"+socket[1:])
	if err != nil {
		return rep, err
	}
	defer func() { _ = c.Close() }()
	if err := json.NewEncoder(c).Encode(req); err != nil {
		return rep, err
	}
	err = json.NewDecoder(c).Decode(&rep)
	if errors.Is(err, io.EOF) {
		err = errors.New("the device ended")
	}
	return rep, err
}

func (d *device) do(req Request) (Reply, error) {
	switch req.Op {
	case OpPing:
		return Reply{First: d.first}, nil
	case OpInterfaces:
		list, err := interfaces()
		return Reply{Interfaces: list}, err
	case OpSend:
		var errs []error
		for _, f := range req.Send {
			if err := d.send(f); err != nil {
				errs = append(errs, fmt.Errorf("on %s: %w", f.Iface, err))
			}
		}
		return Reply{}, errors.Join(errs...)
	case OpSeen:
		return Reply{Frames: d.seen(req.Token, req.Count, min(req.Wait, maxWait))}, nil
	case OpTransfer:
		n, err := transfer(req.To, req.Bytes)
		return Reply{Bytes: n}, err
	case OpCarrier, OpSettled, OpGone:
		return Reply{}, await(req)
	case OpForeign:
		return Reply{}, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: req.Iface}})
	case OpRoutes:
		return routes()
	}
	l, err := netlink.LinkByName(req.Iface)
	if err != nil {
		return Reply{}, err
	}
	switch req.Op {
	case OpSet:
		if req.State != nil && *req.State {
			return Reply{}, netlink.LinkSetUp(l)
		}
		return Reply{}, netlink.LinkSetDown(l)
	case OpDelete:
		return Reply{}, netlink.LinkDel(l)
	case OpAddress:
		a, err := netlink.ParseAddr(req.Text)
		if err != nil {
			return Reply{}, err
		}
		a.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(l, a); err != nil && !errors.Is(err, unix.EEXIST) {
			return Reply{}, err
		}
		return Reply{}, nil
	case OpMTU:
		return Reply{}, netlink.LinkSetMTU(l, int(req.Bytes))
	case OpReset:
		return Reply{}, reset(l)
	case OpRoute:
		_, dst, err := net.ParseCIDR(req.Text)
		if err != nil {
			return Reply{}, err
		}
		return Reply{}, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: net.ParseIP(req.To)})
	}
	return Reply{}, fmt.Errorf("unknown operation %q", req.Op)
}

func reset(l netlink.Link) error {
	addrs, err := whole.List(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	errs := []error{err, netlink.LinkSetMTU(l, 1500)}
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() {
			errs = append(errs, netlink.AddrDel(l, &a))
		}
	}
	return errors.Join(errs...)
}

func interfaces() ([]Interface, error) {
	links, err := whole.List(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	var out []Interface
	for _, l := range links {
		a := l.Attrs()
		i := Interface{Name: a.Name, Index: a.Index, MAC: a.HardwareAddr.String(), MTU: a.MTU, Up: a.Flags&net.FlagUp != 0, Carrier: carrier(l)}
		addrs, err := whole.List(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return nil, err
		}
		for _, ad := range addrs {
			if ip, ok := netip.AddrFromSlice(ad.IP); ok {
				ones, _ := ad.Mask.Size()
				i.Addresses = append(i.Addresses, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		out = append(out, i)
	}
	return out, nil
}

// carrier is what a device calls it: the interface is on and hears a peer.
func carrier(l netlink.Link) bool {
	return l.Attrs().RawFlags&unix.IFF_UP != 0 && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}

// LinkDown ends a route whose interface has no carrier.
const LinkDown = " linkdown"

// routes are those that somebody added by hand.
func routes() (Reply, error) {
	list, err := whole.List(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_ALL) })
	var out []string
	for _, r := range list {
		if r.Protocol == unix.RTPROT_BOOT || r.Protocol == unix.RTPROT_STATIC {
			text := fmt.Sprintf("%s via %s", r.Dst, r.Gw)
			if r.Flags&unix.RTNH_F_LINKDOWN != 0 {
				text += LinkDown
			}
			out = append(out, text)
		}
	}
	return Reply{Routes: out}, err
}

// await returns once an interface is as asked; what it last was is the error
// when it never is.
func await(req Request) error {
	updates, done := make(chan netlink.LinkUpdate, 1024), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return err
	}
	timeout := time.After(min(req.Wait, maxWait))
	for {
		l, err := netlink.LinkByName(req.Iface)
		var missing netlink.LinkNotFoundError
		var last string
		switch {
		case errors.As(err, &missing):
			if req.Op == OpGone {
				return nil
			}
			last = "it does not exist"
		case err != nil:
			return err
		case req.Op == OpCarrier && req.State != nil && carrier(l) == *req.State:
			return nil
		case req.Op == OpSettled && carrier(l) == (l.Attrs().RawFlags&unix.IFF_RUNNING != 0):
			return nil
		default:
			last = fmt.Sprintf("it exists, carrier %v", carrier(l))
		}
		select {
		case <-updates:
		case <-timeout:
			return fmt.Errorf("%s did not become as awaited: %s", req.Iface, last)
		}
	}
}
