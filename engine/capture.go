package engine

import (
	"context"
	"io"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// passage is an end of a link, and who knows what passes it.
type passage struct {
	end     lab.Endpoint
	network backends.Network
	name    string // of the network
	attach  func(context.Context) (backends.Link, error)
}

// port is where the end is now.
func (p passage) port(ctx context.Context) (backends.Port, error) {
	l, err := p.attach(ctx)
	if l.B.End.Endpoint == p.end {
		return l.B, err
	}
	return l.A, err
}

// passages finds ends of links of a lab.
func (e *Engine) passages(ctx context.Context, labName string, ends []lab.Endpoint) ([]passage, error) {
	c, err := e.controller(labName)
	if err != nil {
		return nil, err
	}
	var out []passage
	err = c.call(ctx, func(c *controller) error {
		at := map[lab.Endpoint]*link{}
		for _, l := range c.m.links {
			if !l.remove {
				at[l.spec.A.Endpoint], at[l.spec.B.Endpoint] = l, l
			}
		}
		for _, end := range ends {
			l := at[end]
			if l == nil {
				return api.Errorf(api.CodeNotFound, "lab %s has no link at %s", labName, end)
			}
			name := l.network(c)
			network, _ := c.networkOf(l, name)
			out = append(out, passage{end, network, name, c.attaching(l)})
		}
		return nil
	})
	return out, err
}

// Capture implements api.Engine.
func (e *Engine) Capture(ctx context.Context, req api.CaptureRequest) (io.ReadCloser, error) {
	list, err := e.passages(ctx, req.Lab, []lab.Endpoint{req.End})
	if err != nil {
		return nil, err
	}
	n, ok := list[0].network.(backends.Capturer)
	if !ok {
		return nil, api.Errorf(api.CodeUnavailable, "what passes links of network %s cannot be captured", list[0].name)
	}
	port, err := list[0].port(ctx)
	if err != nil {
		return nil, err
	}
	return n.Capture(ctx, port)
}

// Traffic implements api.Engine.
func (e *Engine) Traffic(ctx context.Context, req api.TrafficRequest) ([]api.Traffic, error) {
	list, err := e.passages(ctx, req.Lab, req.Ends)
	if err != nil {
		return nil, err
	}
	var out []api.Traffic
	for _, p := range list {
		n, ok := p.network.(backends.Counter)
		if !ok {
			continue
		}
		port, err := p.port(ctx)
		if err != nil {
			continue
		}
		if t, err := n.Count(ctx, port); err == nil {
			out = append(out, api.Traffic{End: p.end, Sent: t.Sent, Received: t.Received, SentPackets: t.SentPackets, ReceivedPackets: t.ReceivedPackets})
		}
	}
	return out, ctx.Err()
}
