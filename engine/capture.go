package engine

import (
	"context"
	"io"
	"net/netip"
	"sync"

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
	return p.of(l), err
}

// of is the end's port of the link.
func (p passage) of(l backends.Link) backends.Port {
	if l.B.End.Endpoint == p.end {
		return l.B
	}
	return l.A
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
	found := make([]*api.Traffic, len(list))
	// A far end that does not answer is waited for: not one after the other.
	atOnce := 1
	if req.Tunnels {
		atOnce = tunnelsAtOnce
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, p := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			found[i] = p.traffic(ctx, req.Tunnels)
		})
	}
	all.Wait()
	var out []api.Traffic
	for _, t := range found {
		if t != nil {
			out = append(out, *t)
		}
	}
	return out, ctx.Err()
}

// tunnelsAtOnce bounds how many far ends are asked after at once.
const tunnelsAtOnce = 16

// traffic is what has passed the end, or nil where that cannot be told.
func (p passage) traffic(ctx context.Context, tunnel bool) *api.Traffic {
	n, ok := p.network.(backends.Counter)
	if !ok {
		return nil
	}
	l, err := p.attach(ctx)
	if err != nil {
		return nil
	}
	t, err := n.Count(ctx, p.of(l))
	if err != nil {
		return nil
	}
	out := &api.Traffic{End: p.end, Sent: t.Sent, Received: t.Received, SentPackets: t.SentPackets, ReceivedPackets: t.ReceivedPackets}
	if by, ok := p.network.(backends.Tunneler); ok && tunnel {
		if st, err := by.Tunnel(ctx, l); err == nil {
			out.Tunnel = tunnelOf(st)
		}
	}
	return out
}

func tunnelOf(st backends.TunnelStatus) *api.Tunnel {
	return &api.Tunnel{State: st.State, Reason: st.Reason, VNI: st.VNI, Local: text(st.Local), Remote: text(st.Remote), Device: st.Device,
		UDPPort: st.UDPPort, PathMTU: st.PathMTU, MTU: st.MTU,
		Sent: st.Tx.Bytes, SentPackets: st.Tx.Packets, Received: st.Rx.Bytes, ReceivedPackets: st.Rx.Packets,
		Lost:  st.Tx.Dropped + st.Tx.Errors + st.Rx.Dropped + st.Rx.Errors,
		Heard: st.Rx.Packets > 0}
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
