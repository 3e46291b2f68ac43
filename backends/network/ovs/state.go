package ovs

import (
	"context"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// State looks at both ports and their interfaces.
func (n *Network) State(ctx context.Context, l backends.Link) (backends.LinkStatus, error) {
	n.watch.Add(l)
	s, panel, err := n.look(ctx)
	if err != nil {
		return backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}, wrap(l, err)
	}
	st, err := n.state(s, panel, l)
	return st, wrap(l, err)
}

// Tag is the VLAN tag of a link that is connected, and 0 of any other.
func (n *Network) Tag(l backends.Link) int {
	s := n.current()
	if s == nil {
		return 0
	}
	tag := 0
	s.see(func(v *view) {
		a, b := v.port(endOf(l.A)), v.port(endOf(l.B))
		if a != nil && b != nil && a.tag == b.tag {
			tag = a.tag
		}
	})
	return tag
}

func (n *Network) state(s *session, panel *nsnet.NS, l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	stopped := n.stopped()
	var names []string
	var trouble string
	joined := false
	s.see(func(v *view) {
		a, b := v.port(endOf(l.A)), v.port(endOf(l.B))
		for _, p := range []*portRow{a, b} {
			if p == nil {
				continue
			}
			names = append(names, p.name)
			if why := v.trouble(p); why != "" {
				trouble = fmt.Sprintf("port %s: %s", p.name, why)
			}
		}
		if joined = a != nil && b != nil && a.tag == b.tag && a.tag > 0 && v.bridgeOf(a) == v.bridgeOf(b); joined {
			st.VLAN = a.tag
		}
	})
	there, down, carrier := 0, 0, 0
	for _, name := range names {
		far, err := panel.Find(name)
		if err != nil {
			return st, err
		}
		if far == nil {
			continue
		}
		there++
		switch {
		case far.Attrs().Flags&net.FlagUp == 0:
			down++
		case far.Attrs().OperState == netlink.OperUp:
			carrier++
		}
	}
	if len(names) == 0 {
		return st, backends.ErrNotFound
	}
	st.Cut = len(names) == 2 && down == 2 && trouble == "" && !stopped
	switch {
	case stopped:
		st.Reason = "ovs-vswitchd does not run"
	case len(names) < 2:
		st.Reason = "a port is not on the switch"
	case there < 2:
		st.Reason = "an interface is missing"
	case down > 0:
		st.Reason = "cut"
	case !joined:
		st.Reason = "the ports have different VLAN tags"
	case trouble != "":
		st.Reason = trouble
	case carrier < 2:
		st.Connected, st.Reason = true, "an interface is set down in its node"
	default:
		st.Connected, st.Carrier = true, lab.CarrierOn
	}
	return st, nil
}
