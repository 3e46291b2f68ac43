package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/internal/frozen"
)

// parallel bounds how many containers are looked at at once.
const parallel = 8

// List looks at all our containers.
func (p *Provider) List(ctx context.Context, labName string) ([]backends.NodeStatus, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: p.filter(backends.NodeRef{Lab: labName})})
	if err != nil {
		return nil, p.fail("list containers", err)
	}
	items := p.originals(list.Items)
	found := make([]*backends.NodeStatus, len(items))
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, item := range items {
		ref := backends.NodeRef{Lab: item.Labels[labelLab], Node: item.Labels[labelNode]}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			st, err := p.look(ctx, cli, ref, item.ID)
			switch {
			case err == nil:
				found[i] = &st
			case !errors.Is(err, backends.ErrNotFound):
				errs[i] = err
			}
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out, err := p.listForeign(ctx, cli, labName)
	if err != nil {
		return nil, err
	}
	for _, st := range found {
		if st != nil {
			out = append(out, *st)
		}
	}
	slices.SortFunc(out, func(a, b backends.NodeStatus) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	if labName == "" {
		p.dropLeftovers(out)
	}
	return out, nil
}

// originals leaves out copies: a container made from the image of another has
// its labels, too. What the node is known to be counts.
func (p *Provider) originals(all []container.Summary) []container.Summary {
	have := map[string]bool{}
	for _, c := range all {
		have[c.ID] = true
	}
	return slices.DeleteFunc(all, func(c container.Summary) bool {
		id := p.node(backends.NodeRef{Lab: c.Labels[labelLab], Node: c.Labels[labelNode]}).known().ID
		return id != c.ID && have[id]
	})
}

// dropLeftovers gives up what is kept of labs that have no container left:
// nobody will ask for it again.
func (p *Provider) dropLeftovers(have []backends.NodeStatus) {
	live := map[string]bool{gateFolder: true, networksFolder: true}
	for _, st := range have {
		live[st.Ref.Lab] = true
	}
	p.mu.Lock()
	for ref := range p.nodes {
		live[ref.Lab] = true
	}
	p.mu.Unlock()
	labs, err := os.ReadDir(p.cfg.Run)
	if err != nil {
		return
	}
	for _, l := range labs {
		if live[l.Name()] || !l.IsDir() {
			continue
		}
		nodes, err := os.ReadDir(filepath.Join(p.cfg.Run, l.Name()))
		if err != nil {
			continue
		}
		for _, n := range nodes {
			_ = p.cleanup(p.node(backends.NodeRef{Lab: l.Name(), Node: n.Name()}))
		}
	}
}

// look says what a container is now, and has the node's gate served.
func (p *Provider) look(ctx context.Context, cli *client.Client, ref backends.NodeRef, id string) (backends.NodeStatus, error) {
	res, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return backends.NodeStatus{}, p.fail("node "+ref.Node, err)
	}
	n := p.node(ref)
	if err := p.serve(n); err != nil {
		return backends.NodeStatus{}, err
	}
	st := n.status(&res.Container)
	if err := errors.Join(n.settle(&res.Container), n.off(st, &res.Container)); err != nil {
		return backends.NodeStatus{}, fmt.Errorf("node %s: %w", ref.Node, err)
	}
	p.checkHealth(n, &res.Container, st)
	return st, nil
}

// settle makes a running container's namespace the node's place once more,
// where that was lost: it is held by a mount of the holder's when that is in a
// namespace of its own, and goes with the holder.
func (n *node) settle(c *container.InspectResponse) error {
	if s := c.State; s == nil || !s.Running || s.Pid == 0 || n.place.Exists() ||
		c.HostConfig != nil && sharesNetwork(string(c.HostConfig.NetworkMode)) {
		return nil
	}
	err := n.place.Adopt(c.State.Pid, n.known().Interfaces)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has just ended
	}
	return err
}

