package nsnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// Device is what news say of an interface.
type Device struct{ Name, Alias string }

// News calls tell, from one goroutine, with each interface that changed in the
// namespace at path or, with elsewhere, also in others that have a number
// there; nil says that some news were lost, and anything may have changed. The
// channel is closed when ctx ends or the source is lost.
func News(ctx context.Context, path string, elsewhere bool, tell func(*Device)) (<-chan struct{}, error) {
	return subscribe(ctx, path, unix.RTNLGRP_LINK, elsewhere, func(_ uint16, msg []byte) {
		if msg == nil {
			tell(nil)
		} else if len(msg) > unix.SizeofIfInfomsg {
			tell(device(msg[unix.SizeofIfInfomsg:]))
		}
	})
}

// device reads no more than is asked for: each change of each interface is
// several pieces of news, and each of those is long.
func device(attributes []byte) *Device {
	var d Device
	for rest := attributes; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		switch value := rest[unix.SizeofRtAttr:size]; kind {
		case unix.IFLA_IFNAME:
			d.Name = unix.ByteSliceToString(value)
		case unix.IFLA_IFALIAS:
			d.Alias = unix.ByteSliceToString(value)
		}
		rest = rest[min(len(rest), aligned(size)):]
	}
	return &d
}

// Unpatchings does the same with the number of each interface from which a
// filter is taken that handed on what came in there.
func Unpatchings(ctx context.Context, path string, tell func(index int)) (<-chan struct{}, error) {
	return subscribe(ctx, path, unix.RTNLGRP_TC, false, func(kind uint16, msg []byte) {
		if kind != unix.RTM_DELQDISC && kind != unix.RTM_DELTFILTER || len(msg) < nl.SizeofTcMsg {
			return // what was lost is found by the next look at everything
		}
		if tc := nl.DeserializeTcMsg(msg); tc.Parent == netlink.HANDLE_INGRESS || tc.Parent == ingress {
			tell(int(tc.Ifindex))
		}
	})
}

// subscribe hears of what the kernel tells a group; nil says that some of it
// was lost.
func subscribe(ctx context.Context, path string, group uint, elsewhere bool, tell func(kind uint16, msg []byte)) (<-chan struct{}, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	sock, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, group)
	_ = ns.Close()
	if err != nil {
		return nil, err
	}
	if elsewhere {
		if err := unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
			sock.Close()
			return nil, fmt.Errorf("hear of other namespaces: %w", err)
		}
	}
	_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	// A receive that blocks would not notice the end of ctx.
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		sock.Close()
		return nil, err
	}
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(rung)
	})
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() {
			if !stop() {
				<-rung
			}
			sock.Close()
			_ = unix.Close(bell)
		}()
		listen(ctx, sock, bell, tell)
	}()
	return over, nil
}

func listen(ctx context.Context, sock *nl.NetlinkSocket, bell int, tell func(kind uint16, msg []byte)) {
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(sock.GetFd(), buf, unix.MSG_DONTWAIT)
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(sock.GetFd()), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			tell(0, nil)
			continue
		default:
			return
		}
		for rest := buf[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < unix.NLMSG_HDRLEN || size > len(rest) {
				break
			}
			tell(binary.NativeEndian.Uint16(rest[4:]), rest[unix.NLMSG_HDRLEN:size])
			rest = rest[min(len(rest), aligned(size)):]
		}
	}
}

// Pending are things to look at again, each once however often it changed.
type Pending[K comparable] struct {
	mu   sync.Mutex
	set  map[K]bool
	wake chan struct{}
}

// NewPending makes an empty one.
func NewPending[K comparable]() *Pending[K] {
	return &Pending[K]{set: map[K]bool{}, wake: make(chan struct{}, 1)}
}

// Add notes things.
func (p *Pending[K]) Add(keys ...K) {
	if len(keys) == 0 {
		return
	}
	p.mu.Lock()
	for _, k := range keys {
		p.set[k] = true
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Wake receives once there is something to take.
func (p *Pending[K]) Wake() <-chan struct{} { return p.wake }

// Take returns what was noted, and forgets it.
func (p *Pending[K]) Take() map[K]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.set
	p.set = map[K]bool{}
	return out
}

// Relay sends what is new of the things that changed. It listens to the sources
// of their news once something is used, and ends, and calls end, when ctx ends
// or one of them.
func Relay[K comparable](ctx context.Context, used <-chan struct{}, changed *Pending[K], news func(K) (backends.LinkStatus, bool),
	sources func(context.Context) ([]<-chan struct{}, error), end func()) <-chan backends.LinkStatus {
	out := make(chan backends.LinkStatus)
	go func() {
		defer close(out)
		defer end()
		select {
		case <-used:
		case <-ctx.Done():
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		all, err := sources(ctx)
		if err != nil {
			return
		}
		for _, over := range all {
			go func() {
				<-over
				cancel()
			}()
		}
		for {
			select {
			case <-changed.Wake():
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(gather):
			case <-ctx.Done():
				return
			}
			for k := range changed.Take() {
				st, another := news(k)
				if !another {
					continue
				}
				select {
				case out <- st:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// gather is how long after the first news of something it is looked at: one
// change is several pieces of news.
const gather = 5 * time.Millisecond
