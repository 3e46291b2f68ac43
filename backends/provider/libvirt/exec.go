package libvirt

import (
	"context"
	"fmt"
	"io"

	golibvirt "github.com/digitalocean/go-libvirt"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/serialline"
)

// observe reports whether a node's machine is on.
func (p *Provider) observe(ctx context.Context, ref backends.NodeRef) (is bool, err error) {
	err = p.conn.do(ctx, func(lv *golibvirt.Libvirt) (err error) {
		is, err = p.isOn(lv, ref)
		return err
	})
	return is, err
}

// Exec runs a command as the kind says: over the serial line or SSH.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	k, err := p.running(ctx, ref)
	if err != nil {
		return backends.ExecResult{}, err
	}
	switch k.VM.Exec.Method {
	case "ssh":
		return p.overSSH(ctx, ref, k, req)
	case "serial":
		res, err := p.line(ref).Exec(ctx, k.VM.Exec, k.Facts, req)
		return res, fail(ref, err)
	}
	return backends.ExecResult{}, fmt.Errorf("node %s: its kind does not say how a command is run in it (%w)", ref.Node, backends.ErrUnsupported)
}

// running checks that a node's machine is on.
func (p *Provider) running(ctx context.Context, ref backends.NodeRef) (*kept, error) {
	k, err := p.read(ref)
	if err != nil {
		return nil, err
	}
	on, err := p.observe(ctx, ref)
	if err == nil && !on {
		err = fmt.Errorf("it is not running: start it (%w)", backends.ErrConflict)
	}
	if err != nil {
		return nil, fail(ref, err)
	}
	return k, nil
}

func (p *Provider) line(ref backends.NodeRef) *serialline.Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[ref]
	if l == nil {
		l = serialline.New(p.logs, p.folder(ref), p.socket(ref))
		p.lines[ref] = l
	}
	return l
}

// Console opens the serial line.
func (p *Provider) Console(ctx context.Context, ref backends.NodeRef, _ backends.Size) (backends.Console, error) {
	k, err := p.running(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, err := p.line(ref).Console(ctx, k.LogAt)
	return c, fail(ref, err)
}

// Say implements backends.Speaker.
func (p *Provider) Say(_ context.Context, ref backends.NodeRef, text []byte) error {
	return fail(ref, p.line(ref).Say(text))
}

// Logs reads the record of the serial line.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	k, err := p.read(ref)
	if err != nil {
		return nil, err
	}
	o := logfile.Options{Lines: opt.Lines, Follow: opt.Follow}
	if opt.Boot {
		o.From = k.LogAt
	}
	r, err := p.line(ref).Read(ctx, o)
	return r, fail(ref, err)
}
