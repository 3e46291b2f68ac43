package dockerapi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// A foreign node is a container that somebody else has made and goes on
// running: the lab's interfaces are brought into it and taken out of it, and
// nothing else is ever done to it. It has no gate. It goes by its name, so that
// one which is made anew is the same node.

// join takes a container that is there as a node.
func (p *Provider) join(ctx context.Context, n *node, c backends.NodeConfig) error {
	at, err := p.stranger(ctx, c.Ref.Node)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.dir, foreignMark), nil, 0o600); err != nil {
		return err
	}
	k := kept{Container: c.Ref.Node, ID: c.Ref.Node, Foreign: true, Labels: c.Labels, Interfaces: interfaces(c), Console: c.Kind.Console}
	if err := n.note(k); err != nil {
		return err
	}
	return n.enter(at)
}

// foreignMark is the file that tells where a foreign node is kept.
const foreignMark = "foreign"

// stranger is a running container that this program has not made.
func (p *Provider) stranger(ctx context.Context, name string) (*container.InspectResponse, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	res, err := cli.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	at := &res.Container
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, fmt.Errorf("there is no container %s, which something else than this lab is to run (%w)", name, backends.ErrNotFound)
	case err != nil:
		return nil, err
	case at.HostConfig != nil && sharesNetwork(string(at.HostConfig.NetworkMode)):
		return nil, fmt.Errorf("container %s has no network of its own: it cannot have links (%w)", name, backends.ErrUnsupported)
	case at.State == nil || !at.State.Running || at.State.Pid == 0:
		return nil, fmt.Errorf("container %s does not run, and is not this lab's to start: %s start %s", name, p.cfg.Name, name)
	}
	return at, nil
}

// enter brings the node's interfaces to where the container is now.
func (n *node) enter(at *container.InspectResponse) error {
	if at.State == nil || !at.State.Running || at.State.Pid == 0 {
		return nil
	}
	return ignore(n.place.Adopt(at.State.Pid, n.known().Interfaces), os.ErrNotExist)
}

// startForeign has the node be taken as started, if its container runs.
func (p *Provider) startForeign(ctx context.Context, n *node) error {
	at, err := p.stranger(ctx, n.known().Container)
	if err == nil {
		err = n.enter(at)
	}
	if err != nil {
		return err
	}
	n.state.Lock()
	n.boot++ // for the lab it is another boot than the one that was stopped
	n.state.Unlock()
	p.tell(n.status(at))
	return nil
}

// foreigners are the foreign nodes of a lab or, with "", of all. They are
// looked for once; from then on they are known.
func (p *Provider) foreigners(labName string) []*node {
	p.foreign.Do(func() {
		marks, _ := filepath.Glob(filepath.Join(p.cfg.Run, "*", "*", foreignMark))
		for _, m := range marks {
			dir := filepath.Dir(m)
			p.node(backends.NodeRef{Lab: filepath.Base(filepath.Dir(dir)), Node: filepath.Base(dir)})
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*node
	for ref, n := range p.nodes {
		if (labName == "" || ref.Lab == labName) && n.known().Foreign {
			out = append(out, n)
		}
	}
	return out
}

// listForeign looks at the foreign nodes of a lab.
func (p *Provider) listForeign(ctx context.Context, cli *client.Client, labName string) ([]backends.NodeStatus, error) {
	var out []backends.NodeStatus
	for _, n := range p.foreigners(labName) {
		st, ok, err := p.lookForeign(ctx, cli, n)
		if err != nil {
			return nil, p.fail("node "+n.ref.Node, err)
		}
		if ok {
			out = append(out, st)
		}
	}
	return out, nil
}

// lookForeign says what a foreign node is now, with its interfaces brought to
// it; ok is false where it is gone.
func (p *Provider) lookForeign(ctx context.Context, cli *client.Client, n *node) (st backends.NodeStatus, ok bool, err error) {
	res, err := cli.ContainerInspect(ctx, n.known().Container, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return st, false, nil
	}
	if err == nil {
		err = n.enter(&res.Container)
	}
	if err != nil {
		return st, false, err
	}
	return n.status(&res.Container), true, nil
}

// newsForeign is what an event says of a container that may be a foreign node.
func (p *Provider) newsForeign(ctx context.Context, cli *client.Client, name string) (backends.NodeStatus, bool) {
	for _, n := range p.foreigners("") {
		if n.known().Container != name {
			continue
		}
		st, ok, err := p.lookForeign(ctx, cli, n)
		switch {
		case err != nil:
			return backends.NodeStatus{}, false // the next look tells
		case !ok:
			return n.vanished(), true
		}
		return st, true
	}
	return backends.NodeStatus{}, false
}
