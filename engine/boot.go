package engine

import (
	"context"
	"time"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

const probeInterval = time.Second

// bootReport is what a boot watch tells the controller.
type bootReport struct {
	percent int
	text    string
	line    string // that earned it
	ready   bool
	failed  string // a command of the file that did, and why
	note    bool   // the text is to be shown though nothing was earned
	err     error
}

// watchBoot follows a starting node's log until its kind calls it ready.
func (c *controller) watchBoot(n *node) {
	p, err := c.provider(n)
	if err != nil {
		return
	}
	timeout := time.Duration(n.kind.Readiness.Timeout)
	if timeout == 0 {
		timeout = c.e.defaults().BootTimeout
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	n.watch = cancel
	n.watchBoot++
	id := n.watchBoot
	report := func(r bootReport) {
		c.post(func(c *controller) {
			if n.watch != nil && n.watchBoot == id {
				c.booting(n, r)
			}
		})
	}
	w := bootWatch{provider: p, ref: c.ref(n), kind: n.kind, report: report, timeout: timeout, address: either(n.mgmt4, n.mgmt6),
		facts: vendors.FactsOf(n.kind, n.spec.Name, n.config, n.spec.Env)}
	go w.run(ctx)
}

// bootOver ends a boot watch, if one is under way.
func (c *controller) bootOver(n *node) {
	if n.watch != nil {
		n.watch()
		n.watch = nil
	}
	n.stage.booted, n.stage.commands = false, commandsToRun
}

func (c *controller) stopWatches() {
	for _, n := range c.m.nodeOrder {
		c.bootOver(n)
	}
}

// booting takes a report of a boot watch in.
func (c *controller) booting(n *node, r bootReport) {
	if n.actual != lab.NodeStarting {
		return
	}
	if r.failed != "" {
		c.warnf(n, "exec: %s", r.failed)
	}
	if r.percent > n.progress || r.note {
		n.progress, n.text, n.line = max(n.progress, r.percent), r.text, r.line
		n.news()
	}
	switch {
	case r.err != nil:
		c.fail(n, r.err)
		n.touch()
	case r.ready:
		c.bootOver(n)
		n.stage.booted, n.stage.commands = true, commandsToRun
		if r.text != "" {
			n.text = r.text
		}
		n.stage.text = n.text
		n.touch()
	}
}

// settleBoot calls a node that is ready by its kind's data running, once its
// commands are done and what it waits for has come to pass.
func (c *controller) settleBoot(n *node) {
	if !c.runCommands(n) || c.holds(n, lab.StageConfigure) || c.holds(n, lab.StageHealthy) {
		return
	}
	if n.expectsHealth() {
		if n.text != unchecked {
			n.text = unchecked
			n.news()
		}
		return
	}
	n.text = n.stage.text // and not what it has waited for since
	took := c.e.now().Sub(n.since)
	n.retryAt, n.permanent = time.Time{}, false
	after := ""
	if !n.told { // else when it began is hearsay
		exact := 10 * time.Millisecond
		if took < exact {
			exact = time.Millisecond
		}
		after = " after " + took.Round(exact).String()
		if err := c.e.boots.add(n, took); err != nil {
			c.e.log.Warn("boot times", "error", err)
		}
	}
	c.moveNode(n, lab.NodeRunning)
	c.infof(n, "running%s", after)
	n.touch()
}

const unchecked = "its health check has not succeeded yet"

// expectsHealth reports whether a check will say when the node is ready.
func (n *node) expectsHealth() bool {
	h := n.spec.Container.Healthcheck
	asked := h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" && n.image
	if n.kind != nil && n.kind.Readiness.Probe == "health" {
		return n.health != backends.HealthHealthy
	}
	return n.health == backends.HealthStarting || n.health == backends.HealthUnhealthy || n.health == "" && asked
}
