package engine_test

import (
	"context"
	"fmt"
	"strings"

	"archetype/backends"
	"archetype/lab"
)

// simNetwork is the network's side of the world.
type simNetwork struct {
	w    *world
	name string
}

func (n simNetwork) Name() string { return n.name }
func (simNetwork) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true, Detail: "simulated"}
}
func (n simNetwork) Initialize(context.Context, string) error { return nil }

func (n simNetwork) Cleanup(ctx context.Context, labName string) error {
	if err := n.w.enter(ctx, "cleanup "+labName); err != nil {
		return err
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for id, l := range n.w.links {
		if strings.HasPrefix(id, labName+"/") && l.net == n.name {
			delete(n.w.links, id)
		}
	}
	return nil
}

func (n simNetwork) Labs(context.Context) ([]string, error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	var out []string
	for id, l := range n.w.links {
		if name, _, _ := strings.Cut(id, "/"); l.net == n.name {
			out = append(out, name)
		}
	}
	return out, nil
}

func key(l backends.Link) string { return l.Lab + "/" + l.ID() }

func portKey(p backends.Port) string { return p.Lab + "/" + p.End.String() }

func (n simNetwork) Provision(ctx context.Context, p backends.Port) error {
	if err := n.w.enter(ctx, "provision "+p.End.String()); err != nil {
		return err
	}
	n.w.set(func() { n.w.ports[portKey(p)] = true })
	return nil
}

func (n simNetwork) Connect(ctx context.Context, l backends.Link) error {
	if err := n.w.enter(ctx, n.does("connect ")+l.ID()); err != nil {
		return err
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, p := range []backends.Port{l.A, l.B} {
		if n.w.nodes[backends.NodeRef{Lab: p.Lab, Node: p.End.Node}] == nil && p.Outside == nil {
			return fmt.Errorf("%s: %w", p.End, backends.ErrNotFound)
		}
		delete(n.w.ports, portKey(p))
	}
	n.w.links[key(l)] = &simLink{connected: true, net: n.name, in: l.A.Attachment.Netns}
	return nil
}

func (n simNetwork) Disconnect(ctx context.Context, l backends.Link) error {
	if err := n.w.enter(ctx, "disconnect "+l.ID()); err != nil {
		return err
	}
	n.w.set(func() {
		if s := n.w.links[key(l)]; s != nil {
			s.connected = false
		}
	})
	return nil
}

func (n simNetwork) DeleteLink(ctx context.Context, l backends.Link) error {
	if err := n.w.enter(ctx, "delete "+l.ID()); err != nil {
		return err
	}
	n.w.set(func() {
		if s := n.w.links[key(l)]; s == nil || l.B.Outside == nil || l.A.Attachment.Netns == s.in {
			delete(n.w.links, key(l)) // else it is all in its node, and not where it was looked for
		}
		for _, p := range []backends.Port{l.A, l.B} {
			delete(n.w.ports, portKey(p))
			if p.Keep {
				n.w.ports[portKey(p)] = true
				n.w.calls = append(n.w.calls, fmt.Sprintf("take from %s %v, MTU %t", p.End, p.Former, p.FormerMTU))
			}
		}
	})
	return nil
}

// does is what a call is noted as: with the network's name where it is not
// the one that tests begin with.
func (n simNetwork) does(verb string) string {
	if n.name == "veth" {
		return verb
	}
	return n.name + " " + verb
}

func (n simNetwork) Impair(ctx context.Context, l backends.Link) error {
	if err := n.w.enter(ctx, "impair "+l.ID()); err != nil {
		return err
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	s := n.w.links[key(l)]
	if s == nil {
		return backends.ErrNotFound
	}
	s.impair = [2]lab.Impairment{l.A.End.Impair, l.B.End.Impair}
	return nil
}

func (n simNetwork) Release(ctx context.Context, l backends.Link) error {
	if err := n.w.enter(ctx, n.does("release ")+l.ID()); err != nil {
		return err
	}
	n.w.set(func() {
		if s := n.w.links[key(l)]; s != nil && s.net == n.name {
			s.connected = false
		}
	})
	return nil
}

func (n simNetwork) DeletePort(ctx context.Context, p backends.Port) error {
	if err := n.w.enter(ctx, "deleteport "+p.End.String()); err != nil {
		return err
	}
	n.w.set(func() { delete(n.w.ports, portKey(p)) })
	return nil
}

func (n simNetwork) State(ctx context.Context, l backends.Link) (backends.LinkStatus, error) {
	if err := n.w.wait(ctx, "state"); err != nil {
		return backends.LinkStatus{}, err
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	s := n.w.links[key(l)]
	if s == nil || s.net != n.name {
		st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Ends: [2]bool{n.w.ports[portKey(l.A)], n.w.ports[portKey(l.B)]}}
		if st.Ends == [2]bool{} {
			return st, backends.ErrNotFound
		}
		return st, nil
	}
	st := backends.LinkStatus{Lab: l.Lab, ID: l.ID(), Connected: s.connected, Ends: [2]bool{true, true}, Carrier: lab.CarrierOff, VLAN: s.vlan}
	if s.connected {
		st.Carrier = lab.CarrierOn
	}
	return st, nil
}

func (n simNetwork) Events(ctx context.Context) (<-chan backends.LinkStatus, error) {
	ch := make(chan backends.LinkStatus, 4096)
	n.w.set(func() { n.w.linkEvts = append(n.w.linkEvts, ch) })
	context.AfterFunc(ctx, func() {
		n.w.set(func() {
			for i, c := range n.w.linkEvts {
				if c == ch {
					n.w.linkEvts = append(n.w.linkEvts[:i:i], n.w.linkEvts[i+1:]...)
					close(ch)
				}
			}
		})
	})
	return ch, nil
}

// late tells something of a link that is not so, or not any more.
func (w *world) late(labName, id string, st backends.LinkStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st.Lab, st.ID = labName, id
	for _, ch := range w.linkEvts {
		ch <- st
	}
}

// unplug makes a link vanish behind the engine's back.
func (w *world) unplug(labName, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.links, labName+"/"+id)
	for _, ch := range w.linkEvts {
		ch <- backends.LinkStatus{Lab: labName, ID: id, Gone: true, Carrier: lab.CarrierOff}
	}
}

// simOutside has links that leave the lab be made like all others.
type simOutside struct{ simNetwork }

func (simOutside) Check(context.Context, lab.Link, *lab.Management) ([]string, error) {
	return nil, nil
}
func (simOutside) Offers(context.Context) []backends.Offer  { return nil }
func (simOutside) Over(n backends.Network) backends.Network { return n }

// simElsewhere is a provider with a world of its own.
type simElsewhere struct{ simProvider }

func (simElsewhere) Name() string { return "podman" }
