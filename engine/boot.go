package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

const (
	defaultBootTimeout = 5 * time.Minute
	probeInterval      = time.Second
	maxLogLine         = 4096 // bytes; what is longer is no boot message
)

// bootReport is what a boot watch tells the controller.
type bootReport struct {
	percent int
	text    string
	ready   bool
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
	w := bootWatch{provider: p, ref: c.ref(n), kind: n.kind, report: report}
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
	if r.percent > n.progress {
		n.progress, n.text = r.percent, r.text
		n.moved = true
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
			n.text, n.moved = unchecked, true
		}
		return
	}
	took := c.e.now().Sub(n.since)
	n.retryAt, n.permanent = time.Time{}, false
	c.moveNode(n, lab.NodeRunning)
	c.infof(n, "running after %s", took.Round(10*time.Millisecond))
	n.touch()
}

const unchecked = "its health check has not succeeded yet"

// expectsHealth reports whether a check will say when the node is ready.
func (n *node) expectsHealth() bool {
	h := n.spec.Container.Healthcheck
	asked := h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" && n.image
	return n.health == backends.HealthStarting || n.health == backends.HealthUnhealthy || n.health == "" && asked
}

// bootWatch is one watch over one boot.
type bootWatch struct {
	provider backends.Provider
	ref      backends.NodeRef
	kind     *vendors.Kind
	report   func(bootReport)
	last     []string // the latest lines, for the error that explains
}

func (w *bootWatch) run(ctx context.Context) {
	boot := vendors.NewBoot(w.kind)
	if boot.Ready() {
		w.report(bootReport{percent: 100, ready: true})
		return
	}
	probe := make(chan struct{}, 1)
	if len(w.kind.Readiness.Command) > 0 {
		go w.probe(ctx, probe)
	}
	lines := make(chan string)
	go w.read(ctx, lines)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				lines = nil
				continue
			}
			w.remember(line)
			if boot.Line(line) || boot.Ready() {
				w.report(bootReport{percent: boot.Percent(), text: boot.Text(), ready: boot.Ready()})
			}
			if boot.Ready() {
				return
			}
		case <-probe:
			w.report(bootReport{percent: 100, text: boot.Text(), ready: true})
			return
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				w.report(bootReport{err: w.late()})
			}
			return
		}
	}
}

// read sends the log of this boot line by line, and looks for it again when
// the stream ends early.
func (w *bootWatch) read(ctx context.Context, lines chan<- string) {
	defer close(lines)
	for {
		r, err := w.provider.Logs(ctx, w.ref, backends.LogOptions{Follow: true, Boot: true})
		if err == nil {
			err = w.scan(ctx, r, lines)
			_ = r.Close()
		}
		if errors.Is(err, backends.ErrUnsupported) || !pause(ctx, probeInterval) {
			return
		}
	}
}

func (w *bootWatch) scan(ctx context.Context, r io.Reader, lines chan<- string) error {
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, tooLong, err := br.ReadLine()
		if err != nil {
			return err
		}
		for tooLong && err == nil {
			_, tooLong, err = br.ReadLine()
		}
		select {
		case lines <- string(line):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// probe runs the kind's readiness command until it succeeds.
func (w *bootWatch) probe(ctx context.Context, ready chan<- struct{}) {
	r := w.kind.Readiness
	var want *regexp.Regexp
	if r.Pattern != "" {
		want, _ = regexp.Compile(r.Pattern) // checked when the kind was loaded
	}
	every := time.Duration(r.Interval)
	if every <= 0 {
		every = probeInterval
	}
	for {
		res, err := w.provider.Exec(ctx, w.ref, backends.ExecRequest{Command: r.Command})
		if err == nil && res.Code == 0 && (want == nil || want.Match(res.Stdout)) {
			ready <- struct{}{}
			return
		}
		if !pause(ctx, every) {
			return
		}
	}
}

func (w *bootWatch) remember(line string) {
	const keep = 3
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	if len(w.last) == keep {
		w.last = append(w.last[:0], w.last[1:]...)
	}
	w.last = append(w.last, line)
}

// late explains a boot that did not end in time.
func (w *bootWatch) late() error {
	want := "its command to succeed: " + strings.Join(w.kind.Readiness.Command, " ")
	if w.kind.Readiness.Pattern != "" && len(w.kind.Readiness.Command) == 0 {
		want = fmt.Sprintf("a log line that matches %q", w.kind.Readiness.Pattern)
	}
	said := "its log is empty"
	if len(w.last) > 0 {
		said = "its log ends with: " + vendors.Clean(strings.Join(w.last, " / "))
	}
	return fmt.Errorf("not ready in time: waited for %s; %s", want, said)
}
