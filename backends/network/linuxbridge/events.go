package linuxbridge

import (
	"context"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"archetype/backends"
)

func (n *Network) watch(l backends.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[farName(l.A)], n.known[farName(l.B)] = l, l
}

// Events hears of every change in the panel: it has an end of everything.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ns, err := netns.GetFromPath(n.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	updates := make(chan netlink.LinkUpdate, 256)
	lost := make(chan struct{})
	var once sync.Once
	err = netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		Namespace: &ns, ReceiveBufferSize: 4 << 20, ReceiveBufferForceSize: false,
		ErrorCallback: func(error) { once.Do(func() { close(lost) }) },
	})
	if err != nil {
		return nil, err
	}
	out := make(chan backends.LinkStatus)
	go func() {
		defer close(out)
		for {
			var u netlink.LinkUpdate
			var ok bool
			select {
			case u, ok = <-updates:
				if !ok {
					return
				}
			case <-lost:
				return
			case <-ctx.Done():
				return
			}
			st, changed := n.changed(u.Attrs().Name)
			if !changed {
				continue
			}
			select {
			case out <- st:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// changed looks at the link of a far end, and reports whether it is another
// than last time.
func (n *Network) changed(far string) (backends.LinkStatus, bool) {
	n.mu.Lock()
	l, known := n.known[far]
	n.mu.Unlock()
	if !known {
		return backends.LinkStatus{}, false
	}
	st, err := n.state(l)
	if err != nil {
		st.Gone, st.Reason = true, "the interfaces are gone"
	}
	k := l.Lab + "\x00" + l.ID()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last[k] == st {
		return st, false
	}
	n.last[k] = st
	return st, true
}
