package engine

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

// staged is how far a node has come through its stages, which other nodes may
// wait for, and what it waits for itself.
type staged struct {
	notBefore time.Time // when its startup delay is over
	entered   []lab.Stage
	left      []lab.Stage
	exits     int           // how often its init has ended by itself
	booted    bool          // ready by its kind's data; what is left are commands and waiting
	text      string        // what was last said of the boot by then
	commands  commandsState // of the file's exec
	order     chan struct{} // closed when the latest commands of a stage are done
}

type commandsState int

const (
	commandsToRun commandsState = iota
	commandsRunning
	commandsDone
)

// held says what the node waits for before it may enter a stage; empty when
// it may. What is said is shown on the node.
func (c *controller) held(n *node, stage lab.Stage) string {
	if stage == lab.StageCreate && n.spec.StartupDelay > 0 && !n.exists {
		if n.stage.notBefore.IsZero() {
			n.stage.notBefore = c.e.now().Add(n.spec.StartupDelay)
		}
		if c.wait(n.stage.notBefore) {
			return "startup delay of " + n.spec.StartupDelay.String()
		}
	}
	for _, x := range c.within(n) {
		if stage == lab.StageCreate && !x.exists || stage == lab.StageCreateLinks && !x.inited {
			return fmt.Sprintf("waits for %s, whose namespace it shares", x.spec.Name)
		}
	}
	for _, plan := range n.spec.Stages {
		if plan.Stage != stage {
			continue
		}
		for _, w := range plan.WaitFor {
			if !c.reached(w) {
				return fmt.Sprintf("waits for %s to have passed stage %s", w.Node, w.Stage)
			}
		}
	}
	return ""
}

// within are the lab's nodes in whose namespaces the node is to run, which must
// run before it.
func (c *controller) within(n *node) (out []*node) {
	for _, mode := range []string{n.spec.Container.NetworkMode, n.spec.Container.PIDMode} {
		if name, ok := strings.CutPrefix(mode, "container:"); ok && c.m.nodes[name] != nil && name != n.spec.Name {
			out = append(out, c.m.nodes[name])
		}
	}
	return out
}

// waits reports whether the node may have to wait for others.
func (c *controller) waits(n *node) bool { return len(n.spec.Stages) > 0 || len(c.within(n)) > 0 }

// inVain says for which node that is in error or stopped, and stays so, the node
// waits before it may be made or started; nil for none. Those that it waits for may wait, too.
func (c *controller) inVain(n *node, asked map[*node]bool) *node {
	if n.inited || asked[n] || !c.waits(n) {
		return nil
	}
	if asked == nil {
		asked = map[*node]bool{}
	}
	asked[n] = true
	for _, x := range c.within(n) {
		if x.failed() || !x.inited && x.desired == lab.WishStopped {
			return x
		}
		if y := c.inVain(x, asked); y != nil {
			return y
		}
	}
	if n.exists {
		return nil
	}
	for _, plan := range n.spec.Stages {
		for _, w := range plan.WaitFor {
			other := c.m.nodes[w.Node]
			if plan.Stage != lab.StageCreate || other == nil || c.reached(w) {
				continue
			}
			if other.failed() {
				return other
			}
			if x := c.inVain(other, asked); x != nil {
				return x
			}
		}
	}
	return nil
}

// failed reports whether the node is in error, and stays so.
func (n *node) failed() bool { return n.actual == lab.NodeError && n.settled() }

// settled reports whether nothing that is tried by itself is likely to change
// soon how the node is.
func (n *node) settled() bool {
	return n.busy == nil && !n.asking && (n.permanent || n.retries >= settleTries)
}

// holds is held that shows the reason on the node.
func (c *controller) holds(n *node, stage lab.Stage) bool {
	why := c.held(n, stage)
	if why == "" {
		return false
	}
	if n.text != why {
		n.text = why
		n.news()
	}
	return true
}

// reached reports whether a stage of a node is over.
func (c *controller) reached(w lab.WaitFor) bool {
	n := c.m.nodes[w.Node]
	if n == nil {
		return true // it is not to be waited for any more
	}
	switch w.Stage {
	case lab.StageCreate:
		return n.exists
	case lab.StageCreateLinks:
		return n.exists && n.interfacesReady() && n.actual != lab.NodePending
	case lab.StageConfigure:
		return n.actual == lab.NodeRunning
	case lab.StageHealthy:
		return n.actual == lab.NodeRunning && (n.health == backends.HealthHealthy ||
			n.health == "" && n.spec.Container.Healthcheck == nil)
	default:
		return n.stage.exits > 0
	}
}

// wakeWaiting has nodes that wait for a stage of another looked at again.
func (c *controller) wakeWaiting() {
	for _, n := range c.m.staged {
		n.look()
	}
}

