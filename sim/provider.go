package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

// Provider is the world's provider of nodes.
type Provider struct{ w *World }

// Provider returns the world's provider.
func (w *World) Provider() *Provider { return &Provider{w} }

// Name is "simulated".
func (*Provider) Name() string { return ProviderName }

// Available says that it is, and what it is.
func (*Provider) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true, Detail: "simulated: nodes are made up"}
}

func (p *Provider) call(verb string, ref backends.NodeRef) Call {
	return Call{Backend: ProviderName, Verb: verb, Lab: ref.Lab, On: ref.Node}
}

// Create makes a node.
func (p *Provider) Create(ctx context.Context, cfg backends.NodeConfig) error {
	cfg.Progress = nil
	return p.w.do(ctx, p.call("create", cfg.Ref), func(half bool) error {
		if p.w.foreign[cfg.Ref] {
			return fmt.Errorf("%s is somebody else's (%w)", cfg.Ref, backends.ErrConflict)
		}
		if m := p.w.nodes[cfg.Ref]; m != nil {
			m.cfg, m.bare, m.half = cfg, m.bare && cfg.Staged, m.half && half
			return nil
		}
		p.w.nodes[cfg.Ref] = &machine{cfg: cfg, bare: cfg.Staged, half: half, log: newBootLog()}
		return nil
	})
}

// Stage gives a node its place for interfaces, and has it wait.
func (p *Provider) Stage(ctx context.Context, ref backends.NodeRef) (waits bool, err error) {
	err = p.w.do(ctx, p.call("stage", ref), func(bool) error {
		m := p.w.nodes[ref]
		if m == nil {
			return fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
		}
		p.w.whole(ref, m, "staged")
		if m.bare && !m.running {
			m.bare, m.staged = false, true
		}
		waits = m.staged
		return nil
	})
	return waits && err == nil, err
}

// Start runs a node.
func (p *Provider) Start(ctx context.Context, ref backends.NodeRef) error {
	return p.w.do(ctx, p.call("start", ref), func(bool) error {
		m := p.w.nodes[ref]
		if m == nil {
			return fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
		}
		p.w.whole(ref, m, "started")
		if !m.running {
			p.w.run(ref, m)
		}
		return nil
	})
}

// whole notes a violation where a node is not; w.mu is held.
func (w *World) whole(ref backends.NodeRef, m *machine, verb string) {
	if m.half {
		w.violations = append(w.violations, ref.String()+" is half made, and was "+verb)
	}
}

// run starts a node's init; w.mu is held.
func (w *World) run(ref backends.NodeRef, m *machine) {
	w.boot++
	m.paused, m.bare, m.half, m.staged = false, false, false, false
	m.running, m.boot, m.pid, m.exit, m.started = true, w.boot, int(1000+w.boot), "", w.now()
	for key, k := range w.wires { // as libvirt takes from a tap what was on it
		if key.lab == ref.Lab && (k.a.Node == ref.Node || k.b.Node == ref.Node) {
			k.impair = [2]lab.Impairment{}
		}
	}
	m.log.begin()
	if w.Boots > 0 {
		w.bootAfter(ref, m.boot)
	}
	w.tellNode(m.status(ref))
}

// Stop ends what runs in a node.
func (p *Provider) Stop(ctx context.Context, ref backends.NodeRef, _ time.Duration) error {
	return p.w.do(ctx, p.call("stop", ref), func(bool) error {
		m := p.w.nodes[ref]
		if m == nil {
			return fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
		}
		m.staged = false
		if m.running {
			m.running = false
			m.log.end()
			p.w.tellNode(m.status(ref))
		}
		return nil
	})
}

// Mend has a node go on that is paused, and gives one its name again.
func (p *Provider) Mend(ctx context.Context, ref backends.NodeRef) error {
	return p.w.do(ctx, p.call("mend", ref), func(half bool) error {
		m := p.w.nodes[ref]
		if m == nil {
			return fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
		}
		m.paused = false
		if !half {
			m.name = ""
		}
		p.w.tellNode(m.status(ref))
		return nil
	})
}

// Remove makes a node vanish.
func (p *Provider) Remove(ctx context.Context, ref backends.NodeRef) error {
	return p.w.do(ctx, p.call("remove", ref), func(half bool) error {
		m := p.w.nodes[ref]
		if m == nil {
			return nil
		}
		if half {
			m.running = false
			m.log.end()
			p.w.tellNode(m.status(ref))
			return nil
		}
		p.w.drop(ref)
		p.w.tellNode(backends.NodeStatus{Ref: ref, Boot: m.boot, Gone: true})
		return nil
	})
}

// List lists nodes, sorted.
func (p *Provider) List(ctx context.Context, labName string) (out []backends.NodeStatus, err error) {
	err = p.w.do(ctx, Call{Backend: ProviderName, Verb: "list", Lab: labName}, func(bool) error {
		for ref, m := range p.w.nodes {
			if labName == "" || labName == ref.Lab {
				out = append(out, m.status(ref))
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b backends.NodeStatus) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	return out, err
}

// Attachment names a place that does not exist, for a node that does.
func (p *Provider) Attachment(_ context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	switch {
	case p.w.down[ProviderName]:
		return backends.Attachment{}, ErrDown
	case p.w.nodes[ref] == nil || p.w.nodes[ref].bare:
		return backends.Attachment{}, fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
	}
	return backends.Attachment{Netns: "/simulated/" + ref.String(), Interface: iface}, nil
}

// Events reports what nodes do.
func (p *Provider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	s, err := p.w.subscribe(ctx, ProviderName)
	if err != nil {
		return nil, err
	}
	return s.node, nil
}

// Exec succeeds once the node has booted, and says that nothing was run.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	err := p.w.do(ctx, p.call("exec", ref), func(bool) error {
		m := p.w.nodes[ref]
		switch {
		case m == nil || !m.running:
			return fmt.Errorf("%s does not run: %w", ref, backends.ErrNotFound)
		case !m.log.booted():
			res.Code = 1
		}
		return nil
	})
	said := fmt.Sprintf("%s is simulated: %q was not run\n", ref.Node, strings.Join(req.Command, " "))
	if req.Stdout != nil && err == nil {
		_, err = io.WriteString(req.Stdout, said)
	} else {
		res.Stdout = []byte(said)
	}
	return res, err
}

// Stats makes up what nodes consume.
func (p *Provider) Stats(_ context.Context, labName string) ([]backends.NodeStats, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var out []backends.NodeStats
	for _, ref := range slices.SortedFunc(maps.Keys(p.w.nodes), func(a, b backends.NodeRef) int { return strings.Compare(a.Node, b.Node) }) {
		if m := p.w.nodes[ref]; ref.Lab == labName && m.running {
			out = append(out, backends.NodeStats{Ref: ref, CPU: p.w.now().Sub(m.started) / 200, Memory: 24 << 20, Processes: 3})
		}
	}
	return out, nil
}

// Adapt gives a kind the boot that simulated nodes have. One that is asked by
// a command whether it is ready still is.
func (*Provider) Adapt(k *vendors.Kind) *vendors.Kind {
	out := *k
	out.Progress = []vendors.Progress{{Text: "simulated: loading", Percent: 20, Message: "simulated: loading"},
		{Text: "simulated: interfaces", Percent: 50, Message: "simulated: interfaces"},
		{Text: "simulated: services", Percent: 80, Message: "simulated: services"}}
	if k.Readiness.Probe != "command" {
		out.Readiness = vendors.Readiness{Probe: "log", Pattern: "^simulated: ready$", Timeout: k.Readiness.Timeout}
	}
	return &out
}
