package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/frozen"
)

// glance is how often a start that takes long is looked at, in case it is
// over without its gate having asked.
const glance = 250 * time.Millisecond

// StartsAtOnce bounds how many containers start at once. An engine runs several
// programs for each (for one in a network Docker 20.10 itself five times and
// iptables ten times), and of these some spin for as long as another thread of
// the kernel changes a network interface: twenty at once took twice as long,
// and twice the CPU, as two at once on two processors.
func StartsAtOnce() int { return max(2, runtime.NumCPU()) }

// StartsAtOnce implements backends.Queuer.
func (p *Provider) StartsAtOnce() int { return StartsAtOnce() }

// Start starts the container, brings the node's interfaces into it and only
// then lets its init run.
func (p *Provider) Start(ctx context.Context, ref backends.NodeRef) error {
	n := p.node(ref)
	n.Lock()
	defer n.Unlock()
	return p.fail("node "+ref.Node, p.start(ctx, n))
}

func (p *Provider) start(ctx context.Context, n *node) error {
	if n.known().Foreign {
		return p.startForeign(ctx, n)
	}
	cli, id, err := p.container(ctx, n)
	if err != nil {
		return err
	}
	if err := p.serve(n); err != nil {
		return err
	}
	staged, err := n.unstage()
	if staged || err != nil {
		defer p.tellOf(ctx, cli, n, id) // for the engine it began when it was staged
		if err != nil {
			return err
		}
	}
	if err := n.reconnect(ctx, cli, id); err != nil && !cerrdefs.IsNotFound(err) { // else its start says so
		return err
	}
	opened := n.expect()
	defer n.expected()
	if !n.letIn() {
		if err := p.begin(ctx, cli, n, id, staged); err != nil {
			return err
		}
		n.letGo()
	}
	tick := time.NewTicker(glance)
	defer tick.Stop()
	again := false
	for {
		select {
		case err := <-opened:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		have, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		st := have.Container.State
		switch {
		case st == nil:
		case !st.Running && !st.Restarting:
			return fmt.Errorf("its init ended before it began: %s", ended(st))
		case restarting(st) && !again:
			// The engine takes it for running, and starts it when it sees fit: in up to a minute.
			again = true
			if _, err := cli.ContainerStop(ctx, id, client.ContainerStopOptions{}); err != nil {
				return err
			}
			if _, err := cli.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
				return n.claimed(ctx, cli, err)
			}
		case n.place.Same(st.Pid) || sharesNetwork(string(have.Container.HostConfig.NetworkMode)):
			return nil // it ran already
		}
	}
}

// begin has the engine start a container. One that it has lost is removed, so
// that the next Create makes another, unless it has run: what is in it is kept.
func (p *Provider) begin(ctx context.Context, cli *client.Client, n *node, id string, staged bool) error {
	_, err := cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err == nil || p.cfg.Lost == nil || !p.cfg.Lost(err) {
		return n.claimed(ctx, cli, err)
	}
	name := n.known().Container
	have, ierr := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if ierr != nil {
		return errors.Join(err, ierr)
	}
	if staged || have.Container.State != nil && have.Container.State.Status == container.StateCreated {
		if _, rerr := cli.ContainerRemove(ctx, id, removal); rerr != nil && !cerrdefs.IsNotFound(rerr) {
			return errors.Join(err, rerr)
		}
		return fmt.Errorf("%s had lost track of its container, which had not run yet and is made anew (%w)", p.cfg.Name, err)
	}
	return fmt.Errorf("%s has lost track of its container and cannot start it any more: copy out of it what you need (%[1]s cp %[2]s:PATH .) and remove it (%[1]s rm -f %[2]s), and it is made anew (%[3]w)",
		p.cfg.Name, name, err)
}

// Stop ends the container's init. The namespace stays, and with it the node's
// interfaces, down as a switched-off device's, until the next start moves them on.
func (p *Provider) Stop(ctx context.Context, ref backends.NodeRef, grace time.Duration) error {
	n := p.node(ref)
	n.Lock()
	defer n.Unlock()
	if n.known().Foreign {
		return nil
	}
	cli, id, err := p.container(ctx, n)
	if err == nil {
		n.ask()
		seconds := int((grace + time.Second - 1) / time.Second)
		stop := func() error {
			_, err := cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
			return err
		}
		if err = stop(); err != nil && unpause(ctx, cli, id) == nil { // Podman stops none that is paused
			err = stop()
		}
		if err == nil {
			err = n.stopped(ctx, cli, id)
		}
	}
	if errors.Is(err, backends.ErrNotFound) || cerrdefs.IsNotFound(err) {
		return nil
	}
	return p.fail("node "+ref.Node, err)
}

// stopped has a container that was stopped be switched off.
func (n *node) stopped(ctx context.Context, cli *client.Client, id string) error {
	res, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	return n.off(n.status(&res.Container), &res.Container)
}

// ask notes that the node's end is wanted.
func (n *node) ask() {
	n.state.Lock()
	defer n.state.Unlock()
	n.asked = true
}

// Mend has a container that is paused go on, gives one that was renamed its
// name again, and brings one back that was taken out of its management network.
func (p *Provider) Mend(ctx context.Context, ref backends.NodeRef) error {
	n := p.node(ref)
	n.Lock()
	defer n.Unlock()
	return p.fail("node "+ref.Node, p.mend(ctx, n))
}

