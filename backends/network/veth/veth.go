// Package veth makes each link a pair of interfaces straight between two
// namespaces: nothing in between, nothing shared.
package veth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// What an interface of ours is used as, in its alias.
const (
	useLink = ""
	useCut  = "cut"  // its cable is cut
	useHalf = "half" // provisioned: the far end waits in the panel
)

// Network implements backends.Network.
type Network struct {
	panel   string // path of the namespace where ends wait for their node
	panelNS *nsnet.NS
	here    *nsnet.NS    // where taps are
	batch   *nsnet.Batch // in the panel

	mu     sync.Mutex
	known  map[key]heard
	routes map[string]nsnet.Settings // of ends that are cut, by lab and endpoint
	last   map[key]backends.LinkStatus
}

type key struct{ lab, id string }

var (
	_ backends.Network  = (*Network)(nil)
	_ backends.Impairer = (*Network)(nil)
	_ backends.Handover = (*Network)(nil)
)

// New makes the backend. The panel is a namespace that no node uses.
func New(panel string) (*Network, error) {
	ns, err := nsnet.Open(panel)
	if err != nil {
		return nil, err
	}
	here, err := nsnet.Machine()
	if err != nil {
		return nil, err
	}
	batch, err := ns.Batch()
	if err != nil {
		return nil, err
	}
	return &Network{panel: panel, panelNS: ns, here: here, batch: batch, known: map[key]heard{}, routes: map[string]nsnet.Settings{},
		last: map[key]backends.LinkStatus{}}, nil
}

// Name is "veth".
func (n *Network) Name() string { return "veth" }

// Available tries a pair.
func (n *Network) Available(context.Context) backends.Availability {
	p := n.panelNS
	if err := p.Delete("archetype-probe"); err != nil {
		return backends.Availability{Reason: err.Error()}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "archetype-probe"
	if err := p.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "archetype-peer"}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return backends.Availability{Reason: "veth pairs: " + err.Error(), Fix: "a kernel with CONFIG_VETH (modprobe veth)"}
	}
	_ = p.Delete("archetype-probe")
	return backends.Availability{OK: true, Detail: "pairs straight between nodes"}
}

// Initialize has nothing to make.
func (n *Network) Initialize(context.Context, string) error { return nil }

// Cleanup removes what waits in the panel and the pairs of nodes that are
// still there; most have gone with theirs.
func (n *Network) Cleanup(ctx context.Context, labName string) error {
	var left []backends.Link
	n.mu.Lock()
	for k, l := range n.known {
		if k.lab == labName {
			left = append(left, l.link)
		}
	}
	n.mu.Unlock()
	var errs []error
	for _, l := range left {
		errs = append(errs, n.DeleteLink(ctx, l))
	}
	return errors.Join(append(errs, n.panelNS.DeleteGroup(nsnet.Group(labName)))...)
}

func wrap(l backends.Link, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("link %s -- %s: %w", l.A.End, l.B.End, err)
}

// ends are the two sides of a link with their namespaces open.
type side struct {
	backends.Port
	*nsnet.NS
	link netlink.Link // nil: not there
	name string
}

func (n *Network) openSide(p backends.Port) (*side, error) {
	ns, name, err := nsnet.Place(n.here, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.End, err)
	}
	s := &side{Port: p, NS: ns, name: name}
	if s.link, err = ns.Find(s.name); err != nil {
		ns.Close()
		return nil, fmt.Errorf("%s: %w", p.End, err)
	}
	return s, nil
}

// use is what an interface that is there is used as.
func (s *side) use() string {
	what, _, _, _ := nsnet.ParseAlias(s.link.Attrs().Alias)
	return what
}

// mine checks that an interface that is there may be touched.
func (s *side) mine() error {
	if s.link != nil && !nsnet.Ours(s.link, s.Lab, s.End) {
		return nsnet.Conflict(s.End, s.link)
	}
	return nil
}

func (s *side) alias() string {
	if s.link == nil {
		return ""
	}
	return s.link.Attrs().Alias
}

