package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/engine/api"
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
	run, slots := c.prepare(ef), c.slots(ef)
	go func() {
		defer cancel()
		err := limit(ctx, func() error {
			t := time.AfterFunc(effectTimeout, func() {
				late.Store(true)
				cancel()
			})
			defer t.Stop()
			ef.more = func() { t.Reset(effectTimeout) }
			fail.Point(ef.verb.String() + ".before")
			defer fail.Point(ef.verb.String() + ".after")
			return run(ctx)
		}, slots...)
		switch {
		case err != nil && late.Load(): // not withdrawn: it took too long
			err = fmt.Errorf("%s took longer than %s: %s", ef.verb, effectTimeout, err) //nolint:errorlint // that its context ended is not to be told from a withdrawal
		case errors.Is(err, context.Canceled) && ctx.Err() == nil: // nor here: something of the backend's own
			err = fmt.Errorf("%s: %s", ef.verb, err) //nolint:errorlint // as above
		}
		c.post(func(c *controller) { c.ended(ef, err) })
	}()
}

// slots are those that an effect waits for, one after the other.
func (c *controller) slots(ef *effect) []chan struct{} {
	switch {
	case ef.link != nil:
		n, _ := c.e.opt.Backends.Network(ef.link.network(c))
		if _, ok := n.(backends.Batcher); ok {
			return []chan struct{}{c.e.batched}
		}
	case ef.verb == doStart:
		if own := c.e.starts[ef.node.provider]; own != nil {
			return []chan struct{}{own, c.e.slots}
		}
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
	case doCreate, doStart, doStop, doRemove, doMend:
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
		_, n.image = p.(backends.ImageManager)
		n.stale = false // what changes from here on makes it stale again
		return func(ctx context.Context) error { return p.Create(ctx, cfg) }
	case doStart:
		ef.boot = n.boot
		return func(ctx context.Context) error { return p.Start(ctx, ref) }
	case doStop:
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
	default:
		return func(ctx context.Context) error { return p.Remove(ctx, ref) }
	}
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
		return func(ctx context.Context) error {
			bl, err := both(ctx)
			if err != nil {
				return err
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
	default: // doDelete: of ends whose node is gone, nothing is left
		a.Keep, b.Keep = l.claimed(l.a, l.spec.A.Endpoint), l.claimed(l.b, l.spec.B.Endpoint)
		ef.kept = [2]bool{a.Keep, b.Keep}
		return func(ctx context.Context) error {
			errA := attach(ctx, &a, refA, pa)
			errB := attach(ctx, &b, refB, pb)
			for _, err := range []error{errA, errB} {
				if err != nil && !errors.Is(err, backends.ErrNotFound) && !errors.Is(err, backends.ErrConflict) {
					return err // it may be there, and cannot be asked
				}
			}
			switch {
			case errA == nil && errB == nil, b.Outside != nil:
				return network.DeleteLink(ctx, backends.Link{Lab: c.m.info.Name, A: a, B: b})
			case errA == nil && !a.Keep:
				return network.DeletePort(ctx, a)
			case errB == nil && !b.Keep:
				return network.DeletePort(ctx, b)
			default:
				return nil
			}
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
	mtu := l.spec.MTU
	if mtu == 0 {
		mtu = n.spec.MTU
	}
	p := backends.Port{Lab: c.m.info.Name, End: end, MTU: mtu}
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
	cfg := backends.NodeConfig{Ref: c.ref(n), Node: n.spec, Kind: n.kind,
		Hosts: c.m.hosts, Config: n.config, Labels: c.labels(n), Prefix: c.m.topology.Prefix,
		Management: c.m.topology.Management, File: c.m.topology.File}
	for _, l := range n.links {
		if l.remove {
			continue
		}
		for _, end := range l.spec.Ends() {
			if end.Node == n.spec.Name {
				cfg.Interfaces = append(cfg.Interfaces, end.Interface)
				cfg.Ends = append(cfg.Ends, end)
			}
		}
	}
	return cfg
}

// ended takes the result of an effect in.
func (c *controller) ended(ef *effect, err error) {
	if ef.link != nil {
		ef.link.busy = nil
		c.linkEnded(ef, err)
		ef.link.touch()
		ef.link.a.look()
		ef.link.b.look()
		return
	}
	ef.node.busy, ef.node.done = nil, c.e.now()
	c.nodeEnded(ef, err)
	ef.node.touch()
}

func (c *controller) nodeEnded(ef *effect, err error) {
	n := ef.node
	if err != nil && c.dropped(ef, err) {
		return
	}
	switch ef.verb {
	case doCreate:
		if err != nil {
			n.unsure = !n.exists // something of it may be there all the same
			c.fail(n, err)
			return
		}
		n.exists, n.unsure = true, false
		c.wakeWaiting()
		n.identifier = c.m.info.Name + "/" + n.spec.Name
	case doStart:
		if err != nil {
			c.fail(n, err)
			return
		}
		n.fresh = n.boot == ef.boot
		c.arrived(n)
		// It may have ended meanwhile, and that news may have been faster.
		n.inited = n.actual == lab.NodeStarting
	case doStop:
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			c.fail(n, fmt.Errorf("stop: %w", err))
			return
		}
		c.bootOver(n)
		n.inited = false
		n.err = ""
		n.ended = n.boot // late news of this boot is no news
		c.moveNode(n, lab.NodeStopped)
		if n.restart {
			n.restart = false
		} else {
			c.infof(n, "stopped")
		}
	case doRemove:
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			c.fail(n, fmt.Errorf("remove: %w", err))
			return
		}
		c.vanished(n)
	case doMend:
		c.mendEnded(n, err)
	}
}

// dropped deals with an effect that was withdrawn: that it did not succeed is
// as it should be. What it left half done is found by the next decision.
func (c *controller) dropped(ef *effect, err error) bool {
	if !errors.Is(err, context.Canceled) {
		return false
	}
	n := ef.node
	switch ef.verb {
	case doCreate:
		if n.exists {
			n.stale = true
		} else {
			n.unsure = true
		}
	case doStart:
		n.inited = true // perhaps: it is stopped, which is harmless
	}
	return true
}

// fail takes a node into error, and plans when it is tried again.
func (c *controller) fail(n *node, err error) {
	c.bootOver(n)
	n.permanent = errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrUnsupported) ||
		errors.Is(err, os.ErrNotExist)
	c.nextTry(n)
	n.err = reason(err)
	c.moveNode(n, lab.NodeError)
	again := ""
	if n.desired == lab.WishRunning && !n.permanent && !c.m.leaving(n) {
		again = fmt.Sprintf("; next try in %s", n.retryAt.Sub(c.e.now()).Round(time.Second))
	}
	c.errorf(n, "%s%s", n.err, again)
}

