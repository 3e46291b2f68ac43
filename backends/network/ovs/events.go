package ovs

import (
	"context"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// observe looks at a link now, and returns nil when that cannot be done: to
// have lost the switch's records says nothing of the links, except where the
// switch does nothing without them.
func (n *Network) observe(l backends.Link) *backends.LinkStatus {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	s, panel := n.current(), n.panel()
	if s != nil && panel != nil {
		f, err := n.find(s, panel, l)
		if err != nil {
			return nil
		}
		n.follow(s, panel, l, f)
		seen, err := n.status(l, f)
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

// stirEnds has the links of some ends looked at.
func (n *Network) stirEnds(ends map[end]bool) {
	for e := range ends {
		n.watch.Stir(nsnet.End{Lab: e.lab, Name: e.end})
	}
}

// Events hears of changes in the switch's records, of the interfaces that it
// has, and of its processes. It listens once the switch is in use.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(n.ctx, cancel)
	return n.watch.Tell(ctx, n.link.located, n.observe, func(ctx context.Context) ([]<-chan struct{}, error) {
		news, err := nsnet.News(ctx, n.namespace(), true, func(dev *nsnet.Device) {
			if dev == nil {
				n.watch.StirAll() // some news were lost
			} else if m, ok := mark.Parse(dev.Alias); ok && m.Use == "" { // a node's
				n.watch.Stir(nsnet.End{Lab: m.Lab, Name: m.ID})
			} else if e, ours := n.endAt(dev.Name); ours {
				n.stirEnds(map[end]bool{e: true})
			}
		})
		return []<-chan struct{}{news}, err
	}), nil
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
