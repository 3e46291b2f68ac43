// Package ovs makes links on Open vSwitch: each is a VLAN tag that two ports
// of one bridge have and nobody else.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/backends/network/nsnet"
	"archetype/lab"
)

// Mode says which labs share a bridge.
type Mode string

// The modes.
const (
	Shared    Mode = "shared"    // all labs are on one bridge
	Dedicated Mode = "dedicated" // each lab has its own
)

// Datapath says who carries frames of bridges that are made.
type Datapath string

// The datapaths.
const (
	Automatic Datapath = "auto"      // the kernel where it can, else the switch itself
	Kernel    Datapath = "kernel"    // the kernel, or none
	Userspace Datapath = "userspace" // the switch itself
)

// Config says which switch is used, and how.
type Config struct {
	Socket string // of ovsdb-server; empty: /var/run/openvswitch/db.sock
	Mode   Mode   // empty: Shared
	Bridge string // name of the shared bridge; empty: arch0
	// Datapath of bridges that are made; one that is there keeps its own. Empty: Automatic.
	Datapath Datapath
	// Instance tells one Archetype from another on the same switch.
	Instance string
	// Panel is the path of the namespace where other networks leave the far
	// ends of interfaces to be taken over; empty: there are none.
	Panel string
}

// Network implements backends.Network.
type Network struct {
	nsnet.Ports

	cfg    Config
	owner  string
	ctx    context.Context
	cancel context.CancelFunc
	writer writer

	link  linkage // to the switch
	locks nsnet.Locks
	watch *nsnet.Watch
}

var (
	_ backends.Network  = (*Network)(nil)
	_ backends.Tagger   = (*Network)(nil)
	_ backends.Batcher  = (*Network)(nil)
	_ backends.Impairer = (*Network)(nil)
	_ backends.Capturer = (*Network)(nil)
	_ backends.Counter  = (*Network)(nil)
	_ backends.Handover = (*Network)(nil)
	_ backends.Lister   = (*Network)(nil)
)

// New makes the backend. It does not look for the switch before it is needed.
func New(cfg Config) (*Network, error) {
	if cfg.Socket == "" {
		cfg.Socket = "/var/run/openvswitch/db.sock"
	}
	if cfg.Bridge == "" {
		cfg.Bridge = "arch0"
	}
	switch cfg.Mode {
	case "":
		cfg.Mode = Shared
	case Shared, Dedicated:
	default:
		return nil, fmt.Errorf("ovs: mode %q: write %s or %s", cfg.Mode, Shared, Dedicated)
	}
	switch cfg.Datapath {
	case "":
		cfg.Datapath = Automatic
	case Automatic, Kernel, Userspace:
	default:
		return nil, fmt.Errorf("ovs: datapath %q: write %s, %s or %s", cfg.Datapath, Automatic, Kernel, Userspace)
	}
	if len(cfg.Bridge) > 15 {
		return nil, fmt.Errorf("ovs: bridge %q: a name has at most 15 letters", cfg.Bridge)
	}
	n := &Network{cfg: cfg, owner: mark.Owner(cfg.Instance), watch: nsnet.NewWatch()}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.writer = writer{n: n, joined: make(chan struct{}, 1)}
	n.link.located = make(chan struct{})
	return n, nil
}

// Close ends the connection to the switch; links stay as they are.
func (n *Network) Close() error {
	n.cancel()
	return nil
}

// Batches: calls that come together share a transaction, and the switch
// settles all that is in one at once.
func (n *Network) Batches() {}

// Name is "ovs".
func (n *Network) Name() string { return "ovs" }

// Initialize has nothing to make: the bridge comes with its first port.
func (n *Network) Initialize(context.Context, string) error { return nil }

func wrap(l backends.Link, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("link %s -- %s: %w", l.A.End, l.B.End, err)
}

// bridge is where a lab's ports are, and whose it is.
func (n *Network) bridge(labName string) (name, owner string) {
	if n.cfg.Mode == Dedicated {
		return dedicated(n.owner, labName), labName
	}
	return n.cfg.Bridge, ""
}

// mine checks that a bridge that exists may be used.
func (n *Network) mine(p *plan) error {
	if p.row == nil {
		return nil
	}
	o := p.row.ids[idOwner]
	if o == "shared" || o == n.owner {
		return nil
	}
	return fmt.Errorf("there is a bridge %s on Open vSwitch that Archetype did not make: rename it, or name another in settings.yaml, as in ovs: {bridge: arch1} (%w)",
		p.name, backends.ErrConflict)
}

