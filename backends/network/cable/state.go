package cable

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// State looks at the two far ends and their joint.
func (n *Network) State(_ context.Context, l backends.Link) (backends.LinkStatus, error) {
	n.watch(l)
	st, err := n.state(l)
	return st, wrap(l, err)
}

func (n *Network) state(l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	var fars []netlink.Link
	carrier, down := 0, 0
	for _, p := range []backends.Port{l.A, l.B} {
		far, err := n.panel.Find(n.farName(p))
		if err != nil {
			return st, err
		}
		in := true
		if tap := p.Attachment.Tap; tap != "" && far != nil {
			var there bool
			if there, in, err = n.here.Plugged(tap); err != nil {
				return st, err
			} else if !there {
				continue
			}
		}
		if far == nil {
			continue
		}
		fars = append(fars, far)
		switch {
		case far.Attrs().Flags&net.FlagUp == 0 || !in:
			down++
		case far.Attrs().OperState == netlink.OperUp:
			carrier++
		}
	}
	if len(fars) == 0 {
		return st, backends.ErrNotFound
	}
	wired := false
	if len(fars) == 2 {
		var err error
		if wired, err = n.joint.Joined(l, fars[0], fars[1]); err != nil {
			return st, err
		}
	}
	st.Connected, st.Cut = wired && down == 0, wired && down == 2
	switch {
	case len(fars) < 2:
		st.Reason = "an interface is missing"
	case down > 0:
		st.Reason = "cut"
	case !wired:
		st.Reason = "its two ends are not joined"
	case carrier == 2:
		st.Carrier = lab.CarrierOn
	default:
		st.Reason = "an interface is set down in its node"
	}
	return st, nil
}

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

// Events hears of every change in the panel, which has an end of everything,
// and of the taps in this machine's own namespace.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	changed := nsnet.NewPending[key]()
	tell := func(far func(netlink.Link) string) func(netlink.Link) {
		return func(dev netlink.Link) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if dev != nil {
				if k, ok := n.byFar[far(dev)]; ok {
					changed.Add(k)
				}
				return
			}
			for k := range n.known { // some news were lost
				changed.Add(k)
			}
		}
	}
	over, err := nsnet.News(ctx, n.path, false, tell(func(dev netlink.Link) string { return dev.Attrs().Name }))
	if err != nil {
		cancel()
		return nil, err
	}
	noTaps, err := nsnet.News(ctx, n.here.Path(), false, tell(n.farOfTap))
	if err != nil {
		cancel()
		return nil, err
	}
	go func() { // one ends with the other
		select {
		case <-over:
		case <-noTaps:
		}
		cancel()
	}()
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
			case <-time.After(nsnet.Gather):
			case <-over:
				return
			}
			for k := range changed.Take() {
				st, another := n.news(k)
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
	return out, nil
}

// farOfTap is the name of the far end that belongs to a tap, and of nothing
// when the interface is none of ours.
func (n *Network) farOfTap(dev netlink.Link) string {
	use, labName, id, ok := nsnet.ParseAlias(dev.Attrs().Alias)
	if !ok || use != nsnet.UseTap {
		return ""
	}
	return nsnet.Name(n.joint.Letter(), labName, id)
}

// news looks at a link, and reports whether it is another than last time.
func (n *Network) news(k key) (backends.LinkStatus, bool) {
	n.mu.Lock()
	l, known := n.known[k]
	n.mu.Unlock()
	if !known {
		return backends.LinkStatus{}, false
	}
	st, err := n.state(l)
	if err != nil {
		if !errors.Is(err, backends.ErrNotFound) {
			return st, false
		}
		st.Gone, st.Reason = true, "the interfaces are gone"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last[k] == st {
		return st, false
	}
	n.last[k] = st
	return st, true
}
