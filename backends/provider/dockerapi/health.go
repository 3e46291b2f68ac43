package dockerapi

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// healthInterval is how often a node is checked where nothing else is said:
// as the engines have it.
const healthInterval = 30 * time.Second

// checkHealth has a running node's health checked, once for each of its boots,
// where the engine does not do so by itself.
func (p *Provider) checkHealth(n *node, c *container.InspectResponse, st backends.NodeStatus) {
	h := c.Config.Healthcheck
	if p.cfg.Check == nil || !st.Running || h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return
	}
	n.state.Lock()
	defer n.state.Unlock()
	if n.checked == st.Boot {
		return
	}
	n.checked = st.Boot
	interval := h.Interval
	if interval <= 0 {
		interval = healthInterval
	}
	go p.keepChecking(n, c.ID, interval, st)
}

// keepChecking ends with that run of the node, or with the provider. The next
// provider begins anew.
func (p *Provider) keepChecking(n *node, id string, interval time.Duration, last backends.NodeStatus) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return
		}
		cli, err := p.Client()
		if err != nil {
			continue
		}
		// How long the check itself may take is the engine's business.
		_ = p.cfg.Check(p.ctx, cli, id)
		res, err := cli.ContainerInspect(p.ctx, id, client.ContainerInspectOptions{})
		if err != nil && p.ctx.Err() == nil && client.IsErrConnectionFailed(err) {
			continue // the engine comes back, or the node is looked at anew
		}
		if err != nil {
			return
		}
		st := n.status(&res.Container)
		if !st.Running || st.Boot != last.Boot {
			return
		}
		if st.Health != last.Health {
			p.tell(st)
		}
		last = st
	}
}

// tell gives news of ours to whoever follows the events.
func (p *Provider) tell(st backends.NodeStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx, ch := range p.followers {
		go func() {
			select {
			case ch <- st:
			case <-ctx.Done():
			}
		}()
	}
}

// follow opens a channel for news of ours that lasts as long as ctx.
func (p *Provider) follow(ctx context.Context) <-chan backends.NodeStatus {
	ch := make(chan backends.NodeStatus)
	p.mu.Lock()
	p.followers[ctx] = ch
	p.mu.Unlock()
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.followers, ctx)
	})
	return ch
}