// userspace reports whether the ports of a bridge are served in user space.
func (n *Network) userspace(s *session, bridge string) bool {
	datapath := n.datapath()
	s.see(func(v *view) {
		if b := v.bridge(bridge); b != nil {
			datapath = b.datapath
		}
	})
	return datapath == "netdev"
}

// request makes a change of the lab's bridge.
func (n *Network) request(ctx context.Context, labName string, ends []end, plan func(*plan) error) error {
	bridge, owner := n.bridge(labName)
	return n.writer.do(&request{ctx: ctx, bridge: bridge, lab: owner, ends: ends, plan: plan})
}

// Provision makes an interface without carrier on a tag of its own.
func (n *Network) Provision(ctx context.Context, p backends.Port) error {
	defer n.locks.Lock(p)()
	if err := nsnet.Again(func() error { return n.provision(ctx, p) }); err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	return nil
}

func (n *Network) provision(ctx context.Context, p backends.Port) error {
	ready := n.writer.prepare()
	defer ready()
	s, panel, err := n.reach(ctx)
	if err != nil {
		return err
	}
	bridge, _ := n.bridge(p.Lab)
	x, err := n.open(panel, p)
	if err != nil {
		return err
	}
	defer x.close()
	far, err := n.attach(panel, x, n.userspace(s, bridge))
	if err != nil {
		return err
	}
	if err := carrier(panel, false, far); err != nil {
		return err
	}
	if err := n.evict(ctx, s, bridge, x); err != nil {
		return err
	}
	ready()
	return n.request(ctx, p.Lab, []end{endOf(p)}, func(pl *plan) error { return pl.isolate(pl.at(x, far), "") })
}

// Disconnect takes the carrier from both interfaces and parts their tags.
func (n *Network) Disconnect(ctx context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	defer n.watch.Calling(l)()
	return wrap(l, n.disconnect(ctx, l))
}

func (n *Network) disconnect(ctx context.Context, l backends.Link) error {
	return n.isolate(ctx, l.Lab, l.ID(), l.A, l.B)
}

