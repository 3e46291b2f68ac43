package dockerapi

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
)

// A container gets its namespace from the engine when it starts, and interfaces
// that exist before must be moved there. The kernel takes some 20 ms for each
// and does nothing else to any interface meanwhile: for a lab of 50 nodes and
// 100 links that was as much again as all that the engine does. So a new node
// is started up to the gate first, and its interfaces are made where they stay.

// Stage implements backends.Stager.
func (p *Provider) Stage(ctx context.Context, ref backends.NodeRef) (bool, error) {
	n := p.node(ref)
	n.Lock()
	defer n.Unlock()
	if n.place.Exists() {
		return n.waits(), nil
	}
	waits, err := p.stage(ctx, n)
	return waits, p.fail("node "+ref.Node, err)
}

func (p *Provider) stage(ctx context.Context, n *node) (bool, error) {
	cli, id, err := p.container(ctx, n)
	if err != nil {
		return false, err
	}
	if err := p.serve(n); err != nil {
		return false, err
	}
	if n.runs {
		have, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return false, err
		}
		return false, n.settle(&have.Container)
	}
	there := n.stageAt(make(chan error, 1))
	defer n.stageAt(nil)
	if err := p.begin(ctx, cli, n, id, true); err != nil {
		return false, err
	}
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case err := <-there:
			return err == nil, err
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
		have, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return false, err
		}
		if st := have.Container.State; st != nil && !st.Running && !st.Restarting {
			return false, fmt.Errorf("its init ended before it began: %s", ended(st))
		}
	}
}

// stageAt says where the gate tells that a container has come to it.
func (n *node) stageAt(there chan error) chan error {
	n.state.Lock()
	defer n.state.Unlock()
	n.staging = there
	return there
}

// wait holds a staged container at the gate until it is let in.
func (n *node) wait(let chan struct{}, staging chan error, adopted error, gone <-chan struct{}) error {
	answer(staging, adopted)
	err := adopted
	if err == nil {
		select {
		case <-let:
		case <-gone:
			err = net.ErrClosed // it ended, or asks the next engine
		}
	}
	n.state.Lock()
	defer n.state.Unlock()
	if n.let == let {
		n.let = nil
	}
	if err == nil {
		answer(n.starting, nil)
	}
	return err
}

// waits reports whether a staged container is at the gate.
func (n *node) waits() bool {
	n.state.Lock()
	defer n.state.Unlock()
	return n.let != nil
}

// letIn lets a staged container in that waits at the gate, and reports whether
// there was one.
func (n *node) letIn() bool {
	n.state.Lock()
	defer n.state.Unlock()
	if n.let == nil {
		return false
	}
	close(n.let)
	n.let = nil
	return true
}

// unstage notes that the container's init may begin from here on, whoever
// starts it, and reports whether it might not before.
func (n *node) unstage() (bool, error) {
	k := n.known()
	if !k.Staged {
		return false, nil
	}
	k.Staged = false
	return true, n.note(k)
}

// tellOf gives news of a node of which the engine has none.
func (p *Provider) tellOf(ctx context.Context, cli *client.Client, n *node, id string) {
	have, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return // it is looked at again in a while
	}
	st := n.status(&have.Container)
	p.tell(st)
	p.checkHealth(n, &have.Container, st)
}
