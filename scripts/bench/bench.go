package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// bench is what the numbers share.
type bench struct {
	ctx                 context.Context
	program, dir        string
	nodes, mininetNodes int

	rows    []row
	failed  []string
	cleanup []func()
	floors  map[string]floor // by network
	own     map[string]floor // ours, by network
	start   processStart
}

// row is one line of the table.
type row struct{ what, ours, yardstick, ratio, goal string }

func (b *bench) row(what, ours, yardstick, ratio, goal string) {
	b.rows = append(b.rows, row{what, ours, yardstick, ratio, goal})
}

// goal is reached or missed.
func goal(text string, reached bool) string {
	if reached {
		return text + ": reached"
	}
	return text + ": missed"
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tYARDSTICK\tRATIO\tGOAL")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.what, r.ours, r.yardstick, r.ratio, r.goal)
	}
	_ = w.Flush()
}

func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }

// lab is the name of the ring, and its file in the bench's folder.
func (b *bench) lab() string { return fmt.Sprintf("scale-%d", b.nodes) }

func (b *bench) file() string { return filepath.Join(b.dir, b.lab()+".clab.yml") }

// writeRing has the program make a ring of the size asked for.
func (b *bench) writeRing() error {
	_, err := b.timed("new", "ring", fmt.Sprint(b.nodes), "--name", b.lab(), "--output", b.file())
	return err
}

func (b *bench) home() string { return filepath.Join(b.dir, "home") }

// command is one of the program in the bench's own home.
func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, b.program, args...)
	cmd.Env = append(os.Environ(), "ARCHETYPE_HOME="+b.home(), "TERM=xterm-256color")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// timed runs the program and tells how long it took.
func (b *bench) timed(args ...string) (time.Duration, error) { return timed(b.command(args...)) }

func timed(cmd *exec.Cmd) (time.Duration, error) {
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text[max(0, len(text)-500):])
	}
	return time.Since(began), nil
}

// tidy takes away all that was made, whatever happened.
func (b *bench) tidy() error {
	for i := len(b.cleanup) - 1; i >= 0; i-- {
		b.cleanup[i]()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b.ctx = ctx
	var err error
	if _, serr := os.Stat(b.home()); serr == nil {
		if out, derr := b.command("destroy", b.lab(), "--yes").CombinedOutput(); derr != nil && !bytes.Contains(out, []byte("no lab")) {
			err = fmt.Errorf("destroy %s: %w: %s", b.lab(), derr, out)
		}
	}
	if err != nil {
		return errors.Join(err, fmt.Errorf("the lab's home is kept: %s", b.dir))
	}
	return os.RemoveAll(b.dir)
}
