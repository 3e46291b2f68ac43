package engine

import (
	"context"
	"io"

	"archetype/backends"
	"archetype/engine/api"
)

// Capture implements api.Engine.
func (e *Engine) Capture(ctx context.Context, req api.CaptureRequest) (io.ReadCloser, error) {
	c, err := e.controller(req.Lab)
	if err != nil {
		return nil, err
	}
	var n backends.Capturer
	var attach func(context.Context) (backends.Link, error)
	err = c.call(ctx, func(c *controller) error {
		for _, l := range c.m.links {
			if l.remove || (l.spec.A.Endpoint != req.End && l.spec.B.Endpoint != req.End) {
				continue
			}
			network, _ := c.networkOf(l, l.network(c))
			var ok bool
			if n, ok = network.(backends.Capturer); !ok {
				return api.Errorf(api.CodeUnavailable, "what passes links of network %s cannot be captured", l.network(c))
			}
			attach = c.attaching(l)
			return nil
		}
		return api.Errorf(api.CodeNotFound, "lab %s has no link at %s", req.Lab, req.End)
	})
	if err != nil {
		return nil, err
	}
	l, err := attach(ctx)
	if err != nil {
		return nil, err
	}
	port := l.A
	if l.B.End.Endpoint == req.End {
		port = l.B
	}
	return n.Capture(ctx, port)
}
