package cable

import (
	"context"
	"errors"
	"slices"
	"strings"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
)

// heard has the link looked at that an interface is of; nil says that some
// news were lost.
func (n *Network) heard(dev *nsnet.Device) {
	if dev == nil {
		n.watch.StirAll()
		return
	}
	m, ok := mark.Parse(dev.Alias)
	switch {
	case !ok:
	case m.Use == UseJoint+"-"+n.Name(): // what joins two ends bears the link's ID
		end, _, _ := strings.Cut(m.ID, "|")
		n.watch.Stir(nsnet.End{Lab: m.Lab, Name: end})
	case slices.Contains([]string{"", nsnet.UseTap, useFar, useHeld}, m.Use):
		n.watch.Stir(nsnet.End{Lab: m.Lab, Name: m.ID})
	}
}

// Events hears of every change in the panel, which has an end of everything,
// in the nodes, and of the taps in this machine's own namespace; and has the
// carrier of each end follow the other's node.
func (n *Network) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	return n.watch.Tell(ctx, n.watch.Used(), n.observe, n.sources), nil
}

func (n *Network) sources(ctx context.Context) ([]<-chan struct{}, error) {
	panel, err := nsnet.News(ctx, n.path, true, n.heard)
	if err != nil {
		return nil, err
	}
	taps, err := nsnet.News(ctx, n.here.Path(), false, n.heard)
	if err != nil {
		return nil, err
	}
	patches, err := nsnet.Unpatchings(ctx, n.path, func(index int) {
		if l, err := n.panel.LinkByIndex(index); err == nil {
			n.heard(&nsnet.Device{Alias: l.Attrs().Alias})
		}
	})
	return []<-chan struct{}{panel, taps, patches}, err
}

// observe looks at a link, and has its carriers follow.
func (n *Network) observe(l backends.Link) *backends.LinkStatus {
	v, err := n.view(l)
	if err != nil {
		return nil
	}
	n.follow(l, v)
	st, err := v.status(l)
	if errors.Is(err, backends.ErrNotFound) {
		st.Gone, st.Reason = true, "the interfaces are gone"
	}
	return &st
}
