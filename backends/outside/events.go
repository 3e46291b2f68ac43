package outside

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// remember has the link's state watched.
func (o *Outside) remember(l backends.Link, n *over) {
	o.mu.Lock()
	o.known[key{l.Lab, l.ID()}] = kept{l, n}
	o.mu.Unlock()
	if !direct(l.B.Outside.Type) {
		return
	}
	// The kernel tells a socket of other namespaces only when they have a
	// number where the socket is.
	if ns, err := inNode(l); err == nil {
		_ = o.host.SetNetNsIdByFd(int(ns.FD()), -1) // -1: any; it may have one already
		ns.Close()
	}
}

func (o *Outside) forget(l backends.Link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key{l.Lab, l.ID()})
	delete(o.last, key{l.Lab, l.ID()})
}

// Events hears of changes on the machine and, for interfaces without a peer,
// in their nodes.
func (o *Outside) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ns, err := netns.GetFromPath(o.cfg.Host)
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
	// A receive that blocks would not notice the end of ctx.
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		sock.Close()
		return nil, err
	}
	out := make(chan backends.LinkStatus)
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(rung)
	})
	go func() {
		defer close(out)
		defer func() {
			if !stop() {
				<-rung
			}
			sock.Close()
			_ = unix.Close(bell)
		}()
		for ctx.Err() == nil {
			fds := []unix.PollFd{{Fd: int32(sock.GetFd()), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			if fds[0].Revents == 0 {
				continue
			}
			msgs, _, err := sock.Receive()
			all := false
			switch {
			case err == nil:
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.ENOBUFS): // some were lost: look at all
				all = true
			default:
				return
			}
			touched := map[key]bool{}
			for _, m := range msgs {
				o.about(m.Data, touched)
			}
			for _, st := range o.changed(ctx, touched, all) {
				select {
				case out <- st:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// about notes which links a message may be about: by the interface's mark, or
// because it has the name of a bridge or a parent.
func (o *Outside) about(data []byte, touched map[key]bool) {
	dev, err := netlink.LinkDeserialize(nil, data)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, labName, id, ok := nsnet.ParseAlias(dev.Attrs().Alias); ok {
		if k := (key{labName, id}); o.known[k].over != nil {
			touched[k] = true
		}
	}
	for k, kept := range o.known {
		out := kept.link.B.Outside
		if name := dev.Attrs().Name; name == out.Interface || name == out.Bridge {
			touched[k] = true
		}
	}
}

// changed looks at links again and returns those that are not as they were.
func (o *Outside) changed(ctx context.Context, touched map[key]bool, all bool) []backends.LinkStatus {
	o.mu.Lock()
	var look []kept
	for k, v := range o.known {
		if all || touched[k] {
			look = append(look, v)
		}
	}
	o.mu.Unlock()
	var out []backends.LinkStatus
	for _, v := range look {
		k := key{v.link.Lab, v.link.ID()}
		st, err := v.over.state(ctx, v.link)
		if err != nil {
			if !errors.Is(err, backends.ErrNotFound) {
				continue
			}
			st = backends.LinkStatus{Lab: k.lab, ID: k.id, Carrier: st.Carrier, Gone: true, Reason: "the interfaces are gone"}
		}
		o.mu.Lock()
		_, still := o.known[k]
		same := o.last[k] == st
		if still {
			o.last[k] = st
		}
		o.mu.Unlock()
		if still && !same {
			out = append(out, st)
		}
	}
	return out
}
