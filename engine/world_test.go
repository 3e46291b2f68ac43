package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

// world is a simulated machine for tests of the engine: a provider and a
// network that keep their nodes and links in memory, fail when told to, and
// survive the engine as real ones do. It is no part of the program.
type world struct {
	mu       sync.Mutex
	nodes    map[backends.NodeRef]*simNode
	links    map[string]*simLink // lab/id
	ports    map[string]bool     // lab/endpoint, isolated
	boot     uint64
	events   []chan backends.NodeStatus
	linkEvts []chan backends.LinkStatus
	fail     map[string]error // "create r1", "connect a:e|b:e"
	hold     map[string]chan struct{}
	calls    []string
	called   chan struct{} // there is one more
	logs     map[backends.NodeRef]*simLog
	silent   map[string]bool // nodes whose log stays empty
	clears   bool            // a start takes away what the node's links suffer
	hushed   bool            // news of nodes are told later
	untold   []backends.NodeStatus

	starting, started int // starts at the provider that queues: now, and at most
}

type simNode struct {
	cfg     backends.NodeConfig
	running bool
	pid     int
	boot    uint64
	moved   string // makes its namespace another, where its interfaces moved
}

type simLink struct {
	connected bool
	net       string
	vlan      int
	impair    [2]lab.Impairment
	in        string // the namespace of the first end
}

func newWorld() *world {
	return &world{nodes: map[backends.NodeRef]*simNode{}, links: map[string]*simLink{}, ports: map[string]bool{},
		fail: map[string]error{}, hold: map[string]chan struct{}{}, logs: map[backends.NodeRef]*simLog{},
		silent: map[string]bool{}, called: make(chan struct{}, 1)}
}

// enter notes a call, waits while it is held, and returns the error planned
// for it.
func (w *world) enter(ctx context.Context, call string) error {
	w.mu.Lock()
	w.calls = append(w.calls, call)
	w.mu.Unlock()
	select {
	case w.called <- struct{}{}:
	default:
	}
	if err := w.wait(ctx, call); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail[call]
}

// wait waits while a call is held.
func (w *world) wait(ctx context.Context, call string) error {
	w.mu.Lock()
	hold := w.hold[call]
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (w *world) tell(st backends.NodeStatus) {
	if w.hushed {
		w.untold = append(w.untold, st)
		return
	}
	for _, ch := range w.events {
		ch <- st
	}
}

// tellAll tells what was not told yet.
func (w *world) tellAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hushed = false
	for _, st := range w.untold {
		w.tell(st)
	}
}

func (w *world) count(prefix string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// what lists everything that exists, for comparison.
func (w *world) what() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for ref, n := range w.nodes {
		out = append(out, fmt.Sprintf("node %s running=%v", ref, n.running))
	}
	for id, l := range w.links {
		out = append(out, fmt.Sprintf("link %s connected=%v", id, l.connected))
	}
	for p := range w.ports {
		out = append(out, "port "+p)
	}
	sort.Strings(out)
	return out
}

// kill ends a node's init behind the engine's back.
func (w *world) kill(ref backends.NodeRef, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[ref]
	n.running = false
	w.tell(backends.NodeStatus{Ref: ref, Boot: n.boot, ExitReason: why})
}

// startBehind starts a node behind the engine's back. Its interfaces move, what
// its links suffer stays behind, and some of them may be lost on the way, of which
// no network tells.
func (w *world) startBehind(ref backends.NodeRef, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[ref]
	w.boot++
	n.running, n.boot, n.pid = true, w.boot, int(1000+w.boot)
	n.moved = fmt.Sprintf("@%d", n.boot)
	for id, l := range w.links {
		if l.impair = [2]lab.Impairment{}; lost && strings.Contains(id, "/"+ref.Node+":") {
			delete(w.links, id)
		}
	}
	w.tell(backends.NodeStatus{Ref: ref, Running: true, PID: n.pid, Boot: n.boot})
}

// vanish removes a node behind the engine's back.
func (w *world) vanish(ref backends.NodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	boot := w.nodes[ref].boot
	w.drop(ref)
	w.tell(backends.NodeStatus{Ref: ref, Boot: boot, Gone: true})
}

// drop removes a node and every link and port that ends in it.
func (w *world) drop(ref backends.NodeRef) {
	delete(w.nodes, ref)
	for id := range w.links {
		if strings.HasPrefix(id, ref.Lab+"/") && (strings.Contains(id, "/"+ref.Node+":") || strings.Contains(id, "|"+ref.Node+":")) {
			delete(w.links, id)
		}
	}
	for p := range w.ports {
		if strings.HasPrefix(p, ref.Lab+"/"+ref.Node+":") {
			delete(w.ports, p)
		}
	}
}

// simProvider is the provider's side of the world.
type simProvider struct{ w *world }

func (simProvider) Name() string { return "netns" }
func (simProvider) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true, Detail: "simulated"}
}

