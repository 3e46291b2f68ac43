package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"archetype/backends"
	"archetype/internal/fail"
	"archetype/lab"
)

// effectTimeout bounds one call to a provider or a network, so that a backend
// that hangs is an error on one node instead of a lab that never moves.
const effectTimeout = 2 * time.Minute

// carryOut does what was decided, elsewhere, and brings the result back.
func (c *controller) carryOut(ef *effect) {
	ctx, cancel := context.WithCancel(c.ctx)
	ef.cancel = cancel
	var late atomic.Bool
	steps := []step{{ef.verb.String(), c.prepare(ef), c.slots(ef)}}
	if ef.stager != nil {
		steps = append(steps, c.staging(ef))
	}
	go func() {
		defer cancel()
		err := takeAll(ctx, steps, func(s step) error {
			t := time.AfterFunc(effectTimeout, func() {
				late.Store(true)
				cancel()
			})
			defer t.Stop()
			ef.more = func() { t.Reset(effectTimeout) }
			fail.Point(s.name + ".before")
			defer fail.Point(s.name + ".after")
			return s.run(ctx)
		})
		switch {
		case err != nil && late.Load(): // not withdrawn: it took too long
			err = fmt.Errorf("%s took longer than %s: %s", ef.verb, effectTimeout, err) //nolint:errorlint // that its context ended is not to be told from a withdrawal
		case errors.Is(err, context.Canceled) && ctx.Err() == nil: // nor here: something of the backend's own
			err = fmt.Errorf("%s: %s", ef.verb, err) //nolint:errorlint // as above
		}
		c.post(func(c *controller) { c.ended(ef, err) })
	}()
}

// step is a part of an effect that waits for slots of its own.
type step struct {
	name  string // of its failpoints
	run   func(context.Context) error
	slots []chan struct{}
}

// takeAll takes one step after the other, each in its slots, until one fails.
func takeAll(ctx context.Context, steps []step, take func(step) error) error {
	for _, s := range steps {
		if err := limit(ctx, func() error { return take(s) }, s.slots...); err != nil {
			return err
		}
	}
	return nil
}

// staging is what follows the creation of a node that is to be staged.
func (c *controller) staging(ef *effect) step {
	ref := c.ref(ef.node)
	return step{"stage", func(ctx context.Context) (err error) {
		ef.gated, err = ef.stager.Stage(ctx, ref)
		return err
	}, c.startSlots(ef.node)}
}

// startSlots are those that a node's start waits for.
func (c *controller) startSlots(n *node) []chan struct{} {
	if own := c.e.starts[n.provider]; own != nil {
		return []chan struct{}{own, c.e.slots}
	}
	return []chan struct{}{c.e.slots}
}

// slots are those that an effect waits for, one after the other.
func (c *controller) slots(ef *effect) []chan struct{} {
	switch {
	case ef.link != nil:
		n, _ := c.e.opt.Backends.Network(ef.link.network(c))
		if _, ok := n.(backends.Batcher); ok {
			return []chan struct{}{c.e.batched}
		}
		return []chan struct{}{c.e.linking}
	case ef.verb == doStart && !ef.node.gated: // one that is staged has only to go on
		return c.startSlots(ef.node)
	}
	return []chan struct{}{c.e.slots}
}

// making shows how far the making of a node has come; what tells is no stall.
func (c *controller) making(n *node, ef *effect, percent int, text string) {
	if n.busy != ef || n.actual != lab.NodePending {
		return
	}
	n.progress, n.text = min(percent, 99), text
	n.news()
	for _, j := range c.jobs {
		if _, ok := j.waitNodes[n]; ok && !j.State.Ended() {
			j.Deadline = c.e.now().Add(j.patience)
		}
	}
}

// prepare gathers, on the controller's goroutine, everything the effect needs
// and returns what can be run anywhere.
func (c *controller) prepare(ef *effect) func(context.Context) error {
	switch ef.verb {
	case doCreate, doStart, doStop, doRemove, doMend, doRewire:
		return c.prepareNode(ef)
	default:
		return c.prepareLink(ef)
	}
}