// off has the interfaces of a node that has run and does not any more be as those
// of a device that is switched off, whoever ended it. Those in a namespace that
// is not the node's own are left alone.
func (n *node) off(st backends.NodeStatus, c *container.InspectResponse) error {
	if st.Running || st.Staged || st.Boot == 0 || c.State == nil || c.State.Restarting || c.HostConfig != nil && sharesNetwork(string(c.HostConfig.NetworkMode)) {
		return nil
	}
	return n.place.Off()
}

func (n *node) status(c *container.InspectResponse) backends.NodeStatus {
	st := backends.NodeStatus{Ref: n.ref, Identifier: strings.TrimPrefix(c.Name, "/"), Labels: c.Config.Labels}
	if name := c.Config.Labels[labelName]; name != "" {
		st.Renamed = name != st.Identifier
	}
	n.state.Lock()
	defer n.state.Unlock()
	st.Unfinished = !n.kept.whole(c)
	if n.kept.ID == "" && !st.Unfinished {
		n.kept.ID, n.kept.Container = c.ID, st.Identifier
	}
	if (n.kept.ID == c.ID || n.kept.Foreign) && n.kept.Labels != nil {
		st.Labels = n.kept.Labels // of the latest Create, which a container cannot change
	}
	s := c.State
	if s == nil {
		return st
	}
	if n.kept.staged(c.ID) { // its boot has not begun
		st.Boot, st.Staged = n.boot, s.Running
		st.Unfinished = st.Unfinished || !n.place.Exists()
		return st
	}
	at, err := time.Parse(time.RFC3339Nano, s.StartedAt)
	if err == nil && at.Year() > 1 && s.StartedAt != n.started {
		n.started = s.StartedAt
		n.boot = n.boots.Next(n.boot, at)
	}
	st.Boot = n.boot
	if s.Running && !restarting(s) {
		st.Running, st.PID, st.Started = true, s.Pid, at
		st.Paused = s.Paused || frozen.Is(s.Pid)
		if s.Health != nil {
			switch s.Health.Status {
			case container.Starting:
				st.Health = backends.HealthStarting
			case container.Healthy:
				st.Health = backends.HealthHealthy
			case container.Unhealthy:
				st.Health = backends.HealthUnhealthy
			}
		}
		if c.NetworkSettings != nil {
			n.severed = n.kept.Endpoint != nil && n.kept.ID == c.ID && c.NetworkSettings.Networks[n.kept.Management] == nil
			st.Severed = n.severed
			if e := c.NetworkSettings.Networks[n.kept.Management]; e != nil {
				if e.IPAddress.IsValid() {
					st.ManagementIPv4 = e.IPAddress.String()
				}
				if e.GlobalIPv6Address.IsValid() {
					st.ManagementIPv6 = e.GlobalIPv6Address.String()
				}
			}
		}
		return st
	}
	if !n.asked && st.Boot > 0 {
		st.ExitReason = ended(s)
	}
	return st
}

// restarting reports whether the init has ended and the engine is going to start
// it again by itself: that calls such a container running.
func restarting(s *container.State) bool { return s.Restarting && s.Pid == 0 }

// ended says in words how a container's init ended.
func ended(s *container.State) string {
	why := endedHow(s)
	if restarting(s) {
		why += ", and is started again by its restart-policy"
	}
	return why
}

func endedHow(s *container.State) string {
	switch {
	case s.OOMKilled:
		return "it used more memory than it may and was killed"
	case s.Error != "":
		return s.Error
	case s.ExitCode == 127:
		return "its command was not found (code 127)"
	case s.ExitCode > 128 && s.ExitCode < 128+65:
		return fmt.Sprintf("its init was ended by signal %d (code %d)", s.ExitCode-128, s.ExitCode)
	default:
		return fmt.Sprintf("its init ended with code %d", s.ExitCode)
	}
}

