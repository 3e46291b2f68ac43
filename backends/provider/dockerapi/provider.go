// Package dockerapi runs nodes as containers of an engine that speaks Docker's
// API: what Docker and Podman have in common. What differs is in their own
// packages.
package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// Config is what differs from one engine to another.
type Config struct {
	Name string // of the provider
	// Connect makes a client; it need not talk to the engine yet. An error
	// that wraps backends.ErrUnavailable says why there is none.
	Connect func() (*client.Client, error)
	Run     string // folder for sockets and namespaces: private, on a local file system
	Labs    string // folder of the nodes' own folders
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
	// Check, where not nil, runs a container's health check now: the engine does
	// not do so by itself.
	Check func(ctx context.Context, cli *client.Client, id string) error
	// Enter, where not nil, is called with the process that waits at a node's
	// gate, before its interfaces come and its init begins.
	Enter func(pid int) error
	// Needed, where not nil, recognizes that a container cannot be removed while
	// others live in its namespaces.
	Needed func(error) bool
	// Ending, where not nil, recognizes that the engine is still at the end of a
	// container, so that it cannot be removed yet.
	Ending func(error) bool
	// Lost, where not nil, recognizes that the engine can never start a container
	// any more.
	Lost func(error) bool
	// Bridge, where not nil, says by which interface of the machine a network,
	// given by its ID, is reached, where that is not told in Docker's way.
	Bridge func(ctx context.Context, cli *client.Client, network string) (string, error)
	// RemoveNetwork, where not nil, removes a network unless a container is in
	// it, which is backends.ErrConflict, where Docker's way does not see to that.
	RemoveNetwork func(ctx context.Context, cli *client.Client, network string) error
	// Access, where not nil, lets other machines reach the nodes that meet at a
	// bridge, or keeps them out; with nil the bridge is about to be forgotten.
	Access func(ctx context.Context, bridge string, allowed *bool) error
	// Gone, where not nil, removes what the engine leaves on the machine of a
	// network that is there no more.
	Gone func(ctx context.Context, n Network) error
	// Open, where not nil, tells the driver options that a network needs besides
	// for its nodes to be reached from other machines.
	Open func(ctx context.Context) (map[string]string, error)
	// Uncounted says that the engine cannot tell what a container consumes.
	Uncounted bool
	// Actions are the engine's own names of events, where they are not Docker's.
	Actions map[events.Action]events.Action
}

// Provider makes nodes of containers. It implements backends.Provider, but for
// whether the engine is available, and its optional parts.
type Provider struct {
	cfg   Config
	boots backends.Boots

	mu     sync.Mutex
	cli    *client.Client
	nodes  map[backends.NodeRef]*node
	images map[string]*pull
	closed bool
	// foreign is done once the foreign nodes of former engines are known.
	foreign sync.Once
	// followers are those who follow the events, as long as their context.
	followers map[context.Context]chan backends.NodeStatus

	ctx context.Context // ends with the provider
	end context.CancelFunc

	gate   sync.Mutex      // held while the gate is placed or removed
	mgmt   sync.Mutex      // held while the management network is made or removed
	opened map[string]bool // networks by ID whose access has been seen to
}

var (
	_ backends.StatsReader  = (*Provider)(nil)
	_ backends.ImageManager = (*Provider)(nil)
	_ backends.Mover        = (*Provider)(nil)
	_ backends.Queuer       = (*Provider)(nil)
	_ backends.Stager       = (*Provider)(nil)
)

// New makes the provider. It talks to nobody until it is used.
func New(cfg Config) *Provider {
	p := &Provider{cfg: cfg, nodes: map[backends.NodeRef]*node{}, images: map[string]*pull{},
		followers: map[context.Context]chan backends.NodeStatus{}, opened: map[string]bool{}}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// Name is the engine's.
func (p *Provider) Name() string { return p.cfg.Name }

// Awaits tells that a container's init is held until its interfaces are there.
func (p *Provider) Awaits() {}

// MovesInterfaces tells that a container gets a new namespace at each start.
func (p *Provider) MovesInterfaces() {}

// Close ends what the provider serves. Its nodes go on.
func (p *Provider) Close() error {
	p.end()
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

// Version asks the engine for its version and that of its API, and nothing
// that it would have to ask others for: that takes long where there is much to
// do.
func (p *Provider) Version(ctx context.Context) (engine, api string, err error) {
	cli, err := p.Client()
	if err != nil {
		return "", "", err
	}
	res, err := Get(ctx, cli, "/_ping")
	if err != nil {
		return "", "", err
	}
	_ = res.Body.Close()
	_, engine, _ = strings.Cut(res.Header.Get("Server"), "/")
	engine, _, _ = strings.Cut(engine, " ")
	return engine, res.Header.Get("Api-Version"), nil
}

// Get asks the engine for what its client does not know. The caller closes the
// answer's body.
func Get(ctx context.Context, cli *client.Client, path string) (*http.Response, error) {
	dial := cli.Dialer()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return h.Do(req)
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
		err = p.unanswered(err)
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

// unanswered says that nobody answers, without the client's advice, which is
// for Docker alone, and without the cause: a socket that is not there is no
// reason to give up, as a missing file of the lab's would be.
func (p *Provider) unanswered(err error) error {
	text := err.Error()
	for _, begins := range []string{"Cannot connect to the Docker daemon at ", "failed to connect to the docker API at "} {
		if host, ok := strings.CutPrefix(text, begins); ok {
			host = host[:strings.IndexAny(host+";", "; ")]
			text = "nobody listens at " + strings.TrimSuffix(host, ".")
		}
	}
	return errors.New(p.Name() + " does not answer: " + text)
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