func (c *controller) prepareNode(ef *effect) func(context.Context) error {
	n := ef.node
	p, err := c.provider(n)
	if err != nil {
		return func(context.Context) error { return err }
	}
	ref := c.ref(n)
	switch ef.verb {
	case doCreate:
		cfg := c.nodeConfig(n)
		cfg.Progress = func(percent int, text string) {
			ef.more()
			c.post(func(c *controller) { c.making(n, ef, percent, text) })
		}
		if ef.stager = c.stager(n, p); ef.stager != nil {
			cfg.Staged = true
		}
		_, n.image = p.(backends.ImageManager)
		n.stale, ef.hash = false, n.hash // what changes from here on makes it stale again
		n.given = n.ends()
		if _, ok := p.(backends.Rewirer); ok {
			n.noted = cfg.Labels
		}
		return func(ctx context.Context) error {
			if err := c.e.use(p.Name()); err != nil {
				return err
			}
			return p.Create(ctx, cfg)
		}
	case doStart:
		ef.boot = n.boot
		return func(ctx context.Context) error { return p.Start(ctx, ref) }
	case doStop:
		ef.boot = n.boot
		grace := time.Duration(n.kind.StopGrace)
		return func(ctx context.Context) error { return p.Stop(ctx, ref, grace) }
	case doMend:
		return func(ctx context.Context) error {
			m, ok := p.(backends.Mender)
			if !ok {
				return fmt.Errorf("provider %s cannot set it right: %w", n.provider, backends.ErrUnsupported)
			}
			return m.Mend(ctx, ref)
		}
	case doRewire:
		cfg := c.nodeConfig(n)
		n.given, n.noted = n.ends(), cfg.Labels
		return func(ctx context.Context) error { return p.(backends.Rewirer).Rewire(ctx, cfg) }
	default:
		return func(ctx context.Context) error { return p.Remove(ctx, ref) }
	}
}

// stager is the node's provider when it stages the node: one that is made, and
// that nothing but its links keeps from being started.
func (c *controller) stager(n *node, p backends.Provider) backends.Stager {
	s, ok := p.(backends.Stager)
	if !ok || n.exists || len(n.links) == 0 || c.held(n, lab.StageCreateLinks) != "" {
		return nil
	}
	return s
}

func (c *controller) prepareLink(ef *effect) func(context.Context) error {
	l := ef.link
	name := l.network(c)
	network, ok := c.networkOf(l, name)
	if !ok {
		err := fmt.Errorf("network %s: %w", name, backends.ErrUnavailable)
		return func(context.Context) error { return err }
	}
	switch ef.verb {
	case doConnect, doDisconnect, doProvision: // from here on something of it may be there
		l.net = name
		if err := c.e.use(name); err != nil {
			return func(context.Context) error { return err }
		}
	}
	providers := map[*node]backends.Provider{}
	for _, n := range []*node{l.a, l.b} {
		if p, err := c.provider(n); err == nil {
			providers[n] = p
		}
	}
	a, b := c.port(l, l.spec.A, l.a), c.port(l, l.spec.B, l.b)
	refA, refB := c.ref(l.a), c.ref(l.b)
	pa, pb := providers[l.a], providers[l.b]
	attach := func(ctx context.Context, port *backends.Port, ref backends.NodeRef, p backends.Provider) error {
		if port.Outside != nil { // what makes such links finds the rest
			return managementBridge(ctx, port, pa)
		}
		if p == nil {
			return fmt.Errorf("%s: %w", ref.Node, backends.ErrUnavailable)
		}
		at, err := p.Attachment(ctx, ref, port.End.Interface)
		port.Attachment = at
		return err
	}
	both := func(ctx context.Context) (backends.Link, error) {
		err := errors.Join(attach(ctx, &a, refA, pa), attach(ctx, &b, refB, pb))
		return backends.Link{Lab: c.m.info.Name, A: a, B: b}, err
	}
	switch ef.verb {
	case doConnect:
		untold := l.wasUp
		if l.wasUp = false; untold {
			_ = c.flush(false)
		}
		return func(ctx context.Context) error {
			bl, err := both(ctx)
			if err != nil {
				return err
			}
			if untold {
				// What a network finds half made looks whole. Who comes after an
				// interruption takes it for that only where it is stored as up.
				_ = c.e.persist.put(nil, true) // a full disk keeps no link from being made
			}
			if err := network.Connect(ctx, bl); err != nil {
				return err
			}
			if t, ok := network.(backends.Tagger); ok {
				ef.vlan = t.Tag(bl)
			}
			return nil
		}
	case doDisconnect:
		made := l.made
		return func(ctx context.Context) error {
			bl, err := both(ctx)
			if err != nil {
				return err
			}
			if !made { // the interfaces must be there, even if nothing crosses
				if err := network.Connect(ctx, bl); err != nil {
					return err
				}
			}
			return network.Disconnect(ctx, bl)
		}
	case doImpair:
		ef.impair = impairedOf(l.spec)
		return func(ctx context.Context) error {
			bl, err := both(ctx)
			if err != nil {
				return err
			}
			n, ok := network.(backends.Impairer)
			if !ok {
				return fmt.Errorf("network %s cannot impair links: %w", name, backends.ErrUnsupported)
			}
			return n.Impair(ctx, bl)
		}
	case doSwap:
		return c.prepareSwap(ef, network, both)
	case doProvision:
		port, ref, p := a, refA, pa
		if ef.node == l.b && ef.node != l.a {
			port, ref, p = b, refB, pb
		}
		return func(ctx context.Context) error {
			if err := attach(ctx, &port, ref, p); err != nil {
				return err
			}
			return network.Provision(ctx, port)
		}
	default: // doDelete, also where an end's node is gone: of the link itself there may be something left
		l.handOver(&a, l.a)
		l.handOver(&b, l.b)
		ef.kept = [2]bool{a.Keep, b.Keep}
		// A node that nobody here starts may take its end along while it is looked
		// for where it was. Once more, it is asked for where it has arrived; the
		// end of a link between nodes is removed from its other side.
		times := 1
		if l.spec.Outside != nil && (c.mover(l.a) || c.mover(l.b)) {
			times = 2
		}
		return func(ctx context.Context) error {
			for range times {
				errA := attach(ctx, &a, refA, pa)
				errB := attach(ctx, &b, refB, pb)
				for _, err := range []error{errA, errB} {
					if err != nil && !errors.Is(err, backends.ErrNotFound) && !errors.Is(err, backends.ErrConflict) {
						return err // it may be there, and cannot be asked
					}
				}
				a.Keep, b.Keep = a.Keep && errA == nil, b.Keep && errB == nil
				if err := network.DeleteLink(ctx, backends.Link{Lab: c.m.info.Name, A: a, B: b}); err != nil {
					return err
				}
			}
			return nil
		}
	}
}

