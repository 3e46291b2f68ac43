package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/serialline"
	"archetype/vendors"
)

// Provider is a stand-in for libvirt's, under its name so that kinds are taken
// for machines: its nodes are devices that play dialogues.
type Provider struct {
	dir       string
	dialogues map[string]*Dialogue // by node
	logs      *logfile.Watcher

	mu     sync.Mutex
	nodes  map[backends.NodeRef]*machine
	events []chan backends.NodeStatus
}

type machine struct {
	cfg   backends.NodeConfig
	line  *serialline.Line
	dev   *device
	boot  uint64
	logAt int64
}

// New makes one that keeps its sockets and records in a folder.
func New(dir string, dialogues map[string]*Dialogue) (*Provider, error) {
	logs, err := logfile.New()
	if err != nil {
		return nil, err
	}
	return &Provider{dir: dir, dialogues: dialogues, logs: logs, nodes: map[backends.NodeRef]*machine{}}, nil
}

// Close switches all off.
func (p *Provider) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.nodes {
		if m.dev != nil {
			m.dev.off()
		}
	}
	return p.logs.Close()
}

// Result says how the dialogue of a node has gone: nil once all of it was
// played. It waits for that until ctx ends.
func (p *Provider) Result(ctx context.Context, ref backends.NodeRef) error {
	p.mu.Lock()
	dev := p.nodes[ref].dev
	p.mu.Unlock()
	select {
	case <-dev.over:
	case <-ctx.Done():
		dev.off()
	}
	return dev.result()
}

// Wrong is what has gone wrong already, nil while nothing has.
func (p *Provider) Wrong(ref backends.NodeRef) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.nodes[ref]; m != nil && m.dev != nil {
		return m.dev.result()
	}
	return nil
}

// Name is that of the provider it stands in for.
func (*Provider) Name() string { return vendors.VMProvider }

// Available says that it is.
func (*Provider) Available(context.Context) backends.Availability {
	return backends.Availability{OK: true, Detail: "replayed: machines are made up"}
}

// Adapt takes the kind as a virtual machine.
func (*Provider) Adapt(k *vendors.Kind) *vendors.Kind { return k.AsVM() }

func (p *Provider) with(ref backends.NodeRef, f func(*machine) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.nodes[ref]
	if m == nil {
		return backends.ErrNotFound
	}
	return f(m)
}

func (p *Provider) tell(st backends.NodeStatus) {
	for _, ch := range p.events {
		ch <- st
	}
}

func (m *machine) status() backends.NodeStatus {
	return backends.NodeStatus{Ref: m.cfg.Ref, Running: m.dev != nil, Boot: m.boot, Labels: m.cfg.Labels}
}

// Create makes a node.
func (p *Provider) Create(_ context.Context, c backends.NodeConfig) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.nodes[c.Ref]; m != nil {
		m.cfg = c
		return nil
	}
	dir := filepath.Join(p.dir, c.Ref.Node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	p.nodes[c.Ref] = &machine{cfg: c, line: serialline.New(p.logs, dir, filepath.Join(dir, "s"))}
	return nil
}

// Start begins to play the node's dialogue.
func (p *Provider) Start(_ context.Context, ref backends.NodeRef) error {
	return p.with(ref, func(m *machine) error {
		if m.dev != nil {
			return nil
		}
		d := p.dialogues[ref.Node]
		if d == nil {
			return fmt.Errorf("there is no dialogue for %s", ref.Node)
		}
		dir := filepath.Join(p.dir, ref.Node)
		_ = os.Remove(filepath.Join(dir, "s"))
		m.logAt = 0
		if st, err := os.Stat(filepath.Join(dir, serialline.Record)); err == nil {
			m.logAt = st.Size()
		}
		var err error
		if m.dev, err = boot(d, filepath.Join(dir, "s"), filepath.Join(dir, serialline.Record)); err != nil {
			return err
		}
		m.boot = uint64(time.Now().UnixNano())
		p.tell(m.status())
		return nil
	})
}

// Stop pulls the plug.
func (p *Provider) Stop(_ context.Context, ref backends.NodeRef, _ time.Duration) error {
	return p.with(ref, func(m *machine) error {
		if m.dev != nil {
			m.dev.off()
			m.dev = nil
			p.tell(m.status())
		}
		return nil
	})
}

// Remove forgets a node.
func (p *Provider) Remove(ctx context.Context, ref backends.NodeRef) error {
	err := p.Stop(ctx, ref, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.nodes[ref]; m != nil {
		delete(p.nodes, ref)
		p.tell(backends.NodeStatus{Ref: ref, Gone: true})
	}
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	return err
}

// List lists the nodes.
func (p *Provider) List(_ context.Context, labName string) ([]backends.NodeStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []backends.NodeStatus
	for ref, m := range p.nodes {
		if labName == "" || labName == ref.Lab {
			out = append(out, m.status())
		}
	}
	return out, nil
}

// Attachment names a tap that is not there.
func (*Provider) Attachment(_ context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	return backends.Attachment{Tap: ref.Node + iface}, nil
}

// Events tells of nodes that start and stop.
func (p *Provider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	ch := make(chan backends.NodeStatus, 1024)
	p.mu.Lock()
	p.events = append(p.events, ch)
	p.mu.Unlock()
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, c := range p.events {
			if c == ch {
				p.events = append(p.events[:i:i], p.events[i+1:]...)
				close(ch)
			}
		}
	})
	return ch, nil
}

func (p *Provider) machine(ref backends.NodeRef) (m machine, err error) {
	err = p.with(ref, func(x *machine) error { m = *x; return nil })
	return m, err
}

// Exec runs a command over the line, which the dialogue must expect.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	m, err := p.machine(ref)
	if err != nil {
		return backends.ExecResult{}, err
	}
	k := m.cfg.Kind
	return m.line.Exec(ctx, k.VM.Exec, vendors.FactsOf(k, ref.Node, m.cfg.Config, m.cfg.Node.Env), req)
}

// Console opens the line.
func (p *Provider) Console(ctx context.Context, ref backends.NodeRef, _ backends.Size) (backends.Console, error) {
	m, err := p.machine(ref)
	if err != nil {
		return nil, err
	}
	return m.line.Console(ctx, m.logAt)
}

// Say answers the device.
func (p *Provider) Say(_ context.Context, ref backends.NodeRef, text []byte) error {
	m, err := p.machine(ref)
	if err != nil {
		return err
	}
	return m.line.Say(text)
}

// Probe looks whether the dialogue has opened the port.
func (p *Provider) Probe(_ context.Context, ref backends.NodeRef, probe backends.Probe) error {
	m, err := p.machine(ref)
	if err != nil {
		return err
	}
	port := probe.Port
	if port == 0 {
		port = 22
	}
	if m.dev == nil || !m.dev.serves(port) {
		return errors.New("port " + strconv.Itoa(port) + " is closed")
	}
	return nil
}

// Logs reads the record.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	m, err := p.machine(ref)
	if err != nil {
		return nil, err
	}
	o := logfile.Options{Lines: opt.Lines, Follow: opt.Follow}
	if opt.Boot {
		o.From = m.logAt
	}
	return m.line.Read(ctx, o)
}
