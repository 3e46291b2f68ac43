package cable

import (
	"context"
	"errors"
	"slices"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
)

// watch has a link's changes told from now on.
func (n *Network) watch(l backends.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := keyOf(l)
	n.known[k], n.byFar[n.farName(l.A)], n.byFar[n.farName(l.B)] = l, k, k
}

func (n *Network) forget(which func(backends.Link) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, l := range n.known {
		if !which(l) {
			continue
		}
		delete(n.known, k)
		delete(n.last, k)
		for _, p := range []backends.Port{l.A, l.B} {
			if n.byFar[n.farName(p)] == k { // it may be another link's by now
				delete(n.byFar, n.farName(p))
			}
		}
	}
}

// stir has links looked at.
func (n *Network) stir(keys ...key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.waiters {
		p.Add(keys...)
	}
}

// heard has the link looked at that an interface is of; nil says that some
// news were lost.
func (n *Network) heard(dev netlink.Link) {
	n.mu.Lock()
	var keys []key
	if dev != nil {
		if k, ok := n.byFar[dev.Attrs().Name]; ok {
			keys = append(keys, k)
		} else if k, ok := n.byFar[n.farOf(dev)]; ok {
			keys = append(keys, k)
		}
	} else {
		for k := range n.known {
			keys = append(keys, k)
		}
	}
	n.mu.Unlock()
	n.stir(keys...)
}

// farOf is the name that the far end of a node's interface or of a tap should
// have, or that one that was renamed had; nothing when it is none of these.
func (n *Network) farOf(dev netlink.Link) string {
	use, labName, id, ok := nsnet.ParseAlias(dev.Attrs().Alias)
	if !ok || !slices.Contains([]string{"", nsnet.UseTap, useFar, useHeld}, use) {
		return ""
	}
	return nsnet.Name(n.joint.Letter(), labName, id)
}

// Events hears of every change in the panel, which has an end of everything,
// in the nodes, and of the taps in this machine's own namespace; and has the
// carrier of each end follow the other's node.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	var over [3]<-chan struct{}
	var errs [3]error
	over[0], errs[0] = nsnet.News(ctx, n.path, true, n.heard)
	over[1], errs[1] = nsnet.News(ctx, n.here.Path(), false, n.heard)
	over[2], errs[2] = nsnet.Unpatchings(ctx, n.path, func(index int) {
		if l, err := n.panel.LinkByIndex(index); err == nil {
			n.heard(l)
		}
	})
	if err := errors.Join(errs[:]...); err != nil {
		cancel()
		return nil, err
	}
	changed := nsnet.NewPending[key]()
	n.mu.Lock()
	n.waiters[changed] = true
	n.mu.Unlock()
	n.heard(nil) // what changed before anybody listened
	return nsnet.Relay(changed, n.news, func() {
		cancel()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiters, changed)
	}, over[:]...), nil
}

// news looks at a link, has its carriers follow, and reports whether it is
// another than last time.
func (n *Network) news(k key) (backends.LinkStatus, bool) {
	n.mu.Lock()
	l, known := n.known[k]
	n.mu.Unlock()
	if !known {
		return backends.LinkStatus{}, false
	}
	v, err := n.view(l)
	if err != nil {
		return backends.LinkStatus{}, false
	}
	n.follow(l, v)
	st, err := v.status(l)
	if errors.Is(err, backends.ErrNotFound) {
		st.Gone, st.Reason = true, "the interfaces are gone"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known = n.known[k]; !known || n.last[k] == st {
		return st, false
	}
	n.last[k] = st
	return st, true
}
