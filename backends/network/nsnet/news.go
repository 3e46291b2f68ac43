package nsnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// News calls tell, from one goroutine, with each interface that changed in the
// namespace at path or, with elsewhere, also in others that have a number
// there; nil says that some news were lost, and anything may have changed. The
// channel is closed when ctx ends or the source is lost.
func News(ctx context.Context, path string, elsewhere bool, tell func(netlink.Link)) (<-chan struct{}, error) {
	return subscribe(ctx, path, unix.RTNLGRP_LINK, elsewhere, func(m *syscall.NetlinkMessage) {
		if m == nil {
			tell(nil)
		} else if l, err := netlink.LinkDeserialize(nil, m.Data); err == nil {
			tell(l)
		}
	})
}

// Unpatchings does the same with the number of each interface from which a
// filter is taken that handed on what came in there.
func Unpatchings(ctx context.Context, path string, tell func(index int)) (<-chan struct{}, error) {
	return subscribe(ctx, path, unix.RTNLGRP_TC, false, func(m *syscall.NetlinkMessage) {
		if m == nil || m.Header.Type != unix.RTM_DELQDISC && m.Header.Type != unix.RTM_DELTFILTER || len(m.Data) < nl.SizeofTcMsg {
			return // what was lost is found by the next look at everything
		}
		if msg := nl.DeserializeTcMsg(m.Data); msg.Parent == netlink.HANDLE_INGRESS || msg.Parent == ingress {
			tell(int(msg.Ifindex))
		}
	})
}

// subscribe hears of what the kernel tells a group; nil says that some of it
// was lost.
func subscribe(ctx context.Context, path string, group uint, elsewhere bool, tell func(*syscall.NetlinkMessage)) (<-chan struct{}, error) {
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

func listen(ctx context.Context, sock *nl.NetlinkSocket, bell int, tell func(*syscall.NetlinkMessage)) {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(sock.GetFd()), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		msgs, _, err := sock.Receive()
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			tell(nil)
			continue
		default:
			return
		}
		for i := range msgs {
			tell(&msgs[i])
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

// Relay sends what is new of the things that changed, until one of the sources
// of their news ends; then it calls end.
func Relay[K comparable](changed *Pending[K], news func(K) (backends.LinkStatus, bool), end func(), sources ...<-chan struct{}) <-chan backends.LinkStatus {
	over := make(chan struct{})
	var once sync.Once
	for _, s := range sources {
		go func() {
			<-s
			once.Do(func() { end(); close(over) })
		}()
	}
	out := make(chan backends.LinkStatus)
	go func() {
		defer close(out)
		for {
			select {
			case <-changed.Wake():
			case <-over:
				return
			}
			select {
			case <-time.After(gather):
			case <-over:
				return
			}
			for k := range changed.Take() {
				st, another := news(k)
				if !another {
					continue
				}
				select {
				case out <- st:
				case <-over:
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