// managementBridge names the bridge of the management network for an end that
// is a port of it, where the node's provider knows it.
func managementBridge(ctx context.Context, port *backends.Port, p backends.Provider) error {
	m, ok := p.(backends.ManagementBridger)
	if !ok || port.Outside.Type != lab.OutsideManagement {
		return nil
	}
	name, err := m.ManagementBridge(ctx, port.Management)
	if err != nil {
		return err
	}
	o := *port.Outside
	o.Bridge = name
	port.Outside, port.Management = &o, nil
	return nil
}

// networkOf is the network of that name as the link sees it.
func (c *controller) networkOf(l *link, name string) (backends.Network, bool) {
	n, ok := c.e.opt.Backends.Network(name)
	if ok && l.spec.Outside != nil {
		o := c.e.opt.Backends.Outside()
		if o == nil {
			return nil, false
		}
		n = o.Over(n)
	}
	return n, ok
}

func (c *controller) port(l *link, end lab.End, n *node) backends.Port {
	mtu := cmp.Or(l.spec.MTU, n.spec.MTU)
	if mtu == 0 && n.kind != nil && l.spec.Outside == nil { // what is outside may carry less
		mtu = n.kind.Interfaces.MTU
	}
	p := backends.Port{Lab: c.m.info.Name, End: end, MTU: mtu, Off: n.actual == lab.NodeStopped || n.actual == lab.NodeError && !n.inited}
	if n.place {
		p.Outside, p.Management = l.spec.Outside, c.m.topology.Management
	}
	return p
}

func (c *controller) ref(n *node) backends.NodeRef {
	return backends.NodeRef{Lab: c.m.info.Name, Node: n.spec.Name}
}

func (c *controller) provider(n *node) (backends.Provider, error) {
	p, ok := c.e.opt.Backends.Provider(n.provider)
	if !ok {
		return nil, fmt.Errorf("kind %s needs provider %s, which this program does not have: %w",
			n.spec.Kind, n.provider, backends.ErrUnavailable)
	}
	return p, nil
}

func (c *controller) nodeConfig(n *node) backends.NodeConfig {
	cfg := backends.NodeConfig{Ref: c.ref(n), Node: n.spec, Kind: n.kind, Index: n.index,
		Hosts: c.m.hosts, Config: n.config, Labels: c.labels(n), Prefix: c.m.topology.Prefix,
		Management: c.m.topology.Management, Taken: c.m.taken, File: c.m.topology.File}
	cfg.Interfaces, cfg.Ends = n.interfaces(), n.ends()
	return cfg
}
