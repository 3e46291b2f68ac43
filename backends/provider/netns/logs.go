package netns

import (
	"context"
	"io"

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
	return p.logs.Open(ctx, st.Folder, "log", o)
}