// passStages notes which stages a node has entered and left, and runs the
// commands that go with that. Each runs once for each making of the node.
func (c *controller) passStages(n *node) {
	if len(n.spec.Stages) == 0 {
		return
	}
	alive := n.actual == lab.NodeStarting || n.actual == lab.NodeRunning
	running := n.actual == lab.NodeRunning
	for _, s := range []struct {
		stage         lab.Stage
		entered, left bool
	}{
		{lab.StageCreate, n.actual == lab.NodePending || n.exists, n.exists},
		{lab.StageCreateLinks, n.exists, alive},
		{lab.StageConfigure, n.stage.booted || running, running},
		{lab.StageHealthy, running, running && c.reached(lab.WaitFor{Node: n.spec.Name, Stage: lab.StageHealthy})},
		{lab.StageExit, n.stage.exits > 0, n.stage.exits > 0},
	} {
		if s.entered && !slices.Contains(n.stage.entered, s.stage) {
			n.stage.entered = append(n.stage.entered, s.stage)
			c.stageCommands(n, s.stage, false)
		}
		if s.left && !slices.Contains(n.stage.left, s.stage) {
			n.stage.left = append(n.stage.left, s.stage)
			c.stageCommands(n, s.stage, true)
		}
	}
}

// stageCommands runs a stage's commands, after those of the stages before.
func (c *controller) stageCommands(n *node, stage lab.Stage, onExit bool) {
	var todo []lab.StageExec
	for _, plan := range n.spec.Stages {
		if plan.Stage != stage {
			continue
		}
		for _, x := range plan.Exec {
			if x.OnExit == onExit {
				todo = append(todo, x)
			}
		}
	}
	if len(todo) == 0 {
		return
	}
	p, err := c.provider(n)
	if err != nil {
		return
	}
	before, done := n.stage.order, make(chan struct{})
	n.stage.order = done
	ref := c.ref(n)
	c.e.spawn(func() {
		defer close(done)
		if before != nil {
			select {
			case <-before:
			case <-c.ctx.Done():
				return
			}
		}
		for _, x := range todo {
			where, run := "in the node", func() (string, error) { return inNode(c.ctx, p, ref, x.Command) }
			if x.OnHost {
				where, run = "on the machine", func() (string, error) { return onHost(c.ctx, x.Command) }
			}
			out, err := run()
			c.post(func(c *controller) { c.tellCommand(n, fmt.Sprintf("stage %s, %s", stage, where), x.Command, out, err) })
		}
	})
}

func (c *controller) tellCommand(n *node, where, command, out string, err error) {
	hide := vendors.FactsOf(n.kind, n.spec.Name, n.config, n.spec.Env).Hide
	switch command = hide(command); {
	case err != nil:
		c.warnf(n, "%s: %s: %s", where, command, hide(reason(err)))
	case out != "":
		c.infof(n, "%s: %s: %s", where, command, hide(out))
	default:
		c.infof(n, "%s: %s: done", where, command)
	}
}

// commandTimeout bounds one command of a file.
const commandTimeout = 2 * time.Minute

// inNode runs a command line in a node; the error of one that fails holds
// what it said.
func inNode(ctx context.Context, p backends.Provider, ref backends.NodeRef, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	res, err := p.Exec(ctx, ref, backends.ExecRequest{Command: []string{"sh", "-c", line}})
	return said(append(res.Stdout, res.Stderr...), res.Code, err)
}

func onHost(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil {
		return said(out, cmd.ProcessState.ExitCode(), nil)
	}
	return said(out, 0, err)
}

// said shortens what a command printed to what fits on a line.
func said(out []byte, code int, err error) (string, error) {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(out[:min(len(out), 4*most)]), "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	switch {
	case err != nil:
		return "", err
	case code != 0:
		return "", fmt.Errorf("exit code %d: %s", code, text)
	}
	return text, nil
}

// runCommands runs the file's commands of a node that has booted, where its
// provider does not do that itself.
func (c *controller) runCommands(n *node) (done bool) {
	p, err := c.provider(n)
	if err != nil {
		return true
	}
	_, itself := p.(backends.Commander)
	lines := slices.Clone(n.spec.Exec)
	path, apply := n.kind.StartupConfig.For(n.config)
	if itself || n.spec.SuppressConfig {
		apply = ""
	}
	if apply != "" {
		lines = append([]string{apply}, lines...)
	}
	if itself || len(lines) == 0 {
		return true
	}
	switch n.stage.commands {
	case commandsDone:
		return true
	case commandsRunning:
		return false
	}
	n.stage.commands = commandsRunning
	ref, boot := c.ref(n), n.watchBoot
	c.e.spawn(func() {
		for _, line := range lines {
			out, err := inNode(c.ctx, p, ref, line)
			if c.ctx.Err() != nil {
				return
			}
			where := "exec"
			if line == apply {
				where, line = "startup-config", path
			}
			c.post(func(c *controller) { c.tellCommand(n, where, line, out, err) })
		}
		c.post(func(*controller) {
			if n.watchBoot == boot && n.stage.commands == commandsRunning {
				n.stage.commands = commandsDone
				n.touch()
			}
		})
	})
	return false
}
