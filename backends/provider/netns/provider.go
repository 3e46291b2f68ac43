// Package netns is the embedded provider: nodes as namespaces with this
// program as their init. It needs no daemon, no image and no root.
package netns

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/internal/frozen"
	"archetype/internal/installed"
	"archetype/vendors"
)

// Config is what the provider needs.
type Config struct {
	Holder   *holder.Client
	Rootless bool
	Labs     string // folder for the nodes' own folders
}

// Provider makes nodes of namespaces. It implements backends.Provider and
// backends.StatsReader.
type Provider struct {
	cfg  Config
	logs *logfile.Watcher

	mu     sync.Mutex
	netnss map[backends.NodeRef]string        // paths, which stay while a node exists
	begun  map[backends.NodeRef]holder.Status // boots, until somebody reads what is said in them
}

var (
	_ backends.Provider    = (*Provider)(nil)
	_ backends.StatsReader = (*Provider)(nil)
	_ backends.Commander   = (*Provider)(nil)
	_ backends.KindAdapter = (*Provider)(nil)
)

// New makes the provider; Close ends what it follows, not its nodes.
func New(cfg Config) (*Provider, error) {
	w, err := logfile.New()
	if err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg, logs: w, netnss: map[backends.NodeRef]string{}, begun: map[backends.NodeRef]holder.Status{}}, nil
}

// Close ends what the provider follows. Its nodes go on.
func (p *Provider) Close() error {
	p.cfg.Holder.Close()
	return p.logs.Close()
}

// Name is "netns".
func (p *Provider) Name() string { return "netns" }

// Adapt has the kind ready when our own init says so.
func (p *Provider) Adapt(k *vendors.Kind) *vendors.Kind { return k.AsEmbedded() }

// FailedCommand reads what the node's init, which runs them, says of one.
func (p *Provider) FailedCommand(line string) (string, bool) { return nodeinit.FailedCommand(line) }

// Awaits tells that a node's init waits for its interfaces.
func (p *Provider) Awaits() {}

// Available says that the holder answers: it tried all that is needed.
func (p *Provider) Available(ctx context.Context) backends.Availability {
	info, err := p.cfg.Holder.Info(ctx)
	if err != nil {
		return backends.Availability{Reason: err.Error(), Fix: "start the program again"}
	}
	if info.Rootless {
		return backends.Availability{OK: true, Detail: "rootless, in a user namespace"}
	}
	return backends.Availability{OK: true, Detail: "as root, in namespaces of the machine"}
}

func (p *Provider) folder(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Labs, ref.Lab, ref.Node)
}

// Create makes the node's namespace and notes how it is to boot. What the
// node needs of this machine must be there: an error that wraps
// backends.ErrUnavailable names what is missing.
func (p *Provider) Create(ctx context.Context, n backends.NodeConfig) error {
	if err := needs(n.Kind); err != nil {
		return err
	}
	cfg, err := p.bootConfig(n)
	if err != nil {
		return err
	}
	st, err := p.cfg.Holder.Create(ctx, holder.Node{Ref: n.Ref, Folder: p.folder(n.Ref), Labels: n.Labels, Config: cfg})
	if err == nil {
		p.found(n.Ref, st.Netns)
	}
	return err
}

// found notes where a node's namespace is, or that it is nowhere.
func (p *Provider) found(ref backends.NodeRef, netns string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if netns == "" {
		delete(p.netnss, ref)
		delete(p.begun, ref)
	} else {
		p.netnss[ref] = netns
	}
}

// needs checks that the kind's programs are on this machine.
func needs(k *vendors.Kind) error {
	for _, need := range k.Embedded.Needs {
		if !installed.Program(need.Path) {
			return fmt.Errorf("kind %s needs %s on this machine: install the package %s (%w)", k.Name, filepath.Base(need.Path), need.Package, backends.ErrUnavailable)
		}
	}
	return nil
}

// Start starts the node's init.
func (p *Provider) Start(ctx context.Context, ref backends.NodeRef) error {
	st, err := p.cfg.Holder.Start(ctx, ref)
	if err == nil {
		p.mu.Lock()
		p.begun[ref] = st
		p.mu.Unlock()
	}
	return err
}

// Stop ends the node's init and with it all its processes.
func (p *Provider) Stop(ctx context.Context, ref backends.NodeRef, grace time.Duration) error {
	err := p.cfg.Holder.Stop(ctx, ref, grace)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	return err
}

// Mend has a node go on whose init a signal has stopped.
func (p *Provider) Mend(ctx context.Context, ref backends.NodeRef) error {
	st, err := p.cfg.Holder.Node(ctx, ref)
	if err != nil {
		return err
	}
	return frozen.Thaw(st.PID)
}

// Remove removes the node and its folder.
func (p *Provider) Remove(ctx context.Context, ref backends.NodeRef) error {
	p.found(ref, "")
	return p.cfg.Holder.Remove(ctx, ref, p.folder(ref))
}

// List asks the holder: what it does not hold does not exist.
func (p *Provider) List(ctx context.Context, lab string) ([]backends.NodeStatus, error) {
	list, err := p.cfg.Holder.List(ctx, lab)
	if err != nil {
		return nil, err
	}
	out := make([]backends.NodeStatus, len(list))
	for i, st := range list {
		out[i] = st.NodeStatus
		out[i].Paused = st.Running && frozen.Is(st.PID)
	}
	return out, nil
}

// Attachment is the interface inside the node's namespace.
func (p *Provider) Attachment(ctx context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	p.mu.Lock()
	netns := p.netnss[ref]
	p.mu.Unlock()
	if netns == "" {
		st, err := p.cfg.Holder.Node(ctx, ref)
		if err != nil {
			return backends.Attachment{}, err
		}
		netns = st.Netns
	}
	return backends.Attachment{Netns: netns, Interface: iface}, nil
}

// Events reports nodes that start, end or vanish.
func (p *Provider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	in, err := p.cfg.Holder.Events(ctx)
	if err != nil {
		return nil, err
	}
	out := make(chan backends.NodeStatus)
	go func() {
		defer close(out)
		for st := range in {
			if st.Gone || st.Said != "" {
				p.logs.Signal(st.Log) // whoever reads a log that is not there
			}
			select {
			case out <- st.NodeStatus:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