func (s *side) finish(alias string, mtu int) error {
	tap := s.Attachment.Tap
	if tap != "" {
		if err := s.Patch(tap); err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
		if mtu > 0 {
			if err := s.Resize(tap, mtu); err != nil {
				return fmt.Errorf("%s: %w", s.End, err)
			}
		}
	}
	if err := s.Change(s.name, alias, true); err != nil {
		return fmt.Errorf("%s: %w", s.End, err)
	}
	if mtu > 0 && s.link != nil && s.link.Attrs().MTU != mtu {
		if err := s.LinkSetMTU(s.link, mtu); err != nil {
			return fmt.Errorf("%s: MTU %d: %w", s.End, mtu, err)
		}
	}
	if tap != "" { // the addresses are inside the machine
		return nil
	}
	if err := s.Address(s.name, s.End); err != nil {
		return fmt.Errorf("%s: %w", s.End, err)
	}
	return nil
}

// plug takes the cable of a tap in or out; other ends have none of their own.
func (s *side) plug(in bool) error { return s.Plug(s.Attachment.Tap, in) }

// pair makes both interfaces in one message.
func pair(a *nsnet.NS, nameA string, portA backends.Port, b *nsnet.NS, nameB string, portB backends.Port) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = nameA, portA.MTU
	var err error
	if attrs.HardwareAddr, err = nsnet.MAC(portA.Lab, portA.End); err != nil {
		return err
	}
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: b.FD(), PeerMTU: uint32(max(0, portB.MTU))}
	if portB.End.Node != "" {
		if v.PeerHardwareAddr, err = nsnet.MAC(portB.Lab, portB.End); err != nil {
			return err
		}
	}
	return a.LinkAdd(v)
}

func parked(p backends.Port) string { return nsnet.Name("p", p.Lab, p.End.String()) }

// Provision makes an interface whose far end waits in the panel. Of a pair
// both ends stay where both nodes are there: the other one is no less needed.
func (n *Network) Provision(ctx context.Context, p backends.Port) error {
	err := nsnet.Again(func() error { return n.provision(ctx, p) })
	return errors.Join(err, n.here.Plug(p.Attachment.Tap, false))
}

func (n *Network) provision(ctx context.Context, p backends.Port) error {
	s, err := n.openSide(p)
	if err != nil {
		return err
	}
	defer s.Close()
	panel := n.panelNS
	var had nsnet.Settings
	if s.link != nil {
		if err := s.mine(); err != nil {
			return err
		}
		if s.use() == useHalf {
			return nil
		}
		if done, err := n.adopt(s, nsnet.Alias(useHalf, p.Lab, p.End.String())); done || err != nil {
			return err
		}
		if l, ok := n.pairOf(s); ok && s.use() == useCut {
			return nil // it reaches nobody
		} else if ok {
			return n.split(ctx, l)
		}
		if had, err = s.Settings(s.name); err != nil { // of a pair: that is given up
			return err
		}
		if err := s.Delete(s.name); err != nil {
			return err
		}
		s.link = nil
	}
	if err := panel.Delete(parked(p)); err != nil {
		return err
	}
	if err := pair(s.NS, s.name, p, panel, parked(p), backends.Port{MTU: p.MTU}); err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	if far, err := panel.Find(parked(p)); err == nil && far != nil {
		if err := panel.LinkSetGroup(far, int(nsnet.Group(p.Lab))); err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
	}
	if err := s.finish(nsnet.Alias(useHalf, p.Lab, p.End.String()), p.MTU); err != nil {
		return err
	}
	return s.RestoreAddresses(s.name, had)
}

// pairOf returns the link of which an interface is an end, when the other end
// is there too.
func (n *Network) pairOf(s *side) (backends.Link, bool) {
	_, labName, id, _ := nsnet.ParseAlias(s.link.Attrs().Alias)
	n.mu.Lock()
	known, ok := n.known[key{labName, id}]
	n.mu.Unlock()
	l := known.link
	if !ok {
		return l, false
	}
	p := l.A
	if p.End.Endpoint == s.End.Endpoint {
		p = l.B
	}
	other, err := n.openSide(p)
	if err != nil {
		return l, false // it is gone, or about to
	}
	defer other.Close()
	whole, err := joined(s, other)
	return l, whole && err == nil
}

