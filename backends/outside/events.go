package outside

import (
	"context"
	"errors"

	"github.com/vishvananda/netlink"

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
	changed := nsnet.NewPending[key]()
	over, err := nsnet.News(ctx, o.cfg.Host, true, func(dev netlink.Link) { changed.Add(o.about(dev)...) })
	if err != nil {
		return nil, err
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
			for _, st := range o.changed(ctx, changed.Take()) {
				select {
				case out <- st:
				case <-over:
					return
				}
			}
		}
	}()
	return out, nil
}

// about notes which links a message may be about: by the interface's mark, or
// because it has the name of a bridge or a parent.
func (o *Outside) about(dev netlink.Link) (touched []key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, kept := range o.known {
		if dev == nil { // some news were lost: look at all
			touched = append(touched, k)
			continue
		}
		out := kept.link.B.Outside
		_, labName, id, ours := nsnet.ParseAlias(dev.Attrs().Alias)
		if name := dev.Attrs().Name; ours && k == (key{labName, id}) || name == out.Interface || name == out.Bridge {
			touched = append(touched, k)
		}
	}
	return touched
}

// changed looks at links again and returns those that are not as they were.
func (o *Outside) changed(ctx context.Context, touched map[key]bool) []backends.LinkStatus {
	o.mu.Lock()
	var look []kept
	for k, v := range o.known {
		if touched[k] {
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
