package sim

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"archetype/backends"
)

// bootLines is what a node says while it boots.
var bootLines = []string{"simulated: loading", "simulated: interfaces", "simulated: services", "simulated: ready"}

// bootLog is what a node has said, over all its boots.
type bootLog struct {
	mu    sync.Mutex
	text  strings.Builder
	start int // where the latest boot begins
	said  int // how many of the boot's lines
	runs  bool
	more  chan struct{} // closed when something was added
}

func newBootLog() *bootLog { return &bootLog{more: make(chan struct{})} }

func (l *bootLog) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.said, l.runs = l.text.Len(), 0, true
}

func (l *bootLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = false
}

func (l *bootLog) booted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs && l.said == len(bootLines)
}

// say adds the next line of the boot and reports whether there are more.
func (l *bootLog) say() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.runs || l.said == len(bootLines) {
		return false
	}
	l.text.WriteString(bootLines[l.said] + "\n")
	l.said++
	close(l.more)
	l.more = make(chan struct{})
	return l.said < len(bootLines)
}

// Boot has a node come one line further in its boot, and reports whether
// there are more to come.
func (w *World) Boot(ref backends.NodeRef) bool {
	w.mu.Lock()
	m := w.nodes[ref]
	w.mu.Unlock()
	return m != nil && m.log.say()
}

// Booting lists the nodes that have not said everything yet, sorted.
func (w *World) Booting() []backends.NodeRef {
	var out []backends.NodeRef
	for _, ref := range w.Refs() {
		w.mu.Lock()
		m := w.nodes[ref]
		w.mu.Unlock()
		if m != nil && m.running && !m.log.booted() {
			out = append(out, ref)
		}
	}
	return out
}

// bootAfter lets a node boot by itself; w.mu is held.
func (w *World) bootAfter(ref backends.NodeRef, boot uint64) {
	each := w.Boots / time.Duration(len(bootLines))
	var next func()
	next = func() {
		w.mu.Lock()
		m := w.nodes[ref]
		w.mu.Unlock()
		if m != nil && m.boot == boot && m.log.say() {
			time.AfterFunc(each, next)
		}
	}
	time.AfterFunc(each, next)
}

// Logs returns what the node has said.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	m := p.w.nodes[ref]
	switch {
	case p.w.down[ProviderName]:
		return nil, ErrDown
	case m == nil:
		return nil, backends.ErrNotFound
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &logReader{log: m.log, ctx: ctx, cancel: cancel, follow: opt.Follow}
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if opt.Boot {
		r.at = m.log.start
	}
	if opt.Lines > 0 {
		lines := strings.SplitAfter(m.log.text.String()[r.at:], "\n")
		for _, line := range lines[:max(0, len(lines)-1-opt.Lines)] {
			r.at += len(line)
		}
	}
	return r, nil
}

type logReader struct {
	log    *bootLog
	at     int
	follow bool
	ctx    context.Context
	cancel context.CancelFunc
}

func (r *logReader) Read(b []byte) (int, error) {
	for {
		r.log.mu.Lock()
		text, more := r.log.text.String()[r.at:], r.log.more
		r.log.mu.Unlock()
		if text != "" {
			n := copy(b, text)
			r.at += n
			return n, nil
		}
		if !r.follow {
			return 0, io.EOF
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			return 0, io.EOF
		}
	}
}

func (r *logReader) Close() error {
	r.cancel()
	return nil
}