// adopt takes over an interface that another network made: its far end waits
// in the panel from now on. It reports whether there was one.
func (n *Network) adopt(s *side, alias string) (bool, error) {
	far, err := n.panelNS.FarEnd(s.NS, s.link, s.Lab)
	if far == nil || err != nil {
		return false, err
	}
	if far.Attrs().Name != parked(s.Port) {
		if err := n.panelNS.Delete(parked(s.Port)); err != nil {
			return false, err
		}
	}
	return true, errors.Join(n.panelNS.LinkSetDown(far), n.panelNS.LinkSetNoMaster(far), n.panelNS.Impair(far, lab.Impairment{}),
		n.panelNS.Rename(far, parked(s.Port)), s.LinkSetAlias(s.link, alias))
}

// Connect makes the pair, or what is left to make of it.
func (n *Network) Connect(ctx context.Context, l backends.Link) error {
	if done, err := n.fresh(ctx, l); done || err != nil {
		return wrap(l, err)
	}
	return wrap(l, nsnet.Again(func() error { return n.connect(ctx, l) }))
}

// fresh makes the pair of a link that has no interfaces yet. It reports
// whether it did: it does nothing where there is anything of either.
func (n *Network) fresh(ctx context.Context, l backends.Link) (bool, error) {
	var halves [2]nsnet.Half
	for i, p := range []backends.Port{l.A, l.B} {
		if p.Attachment.Tap != "" || p.Attachment.Netns == "" || len(p.End.IPv4)+len(p.End.IPv6) > 0 {
			return false, nil
		}
		ns, err := netns.GetFromPath(p.Attachment.Netns)
		if err != nil {
			return false, nil //nolint:nilerr // who looks closely says what is wrong
		}
		defer func() { _ = ns.Close() }()
		mac, err := nsnet.MAC(p.Lab, p.End)
		if err != nil {
			return false, err
		}
		halves[i] = nsnet.Half{NS: int(ns), Name: p.Attachment.Interface, MAC: mac, MTU: p.MTU,
			Alias: nsnet.Alias(useLink, l.Lab, l.ID())}
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	n.learn(l, [2]uint64{nsnet.Inode(halves[0].NS), nsnet.Inode(halves[1].NS)})
	err := n.batch.Pair(halves[0], halves[1])
	if errors.Is(err, syscall.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

func (n *Network) connect(ctx context.Context, l backends.Link) error {
	a, err := n.openSide(l.A)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := n.openSide(l.B)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := errors.Join(a.mine(), b.mine()); err != nil {
		return err
	}
	alias := nsnet.Alias(useLink, l.Lab, l.ID())
	cut := nsnet.Alias(useCut, l.Lab, l.ID())
	wasCut := a.alias() == cut || b.alias() == cut
	for _, s := range []*side{a, b} {
		if s.link == nil || s.use() == useHalf {
			continue
		}
		took, err := n.adopt(s, nsnet.Alias(useHalf, s.Lab, s.End.String()))
		if err == nil && took {
			s.link, err = s.Find(s.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
	}
	whole, err := joined(a, b)
	if err != nil {
		return err
	}
	switch {
	case whole:
	case a.link != nil && a.use() == useHalf:
		err = n.reach(a, b)
	case b.link != nil && b.use() == useHalf:
		err = n.reach(b, a)
	default: // nothing, or leftovers of something else
		for _, s := range []*side{a, b} {
			if s.link == nil {
				continue
			}
			if err := s.Delete(s.name); err != nil {
				return fmt.Errorf("%s: %w", s.End, err)
			}
			s.link = nil
		}
		err = pair(a.NS, a.name, l.A, b.NS, b.name, l.B)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	n.watch(l, a, b)
	for _, s := range []*side{a, b} {
		if err := s.finish(alias, s.MTU); err != nil {
			return err
		}
	}
	for _, s := range []*side{a, b} {
		if err := s.plug(true); err != nil {
			return fmt.Errorf("%s: %w", s.End, err)
		}
	}
	if wasCut {
		for _, s := range []*side{a, b} {
			if err := n.restoreRoutes(s); err != nil {
				return fmt.Errorf("%s: %w", s.End, err)
			}
		}
	}
	return nil
}

// joined reports whether the two interfaces are there and the ends of one
// pair, whatever their marks say: a call that was given up may not have set
// them.
func joined(a, b *side) (bool, error) {
	if a.link == nil || b.link == nil {
		return false, nil
	}
	return nsnet.Pair(a.NS, a.link, b.NS, b.link)
}

// reach brings the far end of a provisioned interface into the other node.
func (n *Network) reach(have, other *side) error {
	panel := n.panelNS
	far, err := panel.Find(parked(have.Port))
	if err != nil {
		return err
	}
	if far == nil {
		return fmt.Errorf("%s: the far end of the provisioned interface is gone: restart the node (%w)", have.End, backends.ErrConflict)
	}
	var had nsnet.Settings
	if other.link != nil { // provisioned too: its own pair gives way
		if had, err = other.Settings(other.name); err != nil {
			return err
		}
		if err := other.Delete(other.name); err != nil {
			return err
		}
	}
	mac, err := nsnet.MAC(other.Lab, other.End)
	if err != nil {
		return err
	}
	if err := panel.Hand(far, other.NS, other.name, mac); err != nil { // it is the node's now
		return err
	}
	if err := other.finish("", other.MTU); err != nil {
		return err
	}
	return errors.Join(other.RestoreAddresses(other.name, had), other.RestoreRoutes(other.name, had))
}

// Disconnect sets both ends down: a pair has no carrier of its own that
// could be taken away. What the kernel forgets then is remembered.
func (n *Network) Disconnect(_ context.Context, l backends.Link) error {
	return wrap(l, n.disconnect(l))
}

func (n *Network) disconnect(l backends.Link) error {
	for _, p := range []backends.Port{l.A, l.B} {
		s, err := n.openSide(p)
		if errors.Is(err, backends.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		err = n.cutSide(s, nsnet.Alias(useCut, l.Lab, l.ID()))
		s.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p.End, err)
		}
	}
	return nil
}

func (n *Network) cutSide(s *side, alias string) error {
	if s.link == nil {
		return nil
	}
	if err := s.mine(); err != nil {
		return err
	}
	if s.alias() != alias {
		had, err := s.Settings(s.name)
		if err != nil {
			return err
		}
		n.remember(s.Port, had)
		if err := s.LinkSetAlias(s.link, alias); err != nil {
			return err
		}
	}
	// Without this, being set down would take the IPv6 addresses.
	if err := s.Sysctl("ipv6/conf/"+s.name+"/keep_addr_on_down", "1"); err != nil {
		return err
	}
	return errors.Join(s.plug(false), s.LinkSetDown(s.link))
}

func (n *Network) remember(p backends.Port, had nsnet.Settings) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes[p.Lab+"\x00"+p.End.String()] = had
}

func (n *Network) restoreRoutes(s *side) error {
	k := s.Lab + "\x00" + s.End.String()
	n.mu.Lock()
	had := n.routes[k]
	delete(n.routes, k)
	n.mu.Unlock()
	return s.RestoreRoutes(s.name, had)
}

// State looks at both ends.
func (n *Network) State(_ context.Context, l backends.Link) (backends.LinkStatus, error) {
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Carrier: lab.CarrierOff}
	a, err := n.openSide(l.A)
	if err != nil {
		return st, err
	}
	defer a.Close()
	b, err := n.openSide(l.B)
	if err != nil {
		return st, err
	}
	defer b.Close()
	n.watch(l, a, b)
	if (a.link == nil || a.mine() != nil) && (b.link == nil || b.mine() != nil) {
		return st, wrap(l, backends.ErrNotFound)
	}
	if whole, err := joined(a, b); err != nil {
		return st, wrap(l, err)
	} else if !whole {
		st.Reason = "an end of the pair is missing"
		return st, nil
	}
	st.Connected = a.use() == useLink && b.use() == useLink
	st.Cut = a.use() == useCut && b.use() == useCut
	for _, s := range []*side{a, b} {
		if tap := s.Attachment.Tap; tap != "" {
			if _, in, err := s.Plugged(tap); err != nil || !in {
				st.Connected = false
			}
		}
	}
	upA, upB := a.link.Attrs().OperState == netlink.OperUp, b.link.Attrs().OperState == netlink.OperUp
	switch {
	case upA && upB:
		st.Carrier = lab.CarrierOn
	case !st.Connected:
		st.Reason = "cut"
	default:
		st.Reason = "an interface is set down in its node"
	}
	return st, nil
}