func (p *Provider) mend(ctx context.Context, n *node) error {
	if n.known().Foreign {
		return fmt.Errorf("the container is not this lab's: %w", backends.ErrUnsupported)
	}
	cli, id, err := p.container(ctx, n)
	if err != nil {
		return err
	}
	res, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	st := n.status(&res.Container)
	if s := res.Container.State; s != nil && s.Paused {
		if err := unpause(ctx, cli, id); err != nil {
			return err
		}
	}
	if err := frozen.Thaw(st.PID); err != nil {
		return err
	}
	if st.Renamed {
		if _, err := cli.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: res.Container.Config.Labels[labelName]}); err != nil {
			return err
		}
	}
	if !st.Severed {
		return nil
	}
	err = n.reconnect(ctx, cli, id)
	switch {
	case err == nil:
		p.tellOf(ctx, cli, n, id) // what address it has there is not told otherwise
		return nil
	case cerrdefs.IsNotFound(err): // which is not the node
		return fmt.Errorf("its management network %s is gone: destroy the lab and deploy it again, or make the network (%s network create)",
			n.known().Management, p.cfg.Name)
	default:
		// Docker counts the interfaces that it has made: the next one may have
		// the name of a link's. What it notes of the network all the same goes.
		_, _ = cli.NetworkDisconnect(ctx, n.known().Management, client.NetworkDisconnectOptions{Container: id, Force: true})
		n.state.Lock()
		n.severed = true
		n.state.Unlock()
		return fmt.Errorf("back into the management network: %w (%w)", err, backends.ErrRestart)
	}
}

// reconnect brings a container that was seen outside its management network
// back into it.
func (n *node) reconnect(ctx context.Context, cli *client.Client, id string) error {
	n.state.Lock()
	severed, name, e := n.severed, n.kept.Management, n.kept.Endpoint
	n.state.Unlock()
	if !severed || e == nil {
		return nil
	}
	_, err := cli.NetworkConnect(ctx, name, client.NetworkConnectOptions{Container: id, EndpointConfig: e})
	if err == nil {
		n.state.Lock()
		n.severed = false
		n.state.Unlock()
	}
	return err
}

func unpause(ctx context.Context, cli *client.Client, id string) error {
	_, err := cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	return err
}

// Remove removes the container and everything kept beside it.
func (p *Provider) Remove(ctx context.Context, ref backends.NodeRef) error {
	n := p.node(ref)
	n.Lock()
	defer n.Unlock()
	k := n.known()
	if k.Foreign {
		p.forget(n)
		return p.fail("node "+ref.Node, p.cleanup(n))
	}
	cli, id, err := p.container(ctx, n)
	if err == nil {
		n.ask()
		_, err = cli.ContainerRemove(ctx, id, removal)
		switch {
		case p.later(err):
			err = p.removeLater(ctx, cli, id)
		case cerrdefs.IsConflict(err): // somebody else is removing it
			err = p.awaitGone(ctx, cli, id)
		}
	}
	if err != nil && !errors.Is(err, backends.ErrNotFound) && !cerrdefs.IsNotFound(err) {
		return p.fail("node "+ref.Node, err)
	}
	n.stopServing()
	n.goes(true)
	// What is kept goes last: it tells who comes after an interruption of what
	// else belongs to the node.
	if k.Management != "" && cli != nil {
		if err := p.leave(ctx, cli, k.Management); err != nil {
			return p.fail("management network "+k.Management, err)
		}
	}
	if err := p.cleanup(n); err != nil {
		return p.fail("node "+ref.Node, err)
	}
	// Before, late news of its container would make the node known once more, by
	// what was kept of it.
	p.forget(n)
	return nil
}

// later reports that a container cannot be removed yet.
func (p *Provider) later(err error) bool {
	return p.cfg.Needed != nil && p.cfg.Needed(err) || p.cfg.Ending != nil && p.cfg.Ending(err)
}

// removeLater removes a container once no other lives in its namespaces, which
// with a whole lab will be soon, and once the engine has seen to its end.
func (p *Provider) removeLater(ctx context.Context, cli *client.Client, id string) error {
	for {
		_, err := cli.ContainerRemove(ctx, id, removal)
		if !p.later(err) {
			return err
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			if p.cfg.Needed != nil && p.cfg.Needed(err) {
				return &wrapped{"other nodes live in its namespaces: remove them first", err, backends.ErrConflict}
			}
			return err
		}
	}
}

func (p *Provider) awaitGone(ctx context.Context, cli *client.Client, id string) error {
	for {
		_, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// container finds the node's container: never another of the same name.
func (p *Provider) container(ctx context.Context, n *node) (*client.Client, string, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, "", err
	}
	if id := n.known().ID; id != "" {
		return cli, id, nil
	}
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: p.filter(n.ref)})
	if err != nil {
		return cli, "", err
	}
	if len(list.Items) == 0 {
		return cli, "", fmt.Errorf("node %s has no container: %w", n.ref, backends.ErrNotFound)
	}
	return cli, list.Items[0].ID, nil
}

// filter selects our containers: of one node, of a lab, or all.
func (p *Provider) filter(ref backends.NodeRef) client.Filters {
	f := client.Filters{}.Add("label", labelHome+"="+p.home())
	if ref.Lab != "" {
		f.Add("label", labelLab+"="+ref.Lab)
	}
	if ref.Node != "" {
		f.Add("label", labelNode+"="+ref.Node)
	}
	return f
}
