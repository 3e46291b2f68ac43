package ovs

import (
	"context"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// watch remembers a link whose changes are to be reported.
func (n *Network) watch(l backends.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := keyOf(l)
	n.known[k], n.at[endOf(l.A)], n.at[endOf(l.B)] = l, k, k
}

// calling marks a link as being worked on: what is seen meanwhile is no news,
// what is seen at the end may be.
func (n *Network) calling(l backends.Link) (done func()) {
	n.watch(l)
	k := keyOf(l)
	n.mu.Lock()
	n.calls[k]++
	n.mu.Unlock()
	return func() {
		n.mu.Lock()
		last := n.calls[k] == 1
		if n.calls[k]--; last {
			delete(n.calls, k)
		}
		n.mu.Unlock()
		if last {
			n.stir([]key{k})
		}
	}
}

func (n *Network) forget(which func(key) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, l := range n.known {
		if which(k) {
			delete(n.known, k)
			delete(n.last, k)
			for _, p := range []backends.Port{l.A, l.B} {
				if n.at[endOf(p)] == k {
					delete(n.at, endOf(p))
				}
			}
		}
	}
}

// observe looks at a link now, and returns nil when that cannot be done: to
// have lost the switch's records says nothing of the links, except where the
// switch does nothing without them.
func (n *Network) observe(l backends.Link) *backends.LinkStatus {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	s, panel := n.current(), n.panel()
	if s != nil && panel != nil {
		seen, err := n.state(s, panel, l)
		select {
		case <-s.lost:
		default:
			if err != nil {
				st.Gone, st.Reason = true, "its ports are gone from the switch"
				return &st
			}
			return &seen
		}
	}
	if panel == nil || n.datapath() != "netdev" || n.ctx.Err() != nil {
		return nil
	}
	st.Reason = "ovsdb-server does not run, and a switch in user space stands still without it"
	return &st
}

func (n *Network) stir(keys []key) {
	if len(keys) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.waiters {
		p.Add(keys...)
	}
}

// stirEnds has the links of some ends looked at.
func (n *Network) stirEnds(ends map[end]bool) {
	var keys []key
	n.mu.Lock()
	for e := range ends {
		if k, ok := n.at[e]; ok {
			keys = append(keys, k)
		}
	}
	n.mu.Unlock()
	n.stir(keys)
}

// stirAll has all links looked at.
func (n *Network) stirAll() {
	n.mu.Lock()
	keys := make([]key, 0, len(n.known))
	for k := range n.known {
		keys = append(keys, k)
	}
	n.mu.Unlock()
	n.stir(keys)
}

// Events hears of changes in the switch's records, of the interfaces that it
// has, and of its processes. It listens once the switch is in use.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	p := nsnet.NewPending[key]()
	n.mu.Lock()
	n.waiters[p] = true
	n.mu.Unlock()
	out := make(chan backends.LinkStatus)
	go func() {
		defer close(out)
		defer func() {
			n.mu.Lock()
			delete(n.waiters, p)
			n.mu.Unlock()
		}()
		select {
		case <-n.link.located:
		case <-ctx.Done():
			return
		case <-n.ctx.Done():
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		over, err := nsnet.News(ctx, n.namespace(), false, func(dev netlink.Link) {
			if dev == nil {
				n.stirAll() // some news were lost
			} else if e, ours := n.endAt(dev.Attrs().Name); ours {
				n.stirEnds(map[end]bool{e: true})
			}
		})
		if err != nil {
			return
		}
		n.stirAll() // what changed before we listened
		for {
			select {
			case <-over:
				return
			case <-p.Wake():
				if !n.report(ctx, p, out) {
					return
				}
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// endAt says for which end an interface at the switch's side stands.
func (n *Network) endAt(name string) (e end, ours bool) {
	if s := n.current(); s != nil {
		s.see(func(v *view) {
			if p := v.ports[v.byName[name]]; p != nil {
				e, ours = v.end(p)
			}
		})
	}
	return e, ours
}

// report sends what is new of the links that were stirred.
func (n *Network) report(ctx context.Context, p *nsnet.Pending[key], out chan<- backends.LinkStatus) bool {
	for k := range p.Take() {
		n.mu.Lock()
		l, known := n.known[k]
		n.mu.Unlock()
		if !known {
			continue
		}
		st := n.observe(l)
		n.mu.Lock()
		_, known = n.known[k]
		skip := st == nil || !known || n.calls[k] > 0 || n.last[k] == *st
		if !skip {
			n.last[k] = *st
		}
		n.mu.Unlock()
		if skip {
			continue
		}
		select {
		case out <- *st:
		case <-ctx.Done():
			return false
		case <-n.ctx.Done():
			return false
		}
	}
	return true
}
