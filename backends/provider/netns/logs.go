package netns

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"archetype/backends"
	"archetype/backends/provider/logfile"
)

// Logs reads what the node's init and processes said.
func (p *Provider) Logs(ctx context.Context, ref backends.NodeRef, opt backends.LogOptions) (io.ReadCloser, error) {
	st, err := p.cfg.Holder.Node(ctx, ref)
	if err != nil {
		return nil, err
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
