package veth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// gather is how long after the first news of a link it is looked at.
const gather = 5 * time.Millisecond

// heard is a link that the panel hears of, by its namespaces' inodes.
type heard struct {
	link backends.Link
	ends [2]uint64
}

// learn notes a link that is heard of, and reports whether it was already.
func (n *Network) learn(l backends.Link, ends [2]uint64) bool {
	k := key{l.Lab, l.ID()}
	n.mu.Lock()
	defer n.mu.Unlock()
	was, known := n.known[k]
	n.known[k] = heard{l, ends}
	return known && was.ends == ends
}

// watch makes the panel hear of changes in both ends' namespaces: the kernel
// tells a socket of other namespaces only when they have a number there.
func (n *Network) watch(l backends.Link, a, b *side) {
	if n.learn(l, [2]uint64{nsnet.Inode(int(a.FD())), nsnet.Inode(int(b.FD()))}) {
		return
	}
	for _, s := range []*side{a, b} {
		_ = n.panelNS.SetNetNsIdByFd(int(s.FD()), -1) // -1: any; it may have one already
	}
}

// Events hears of every change of a link in any namespace on one socket.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ns, err := netns.GetFromPath(n.panel)
	if err != nil {
		return nil, err
	}
	sock, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	_ = ns.Close()
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
		sock.Close()
		return nil, fmt.Errorf("hear of other namespaces: %w", err)
	}
	_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	// A receive that blocks does not notice the end of ctx: look now and then.
	_ = sock.SetReceiveTimeout(&unix.Timeval{Sec: 60})
	changed := &pending{set: map[key]bool{}, wake: make(chan struct{}, 1)}
	go func() {
		defer close(changed.wake)
		defer sock.Close()
		for ctx.Err() == nil {
			msgs, _, err := sock.Receive()
			var keys []key
			n.mu.Lock()
			switch {
			case err == nil:
				for _, m := range msgs {
					if k, ok := n.about(m.Data); ok {
						keys = append(keys, k)
					}
				}
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.ENOBUFS): // some were lost: look at all
				for k := range n.known {
					keys = append(keys, k)
				}
			default:
				n.mu.Unlock()
				return
			}
			n.mu.Unlock()
			changed.add(keys)
		}
	}()
	out := make(chan backends.LinkStatus)
	go n.report(ctx, changed, out)
	return out, nil
}

// pending are links to look at again, each once however often it changed.
type pending struct {
	mu   sync.Mutex
	set  map[key]bool
	wake chan struct{}
}

func (p *pending) add(keys []key) {
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

func (p *pending) take() map[key]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.set
	p.set = map[key]bool{}
	return out
}

// about finds the link that a message speaks of, by its alias.
func (n *Network) about(data []byte) (key, bool) {
	l, err := netlink.LinkDeserialize(nil, data)
	if err != nil {
		return key{}, false
	}
	_, labName, id, ok := nsnet.ParseAlias(l.Attrs().Alias)
	if !ok {
		return key{}, false
	}
	k := key{labName, id}
	_, known := n.known[k]
	return k, known
}

func (n *Network) report(ctx context.Context, changed *pending, out chan<- backends.LinkStatus) {
	defer close(out)
	for {
		select {
		case _, ok := <-changed.wake:
			if !ok {
				return
			}
		case <-ctx.Done():
			return
		}
		// One change is several pieces of news: what comes with it is looked
		// at with it.
		select {
		case <-time.After(gather):
		case <-ctx.Done():
			return
		}
		for k := range changed.take() {
			n.mu.Lock()
			l, known := n.known[k]
			n.mu.Unlock()
			if !known {
				continue
			}
			st, err := n.State(ctx, l.link)
			if err != nil {
				st = backends.LinkStatus{Lab: k.lab, ID: k.id, Carrier: st.Carrier, Gone: true, Reason: "the interfaces are gone"}
			}
			n.mu.Lock()
			same := n.last[k] == st
			n.last[k] = st
			n.mu.Unlock()
			if same {
				continue
			}
			select {
			case out <- st:
			case <-ctx.Done():
				return
			}
		}
	}
}