// isolate takes carrier and neighbours from ports, which stay part of a link
// or, without one, are as provisioned.
func (n *Network) isolate(ctx context.Context, labName, link string, ps ...backends.Port) error {
	s, panel, err := n.reach(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, x := range n.ports(s, ps...) {
		errs = append(errs, carrier(panel, false, x.name))
		if link == "" {
			errs = append(errs, impair(panel, x.name, lab.Impairment{}))
		}
	}
	return errors.Join(append(errs, n.request(ctx, labName, nil, func(p *plan) error {
		for _, port := range ps {
			if x := p.ports[endOf(port)]; x != nil {
				err := p.isolate(x, link)
				var exhausted *ExhaustedError
				if errors.As(err, &exhausted) && link != "" {
					err = nil // a cable can always be cut: both ends are down
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}))...)
}

// ports are those that the switch has of some ends.
func (n *Network) ports(s *session, ps ...backends.Port) []*portRow {
	var out []*portRow
	s.see(func(v *view) {
		for _, p := range ps {
			if row := v.port(endOf(p)); row != nil {
				out = append(out, row)
			}
		}
	})
	return out
}

// DeleteLink removes both ports and both interfaces, but for those to be kept.
func (n *Network) DeleteLink(ctx context.Context, l backends.Link) error {
	defer n.locks.Lock(l.A, l.B)()
	n.watch.ForgetLink(l)
	var gone, kept []backends.Port
	for _, p := range []backends.Port{l.A, l.B} {
		if p.Keep {
			kept = append(kept, p)
		} else {
			gone = append(gone, p)
		}
	}
	var errs []error
	if len(gone) > 0 {
		errs = append(errs, n.remove(ctx, gone...))
	}
	if len(kept) > 0 {
		errs = append(errs, n.isolate(ctx, l.Lab, "", kept...))
		for _, p := range kept {
			errs = append(errs, nsnet.TakeFormer(p))
		}
	}
	return wrap(l, errors.Join(errs...))
}

// DeletePort removes one.
func (n *Network) DeletePort(ctx context.Context, p backends.Port) error {
	defer n.locks.Lock(p)()
	if err := n.remove(ctx, p); err != nil {
		return fmt.Errorf("%s: %w", p.End, err)
	}
	return nil
}

func (n *Network) remove(ctx context.Context, ps ...backends.Port) error {
	s, panel, err := n.reach(ctx)
	if err != nil {
		return err
	}
	names, far := map[end]string{}, map[string]bool{}
	for _, p := range ps { // made, and not yet on the switch when we were interrupted
		if name, err := n.unrecorded(panel, p); err != nil {
			return err
		} else if name != "" {
			names[endOf(p)] = name
			far[name] = p.Attachment.Netns != ""
		}
	}
	if err := n.removeStrays(ctx, s, func(name string) bool { return far[name] }); err != nil {
		return err
	}
	byBridge := map[string][]end{}
	s.see(func(v *view) {
		for _, p := range ps {
			if row := v.port(endOf(p)); row != nil {
				names[endOf(p)] = row.name
				if b := v.bridgeOf(row); b != nil {
					byBridge[b.name] = append(byBridge[b.name], endOf(p))
				}
			}
		}
	})
	var errs []error
	for bridge, ends := range byBridge {
		errs = append(errs, n.writer.do(&request{ctx: ctx, bridge: bridge, plan: func(p *plan) error {
			for _, e := range ends {
				p.remove(e)
			}
			return nil
		}}))
	}
	return errors.Join(append(errs, unplug(panel, names))...)
}

// removeStrays removes ports with names of ours and no mark: somebody took it
// from them, or put them onto another bridge.
func (n *Network) removeStrays(ctx context.Context, s *session, named func(string) bool) error {
	var ops []ovsdb.Operation
	s.see(func(v *view) {
		for name, id := range v.byName {
			row := v.ports[id]
			if row == nil || row.ids[idOwner] != "" || !named(name) {
				continue
			}
			if b := v.bridgeOf(row); b != nil {
				ops = append(ops, takeOff(b, row))
			}
		}
	})
	if len(ops) == 0 {
		return nil
	}
	_, err := n.Transact(ctx, ops...)
	return err
}

func (n *Network) unrecorded(panel *nsnet.NS, p backends.Port) (string, error) {
	if p.Attachment.Netns == "" {
		return p.Attachment.Tap, nil
	}
	ns, err := nsnet.Open(p.Attachment.Netns)
	if errors.Is(err, backends.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer ns.Close()
	have, err := ns.Find(p.Attachment.Interface)
	if have == nil || err != nil || !nsnet.Ours(have, p) {
		return "", err
	}
	l, err := n.farEnd(panel, have, p)
	if l == nil || err != nil {
		return "", err
	}
	return l.Attrs().Name, nil
}

// Cleanup removes every port and far end of the lab, and the bridge when
// nothing of anybody is left on it.
func (n *Network) Cleanup(ctx context.Context, labName string) error {
	n.watch.Forget(func(l backends.Link) bool { return l.Lab == labName })
	s, panel, err := n.reach(ctx)
	if err != nil {
		return err
	}
	name := n.farName(labName)
	if err := n.removeStrays(ctx, s, func(port string) bool { return strings.HasPrefix(port, name) }); err != nil {
		return err
	}
	bridges, ports := map[string]bool{}, map[end]string{}
	s.see(func(v *view) {
		for e, id := range v.ours {
			if e.lab == labName {
				ports[e] = v.ports[id].name
				if b := v.bridgeOf(v.ports[id]); b != nil {
					bridges[b.name] = true
				}
			}
		}
		name, _ := n.bridge(labName)
		if b := v.bridge(name); b != nil && b.ids[idOwner] != "" {
			bridges[name] = true
		}
		for _, b := range v.bridges { // also one of its own that was made in another mode
			if b.ids[idOwner] == n.owner && b.ids[idLab] == labName {
				bridges[b.name] = true
			}
		}
	})
	var errs []error
	for bridge := range bridges {
		errs = append(errs, n.writer.do(&request{ctx: ctx, bridge: bridge, plan: func(p *plan) error {
			for e := range p.ports {
				if e.lab == labName {
					p.remove(e)
				}
			}
			p.drop = true
			return nil
		}}))
	}
	errs = append(errs, panel.DeleteGroup(n.group(labName))) // all at once; taps are in no group
	return errors.Join(append(errs, unplug(panel, ports))...)
}
