package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"archetype/backends"
	"archetype/backends/provider/logfile"
)

// The serial line has one record, which the emulator itself writes, and one
// way in. Whoever looks reads the record, so nothing is lost when nobody does
// and any number can; whoever writes does so over the one way in.

// line is the way in to a node's serial line.
type line struct {
	path string

	mu   sync.Mutex
	conn net.Conn
}

// dialFor is how long a machine that has just started may take to listen.
const dialFor = 5 * time.Second

func (l *line) write(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for again := range 2 {
		if l.conn == nil {
			c, err := net.DialTimeout("unix", l.path, dialFor)
			if err != nil {
				return err
			}
			l.conn = c
			go l.drain(c)
		}
		_ = l.conn.SetWriteDeadline(time.Now().Add(dialFor))
		_, err := l.conn.Write(p)
		if err == nil {
			return nil
		}
		_ = l.conn.Close()
		l.conn = nil
		if again == 1 {
			return err
		}
	}
	return nil
}

// drain takes what the line says, which is in the record already: a line that
// is not emptied stands still.
func (l *line) drain(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
	l.mu.Lock()
	if l.conn == c {
		l.conn = nil
	}
	l.mu.Unlock()
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

func (p *Provider) line(ref backends.NodeRef) *line {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[ref]
	if l == nil {
		l = &line{path: p.socket(ref)}
		p.lines[ref] = l
	}
	return l
}

// history is how many lines of the record a console begins with.
const history = 50

// Console opens the serial line, beside all others who have it open. It ends
// with ctx.
func (p *Provider) Console(ctx context.Context, ref backends.NodeRef, _ backends.Size) (backends.Console, error) {
	k, err := p.running(ctx, ref)
	if err != nil {
		return nil, err
	}
	r, err := p.logs.Open(ctx, p.folder(ref), serialLog, logfile.Options{From: k.LogAt, Lines: history, Follow: true})
	if err != nil {
		return nil, fail(ref, err)
	}
	return &console{ReadCloser: r, line: p.line(ref)}, nil
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

type console struct {
	io.ReadCloser
	line *line
}

func (c *console) Write(p []byte) (int, error) {
	if err := c.line.write(p); err != nil {
		return 0, errors.Join(errors.New("the serial line does not take it"), err)
	}
	return len(p), nil
}

// Resize does nothing: a serial line knows no size.
func (c *console) Resize(backends.Size) error { return nil }

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
	r, err := p.logs.Open(ctx, p.folder(ref), serialLog, o)
	return r, fail(ref, err)
}