// vanished notes that nothing of the node exists any more.
func (c *controller) vanished(n *node) {
	c.bootOver(n)
	n.ended = max(n.ended, n.boot) // late news of it are no news
	n.exists, n.unsure, n.inited, n.pid, n.boot = false, false, false, 0, 0
	n.health, n.stage, n.renamed = "", staged{}, false
	n.mgmt4, n.mgmt6, n.screen = "", "", ""
	n.err = ""
	c.moveNode(n, lab.NodeUndeployed)
	for _, l := range n.links {
		// A network may have lost the far end with it: all is looked at again.
		if l.made || len(l.ready) > 0 {
			far := l.peer(n)
			l.unmade()
			if l.actual == lab.LinkUp || l.actual == lab.LinkCreating {
				c.moveLink(l, lab.LinkPending)
			}
			far.look()
		}
		l.retryAt = time.Time{}
		l.touch()
	}
	n.touch()
}

func (c *controller) linkEnded(ef *effect, err error) {
	l := ef.link
	switch ef.verb {
	case doImpair:
		c.impairEnded(l, ef.impair, err)
		return
	case doSwap:
		c.swapEnded(ef, err)
		return
	}
	if err != nil {
		if errors.Is(err, context.Canceled) || c.m.destroying {
			return
		}
		c.nextLinkTry(l)
		if errors.Is(err, backends.ErrNotFound) && !c.bothThere(l) {
			return // an end went away meanwhile: decided upon again, once that is known or later
		}
		c.setLinkError(l, l.reason(err))
		if l.actual == lab.LinkDown || l.actual == lab.LinkUp || l.actual == lab.LinkUnknown ||
			l.actual == lab.LinkPending || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkError)
		}
		c.event(api.Event{Level: api.LevelError, Link: l.name(),
			Text: fmt.Sprintf("%s %s: %s", ef.verb, l.name(), l.err)})
		return
	}
	switch ef.verb {
	case doConnect:
		l.made = true
		l.carrier, l.vlan = lab.CarrierOn, ef.vlan
		l.impair.rewired(impairedOf(l.spec))
		if l.actual == lab.LinkPending {
			c.moveLink(l, lab.LinkCreating)
		}
		c.moveLink(l, lab.LinkUp)
	case doDisconnect:
		l.made, l.retries = true, 0
		l.carrier, l.vlan = lab.CarrierOff, 0
		c.moveLink(l, lab.LinkDown)
	case doProvision:
		l.ready[ef.node] = true
	case doDelete:
		if ef.kept[0] && !l.claimed(l.a, l.spec.A.Endpoint) || ef.kept[1] && !l.claimed(l.b, l.spec.B.Endpoint) {
			return // the link that was to have an interface has gone meanwhile: once more, without keeping it
		}
		for _, n := range []*node{l.a, l.b} {
			for _, x := range n.links { // the interface that was kept is this one's now
				if x != l && x.net == "" && (x.uses(l.spec.A.Endpoint) || x.uses(l.spec.B.Endpoint)) {
					x.net = l.net
				}
			}
		}
		l.unmade()
		l.net = ""
		l.impair = impairing{}
		if l.actual == lab.LinkUp || l.actual == lab.LinkPending || l.actual == lab.LinkCreating {
			c.moveLink(l, lab.LinkDown)
		}
	}
}

// reason is an error in words for a person, on one line.
func reason(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return advised(s)
}

// remedies are for what a whole machine is short of, by the kernel's words: an
// error that came from another process is no more than them.
var remedies = []struct {
	what   syscall.Errno
	remedy string
}{
	{syscall.EMFILE, "give this user more open files, with ulimit -n"},
	{syscall.ENFILE, "give this machine more open files, with sysctl fs.file-max"},
	{syscall.ENOSPC, "make room on that disk"},
	{syscall.EROFS, "make that disk writable"},
}

// advised adds to an error what to do about it, where that is known.
func advised(s string) string {
	for _, r := range remedies {
		if strings.Contains(s, r.what.Error()) {
			return s + " (" + r.remedy + ")"
		}
	}
	return s
}