func (p simProvider) Create(ctx context.Context, cfg backends.NodeConfig) error {
	if err := p.w.enter(ctx, "create "+cfg.Ref.Node); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if n := p.w.nodes[cfg.Ref]; n != nil {
		n.cfg = cfg
		return nil
	}
	p.w.nodes[cfg.Ref] = &simNode{cfg: cfg}
	return nil
}

func (simProvider) Awaits() {}

func (p simProvider) Start(ctx context.Context, ref backends.NodeRef) error {
	if err := p.w.enter(ctx, "start "+ref.Node); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	n := p.w.nodes[ref]
	if n == nil {
		return backends.ErrNotFound
	}
	if !n.running {
		for id, l := range p.w.links {
			if p.w.clears && strings.Contains(id, ref.Node+":") {
				l.impair = [2]lab.Impairment{}
			}
		}
		p.w.boot++
		n.running, n.boot, n.pid = true, p.w.boot, int(1000+p.w.boot)
		p.w.tell(backends.NodeStatus{Ref: ref, Running: true, PID: n.pid, Boot: n.boot})
	}
	return nil
}

func (p simProvider) Stop(ctx context.Context, ref backends.NodeRef, _ time.Duration) error {
	if err := p.w.enter(ctx, "stop "+ref.Node); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	n := p.w.nodes[ref]
	if n == nil {
		return backends.ErrNotFound
	}
	if n.running {
		n.running = false
		p.w.tell(backends.NodeStatus{Ref: ref, Boot: n.boot})
	}
	return nil
}

func (p simProvider) Remove(ctx context.Context, ref backends.NodeRef) error {
	if err := p.w.enter(ctx, "remove "+ref.Node); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if n := p.w.nodes[ref]; n != nil {
		p.w.drop(ref)
		p.w.tell(backends.NodeStatus{Ref: ref, Boot: n.boot, Gone: true})
	}
	return nil
}

func (p simProvider) List(ctx context.Context, labName string) ([]backends.NodeStatus, error) {
	if err := p.w.enter(ctx, "list"); err != nil {
		return nil, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var out []backends.NodeStatus
	for ref, n := range p.w.nodes {
		if labName == "" || labName == ref.Lab {
			out = append(out, backends.NodeStatus{Ref: ref, Running: n.running, PID: n.pid, Boot: n.boot, Labels: n.cfg.Labels})
		}
	}
	return out, nil
}

func (p simProvider) Attachment(_ context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	n := p.w.nodes[ref]
	if n == nil {
		return backends.Attachment{}, fmt.Errorf("%s: %w", ref, backends.ErrNotFound)
	}
	return backends.Attachment{Netns: "/sim/" + ref.String() + n.moved, Interface: iface}, nil
}

func (p simProvider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	if err := p.w.enter(ctx, "events"); err != nil {
		return nil, err
	}
	ch := make(chan backends.NodeStatus, 4096)
	p.w.set(func() { p.w.events = append(p.w.events, ch) })
	context.AfterFunc(ctx, func() {
		p.w.set(func() {
			for i, c := range p.w.events {
				if c == ch {
					p.w.events = append(p.w.events[:i:i], p.w.events[i+1:]...)
					close(ch)
				}
			}
		})
	})
	return ch, nil
}

// hangUp ends the provider's streams of events, as an engine does that ends.
func (w *world) hangUp() {
	for _, c := range w.events {
		close(c)
	}
	w.events = nil
}

func (p simProvider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	return backends.ExecResult{}, p.w.enter(ctx, "exec "+ref.Node+" "+strings.Join(req.Command, " "))
}

func (p simProvider) Console(context.Context, backends.NodeRef, backends.Size) (backends.Console, error) {
	return nil, errors.ErrUnsupported
}

// simLog is a log that ends when its reader's context does.
type simLog struct {
	text io.Reader
	ctx  context.Context
}

func (l *simLog) Read(b []byte) (int, error) {
	n, err := l.text.Read(b)
	if err == io.EOF {
		<-l.ctx.Done()
	}
	return n, err
}
func (l *simLog) Close() error { return nil }

func (p simProvider) Adapt(k *vendors.Kind) *vendors.Kind { return k.AsEmbedded() }

func (p simProvider) Logs(ctx context.Context, ref backends.NodeRef, _ backends.LogOptions) (io.ReadCloser, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	text := "archetype-init: namespaces ready\narchetype-init: ready\n"
	if p.w.silent[ref.Node] {
		text = ""
	}
	return &simLog{text: strings.NewReader(text), ctx: ctx}, nil
}

// queued is a provider that wants one start after the other, and whose nodes'
// interfaces move.
type queued struct{ simProvider }

func (queued) Name() string      { return "docker" }
func (queued) StartsAtOnce() int { return 1 }
func (queued) MovesInterfaces()  {}

func (q queued) Start(ctx context.Context, ref backends.NodeRef) error {
	q.w.set(func() {
		q.w.starting++
		q.w.started = max(q.w.started, q.w.starting)
	})
	defer q.w.set(func() { q.w.starting-- })
	return q.simProvider.Start(ctx, ref)
}

// List leaves the world's nodes to the other provider.
func (queued) List(context.Context, string) ([]backends.NodeStatus, error) { return nil, nil }
