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

// found is what there is of a link.
type found struct {
	ports   [2]*portRow
	far     [2]netlink.Link
	held    [2]bool // down because of the other node's interface
	tag     int     // that both have; 0: they differ
	trouble string
}

// cut reports whether an end's cable is.
func (f found) cut(i int) bool {
	return f.far[i] != nil && f.far[i].Attrs().Flags&net.FlagUp == 0 && !f.held[i]
}

func (n *Network) find(s *session, panel *nsnet.NS, l backends.Link) (f found, err error) {
	ends := [2]end{endOf(l.A), endOf(l.B)}
	s.see(func(v *view) {
		a, b := v.port(ends[0]), v.port(ends[1])
		f.ports = [2]*portRow{a, b}
		for _, p := range f.ports {
			if p == nil {
				continue
			}
			if why := v.trouble(p); why != "" {
				f.trouble = fmt.Sprintf("port %s: %s", p.name, why)
			}
		}
		if a != nil && b != nil && a.tag == b.tag && a.tag > 0 && v.bridgeOf(a) == v.bridgeOf(b) {
			f.tag = a.tag
		}
	})
	for i, p := range f.ports {
		if p == nil {
			continue
		}
		if f.far[i], err = panel.Find(p.name); err != nil {
			return f, err
		}
		if l := f.far[i]; l != nil && l.Attrs().Flags&net.FlagUp == 0 {
			_, f.held[i] = marked(l, ends[i])
		}
	}
	return f, nil
}

func (n *Network) state(s *session, panel *nsnet.NS, l backends.Link) (backends.LinkStatus, error) {
	f, err := n.find(s, panel, l)
	if err != nil {
		return backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}, err
	}
	if _, behind, _ := n.wanted(panel, l, f); behind {
		n.watch.Stir(nsnet.EndOf(l.A)) // its news were lost
	}
	return n.status(l, f)
}

func (n *Network) status(l backends.Link, f found) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff, VLAN: f.tag}
	stopped := n.stopped()
	ports, there, down, without := 0, 0, 0, ""
	for i, p := range []backends.Port{l.A, l.B} {
		if f.ports[i] != nil {
			ports++
		}
		if f.far[i] == nil {
			continue
		}
		there++
		st.Ends[i] = true
		switch other := []backends.Port{l.B, l.A}[i]; {
		case f.cut(i):
			down++
		case f.held[i] && without == "":
			without = other.End.String()
		case !f.held[i] && f.far[i].Attrs().OperState != netlink.OperUp:
			without = p.End.String()
		}
	}
	if ports == 0 {
		return st, backends.ErrNotFound
	}
	st.Cut = there == 2 && down == 2 && f.trouble == "" && !stopped
	switch {
	case stopped:
		st.Reason = "ovs-vswitchd does not run"
	case ports < 2:
		st.Reason = "a port is not on the switch"
	case there < 2:
		st.Reason = "an interface is missing"
	case down > 0:
		st.Reason = "cut"
	case f.tag == 0:
		st.Reason = "the ports have different VLAN tags"
	case f.trouble != "":
		st.Reason = f.trouble
	case without != "":
		st.Connected, st.Reason = true, without+" is down in its node"
	default:
		st.Connected, st.Carrier = true, lab.CarrierOn
	}
	return st, nil
}

// wanted says which far ends should be up, and whether one is not as it should
// be. Of a link that is cut, or not whole, it says nothing.
func (n *Network) wanted(panel *nsnet.NS, l backends.Link, f found) (want [2]bool, behind bool, err error) {
	if f.tag == 0 || f.far[0] == nil || f.far[1] == nil || f.cut(0) || f.cut(1) {
		return want, false, nil
	}
	return nsnet.Follow(panel, [2]nsnet.Lead{{Port: l.A, Far: f.far[0]}, {Port: l.B, Far: f.far[1]}})
}

// follow has the far ends of a link, of which that was found, be as wanted.
func (n *Network) follow(s *session, panel *nsnet.NS, l backends.Link, f found) {
	if _, behind, err := n.wanted(panel, l, f); !behind || err != nil {
		return
	}
	n.watch.Bring(l, &n.locks, func() (want [2]bool, behind bool, err error) {
		if f, err = n.find(s, panel, l); err != nil {
			return want, false, err
		}
		return n.wanted(panel, l, f)
	}, func(i int, up bool) {
		mark := useHeld
		if up {
			mark = use
		}
		_ = set(panel, f.far[i], mark, up)
	})
}