// Events follows the engine's own stream, so that nothing waits for a poll.
func (p *Provider) Events(ctx context.Context) (<-chan backends.NodeStatus, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	if _, err := cli.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, p.fail("events", err)
	}
	// Also of others: a foreign node's bear no label of ours.
	f := client.Filters{}.Add("type", string(events.ContainerEventType), string(events.NetworkEventType))
	for _, a := range []events.Action{events.ActionStart, events.ActionDie, events.ActionDestroy, events.ActionHealthStatus,
		events.ActionPause, events.ActionUnPause, events.ActionRename, events.ActionDisconnect} {
		f.Add("event", string(a))
	}
	for a := range p.cfg.Actions {
		f.Add("event", string(a))
	}
	ctx, cancel := context.WithCancel(ctx)
	in := cli.Events(ctx, client.EventsListOptions{Filters: f})
	own := p.follow(ctx)
	out := make(chan backends.NodeStatus)
	go func() {
		defer close(out)
		defer cancel()
		for {
			var st backends.NodeStatus
			ok := true
			select {
			case m := <-in.Messages:
				var err error
				if st, ok, err = p.news(ctx, cli, m); err != nil {
					return // what has happened is not known: whoever follows looks at everything
				}
			case st = <-own:
			case <-in.Err: //nolint:errcheck // why it ended does not matter: it is followed again
				return
			}
			if !ok {
				continue
			}
			select {
			case out <- st:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// action is Docker's name of what happened.
func (p *Provider) action(m events.Message) events.Action {
	if a, ok := p.cfg.Actions[m.Action]; ok {
		return a
	}
	return m.Action
}

// news looks at what an event speaks of: what is true now counts, not what
// was when it was sent.
func (p *Provider) news(ctx context.Context, cli *client.Client, m events.Message) (st backends.NodeStatus, ok bool, err error) {
	if m.Type == events.NetworkEventType {
		st, ok = p.newsOfNetwork(ctx, cli, m.Actor.Attributes["container"])
		return st, ok, nil
	}
	ref := backends.NodeRef{Lab: m.Actor.Attributes[labelLab], Node: m.Actor.Attributes[labelNode]}
	if m.Actor.Attributes[labelHome] != p.home() {
		st, ok = p.newsForeign(ctx, cli, m.Actor.Attributes["name"])
		return st, ok, nil
	}
	if ref.Lab == "" || ref.Node == "" {
		return st, false, nil
	}
	n := p.peek(ref)
	if n == nil && p.action(m) == events.ActionDestroy {
		return backends.NodeStatus{Ref: ref, Gone: true, Boot: p.boots.Next(0, time.Unix(0, m.TimeNano))}, true, nil
	}
	if n == nil {
		n = p.node(ref)
	}
	if id := n.known().ID; id != "" && id != m.Actor.ID {
		return st, false, nil // of a container that has been replaced
	}
	res, err := cli.ContainerInspect(ctx, m.Actor.ID, client.ContainerInspectOptions{})
	switch {
	case cerrdefs.IsNotFound(err):
		return n.vanished(), true, nil
	case err != nil:
		return st, false, err
	}
	if st := res.Container.State; st != nil && st.Status == container.StateRemoving {
		return backends.NodeStatus{}, false, nil // the event of its end comes next
	}
	if err := p.serve(n); err != nil {
		return st, false, err
	}
	st = n.status(&res.Container)
	if st.Staged {
		return st, false, nil // whoever stages it knows
	}
	_ = n.off(st, &res.Container) // else the next look does
	p.checkHealth(n, &res.Container, st)
	return st, true, nil
}

// newsOfNetwork looks at a container that was taken out of a network, unless
// that goes with its end.
func (p *Provider) newsOfNetwork(ctx context.Context, cli *client.Client, id string) (st backends.NodeStatus, ok bool) {
	n := p.byID(id)
	if n == nil || !n.TryLock() { // what is being done to it is our own
		return st, false
	}
	n.Unlock()
	res, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return st, false
	}
	st = n.status(&res.Container)
	return st, st.Running && st.Severed
}

// byID finds the node of a container that is in a management network.
func (p *Provider) byID(id string) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		if k := n.known(); k.ID == id && k.Endpoint != nil {
			return n
		}
	}
	return nil
}

// vanished is the status of a node whose container is gone.
func (n *node) vanished() backends.NodeStatus {
	n.state.Lock()
	defer n.state.Unlock()
	if !n.kept.Foreign {
		n.kept.ID = ""
	}
	n.boot++
	return backends.NodeStatus{Ref: n.ref, Gone: true, Boot: n.boot}
}
