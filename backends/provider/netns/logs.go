package netns

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/netns/holder"
)

// boot is what a start told, for the first who reads what is said in it: for a
// lab of many nodes, to ask again is a good part of a deploy.
func (p *Provider) boot(ref backends.NodeRef, opt backends.LogOptions) (holder.Status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, ok := p.begun[ref]
	delete(p.begun, ref)
	return st, ok && opt.Boot
}

// Logs reads what the node's init and processes said.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	st, fresh := p.boot(ref, opt)
	if !fresh {
		var err error
		if st, err = p.cfg.Holder.Node(ctx, ref); err != nil {
			return nil, err
		}
	}
	o := logfile.Options{Lines: opt.Lines, Follow: opt.Follow}
	if opt.Boot {
		o.From = st.LogAt
	}
	known := true
	o.Unwritten = func() string {
		if !known {
			if now, err := p.cfg.Holder.Node(ctx, ref); err == nil {
				st.Said = now.Said
			}
		}
		known = false
		return st.Said
	}
	o.Gone = func() bool {
		now, err := p.cfg.Holder.Node(ctx, ref)
		return errors.Is(err, backends.ErrNotFound) || err == nil && now.Netns != st.Netns
	}
	return p.logs.Open(ctx, filepath.Dir(st.Log), filepath.Base(st.Log), o)
}
