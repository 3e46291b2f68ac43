// Package dockerapi runs nodes as containers of an engine that speaks Docker's
// API: what Docker and Podman have in common. What differs is in their own
// packages.
package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/gate"
)

// Config is what differs from one engine to another.
type Config struct {
	Name string // of the provider
	// Connect makes a client; it need not talk to the engine yet. An error
	// that wraps backends.ErrUnavailable says why there is none.
	Connect func() (*client.Client, error)
	Run     string // folder for sockets and namespaces: private, on a local file system
	Labs    string // folder of the nodes' own folders
	// Program is started in containers before their own init; empty: this one.
	Program string
	// Explain, where not nil, adds advice to what the engine says.
	Explain func(error) error
	// LocalNames, where not nil, gives other names under which an image may be
	// on this machine.
	LocalNames func(name string) []string
	// NameTaken, where not nil, recognizes that a container of that name exists
	// in an error that does not say so by its kind.
	NameTaken func(error) bool
	// Amend, where not nil, adds to a request what the engine needs and what
	// makes no other node.
	Amend func(*client.ContainerCreateOptions)
	// Actions are the engine's own names of events, where they are not Docker's.
	Actions map[events.Action]events.Action
}

// Provider makes nodes of containers. It implements backends.Provider, but for
// whether the engine is available, and its optional parts.
type Provider struct {
	cfg Config

	mu     sync.Mutex
	cli    *client.Client
	nodes  map[backends.NodeRef]*node
	images map[string]*pull
	closed bool

	gateOnce sync.Mutex
	gate     string // path of the installed gate

	mgmt sync.Mutex // held while the management network is made or removed
}

var (
	_ backends.StatsReader  = (*Provider)(nil)
	_ backends.ImageManager = (*Provider)(nil)
	_ backends.Mover        = (*Provider)(nil)
)

// New makes the provider. It talks to nobody until it is used.
func New(cfg Config) *Provider {
	return &Provider{cfg: cfg, nodes: map[backends.NodeRef]*node{}, images: map[string]*pull{}}
}

// Name is the engine's.
func (p *Provider) Name() string { return p.cfg.Name }

// MovesInterfaces tells that a container gets a new namespace at each start.
func (p *Provider) MovesInterfaces() {}

// Close ends what the provider serves. Its nodes go on.
func (p *Provider) Close() error {
	p.mu.Lock()
	p.closed = true
	nodes := p.nodes
	p.nodes = map[backends.NodeRef]*node{}
	cli := p.cli
	p.mu.Unlock()
	for _, n := range nodes {
		n.stopServing()
	}
	if cli != nil {
		return cli.Close()
	}
	return nil
}

// Client is the connection to the engine.
func (p *Provider) Client() (*client.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the provider is closed")
	}
	if p.cli == nil {
		cli, err := p.cfg.Connect()
		if err != nil {
			return nil, err
		}
		p.cli = cli
	}
	return p.cli, nil
}

// Forget drops the connection, so that the next use finds the endpoint anew.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cli != nil {
		_ = p.cli.Close()
		p.cli = nil
	}
}

// Version asks the engine for its version and that of its API.
func (p *Provider) Version(ctx context.Context) (engine, api string, err error) {
	cli, err := p.Client()
	if err != nil {
		return "", "", err
	}
	v, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", "", err
	}
	return v.Version, cli.ClientVersion(), nil
}

// installedGate is the path of the program that holds inits back.
func (p *Provider) installedGate() (string, error) {
	p.gateOnce.Lock()
	defer p.gateOnce.Unlock()
	if p.gate != "" {
		if _, err := os.Stat(p.gate); err == nil {
			return p.gate, nil
		}
	}
	program := p.cfg.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return "", err
		}
	}
	path, err := gate.Install(program, filepath.Join(p.cfg.Run, "gate"))
	if err != nil {
		return "", fmt.Errorf("%w (%w)", err, backends.ErrUnavailable)
	}
	p.gate = path
	return path, nil
}

// fail makes of an engine's error one that the program can act on and a
// person can read.
func (p *Provider) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	if p.cfg.Explain != nil {
		err = p.cfg.Explain(err)
	}
	switch {
	case errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrConflict), errors.Is(err, backends.ErrUnavailable):
	case client.IsErrConnectionFailed(err):
		p.Forget()
	case cerrdefs.IsNotFound(err):
		return &wrapped{what, err, backends.ErrNotFound}
	case cerrdefs.IsConflict(err):
		return &wrapped{what, err, backends.ErrConflict}
	}
	if what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// wrapped is an engine's error under one of ours, without its words twice.
type wrapped struct {
	what string
	err  error
	is   error
}

func (w *wrapped) Error() string {
	if w.what == "" {
		return w.err.Error()
	}
	return w.what + ": " + w.err.Error()
}
func (w *wrapped) Unwrap() []error { return []error{w.err, w.is} }
