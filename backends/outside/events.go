package outside

import (
	"context"
	"errors"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
)

// remember has the link's state watched.
func (o *Outside) remember(l backends.Link, n *over) {
	o.mu.Lock()
	o.known[key{l.Lab, l.ID()}] = kept{l, n}
	o.once.Do(func() { close(o.used) })
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
	delete(o.ways, key{l.Lab, l.ID()})
}

// Events hears of changes on the machine and, for interfaces without a peer,
// in their nodes.
func (o *Outside) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	changed := nsnet.NewPending[key]()
	news := func(k key) (backends.LinkStatus, bool) { return o.news(ctx, k) }
	sources := func(ctx context.Context) ([]<-chan struct{}, error) {
		tell := func(dev *nsnet.Device) { changed.Add(o.about(dev)...) }
		host, err := nsnet.News(ctx, o.cfg.Host, true, tell)
		tell(nil) // what changed before anybody listened
		return []<-chan struct{}{host}, err
	}
	return nsnet.Relay(ctx, o.used, changed, news, sources, func() {}), nil
}

// about notes which links a message may be about: by the interface's mark, or
// because it has the name of a bridge, a parent or what a tunnel leaves by.
func (o *Outside) about(dev *nsnet.Device) (touched []key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, kept := range o.known {
		if dev == nil { // some news were lost: look at all
			touched = append(touched, k)
			continue
		}
		out := kept.link.B.Outside
		m, ours := mark.Parse(dev.Alias)
		if name := dev.Name; ours && k == (key{m.Lab, m.ID}) || name == out.Interface || name == out.Bridge || name == o.ways[k] {
			touched = append(touched, k)
		}
	}
	return touched
}

// news looks at a link, and reports whether it is another than last time.
func (o *Outside) news(ctx context.Context, k key) (backends.LinkStatus, bool) {
	o.mu.Lock()
	v, known := o.known[k]
	o.mu.Unlock()
	if !known {
		return backends.LinkStatus{}, false
	}
	st, err := v.over.state(ctx, v.link)
	if err != nil {
		if !errors.Is(err, backends.ErrNotFound) {
			return st, false
		}
		st = backends.LinkStatus{Lab: k.lab, ID: k.id, Carrier: st.Carrier, Gone: true, Reason: "the interfaces are gone"}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known = o.known[k]; !known || o.last[k] == st {
		return st, false
	}
	o.last[k] = st
	return st, true
}
