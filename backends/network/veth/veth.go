// Package veth patches the far ends of a link's two interfaces together frame
// by frame: there is no bridge between them, nothing is learnt and nothing is
// kept back, so it carries whatever a cable does.
//
// A pair straight between two nodes would be less to make. But each of its
// ends is the other's far end: to take its carrier from one, the other would
// have to be set down, which is for its node's own system to do and which makes
// that forget routes; and to plug it in elsewhere it would have to be made anew,
// without the VLANs, the VRF and the rest that the node has put on it.
package veth

import (
	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/cable"
	"archetype/backends/network/nsnet"
)

// New makes the backend. The panel is a namespace that no node uses.
func New(panel string) (*cable.Network, error) {
	return cable.New(panel, func(ns *nsnet.NS, batch *nsnet.Batch) cable.Joint { return &patch{ns, batch} })
}

// patch implements cable.Joint.
type patch struct {
	panel *nsnet.NS
	batch *nsnet.Batch
}

func (p *patch) Name() string   { return "veth" }
func (p *patch) Letter() string { return "p" }

// Available tries a pair, with its two ends patched to each other.
func (p *patch) Available() backends.Availability {
	one, other := mark.Trial("veth0"), mark.Trial("veth1")
	if err := p.panel.Delete(one); err != nil {
		return backends.Availability{Reason: err.Error()}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = one
	if err := p.panel.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: other}); err != nil {
		return backends.Availability{Reason: "veth pairs: " + err.Error(), Fix: "a kernel with CONFIG_VETH (modprobe veth)"}
	}
	defer func() { _ = p.panel.Delete(one) }()
	l, err := p.panel.LinkByName(one)
	if err == nil {
		err = p.batch.Patch(p.panel, l.Attrs().Index, l.Attrs().ParentIndex)
	}
	if err != nil {
		return backends.Availability{Reason: err.Error(),
			Fix: "a kernel with CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED, or the network linuxbridge"}
	}
	return backends.Availability{OK: true, Detail: "a pair for each end, patched together"}
}

func (p *patch) Join(_ backends.Link, a, b int) error { return p.batch.Patch(p.panel, a, b) }

func (p *patch) Joined(_ backends.Link, a, b netlink.Link) (bool, error) {
	return p.panel.Patched(a.Attrs().Index, b.Attrs().Index)
}

func (p *patch) Part(backends.Link) error { return nil }
