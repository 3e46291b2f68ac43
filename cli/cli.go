// Package cli is the verbs: what the workbench can do, for scripts and for
// people who know what they want.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"archetype/daemon"
	"archetype/engine/api"
	"archetype/internal/heap"
	"archetype/internal/plain"
	"archetype/lab"
	"archetype/settings"
)

// Version is set when the program is built.
var Version = "dev"

// Exit codes, which scripts rely on.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong way of calling the program.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// codeError ends the program with a code of its own, everything having been
// said already.
type codeError int

func (c codeError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Main runs the program and returns its exit code.
func Main() int {
	heap.Burst()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, root())
	if err != nil {
		showError(os.Stderr, err)
	}
	return exitCode(err)
}

// run executes the command line. Fang comes in only where help is wanted: it
// asks the terminal for its colours before it shows anything, an error as well,
// and where the workbench has just left the terminal the answer may never come.
func run(ctx context.Context, cmd *cobra.Command) error {
	cmd.Version, cmd.SilenceErrors = Version, true
	var help error
	cmd.SetHelpFunc(func(*cobra.Command, []string) {
		help = fang.Execute(ctx, root(), fang.WithVersion(Version), fang.WithoutManpage())
	})
	return errors.Join(cmd.ExecuteContext(ctx), help)
}

func exitCode(err error) int {
	var usage usageError
	var file *lab.FileError
	var code codeError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), errors.As(err, &file):
		return exitUsage
	}
	switch api.CodeOf(err) {
	case api.CodeBadFile, api.CodeUsage:
		return exitUsage
	}
	return exitFailed
}

func showError(w io.Writer, err error) {
	var code codeError
	if errors.As(err, &code) {
		return
	}
	var file *lab.FileError
	var e *api.Error
	switch {
	case errors.As(err, &file):
		showDiagnostics(w, file.Diagnostics)
	case errors.As(err, &e) && len(e.Diagnostics) > 0:
		showDiagnostics(w, e.Diagnostics)
	default:
		fmt.Fprintf(plain.NewWriter(w), "archetype: %v\n", err)
	}
}

// app is what the verbs share.
type app struct {
	s   *settings.Settings
	out io.Writer // safe for a terminal, whatever is written
}

func root() *cobra.Command {
	a := &app{out: plain.NewWriter(os.Stdout)}
	var rootless, demo bool
	cmd := &cobra.Command{
		Use:   "archetype [FILE]",
		Short: "A terminal workstation for network labs",
		Long: "Without a verb, archetype opens the workbench: on FILE, a topology file,\n" +
			"or on the labs of this machine. Labs go on running when it is left.",
		Example: "archetype examples/quickstart.clab.yml\narchetype deploy lab.clab.yml\narchetype inspect mylab --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				if near := nearVerb(cmd, args[0]); near != "" {
					return usagef("%s is not a verb; did you mean %s?", args[0], near)
				}
				return usagef("one topology file at most; got %s", strings.Join(args, " "))
			}
			return nil
		},
		SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if rootless {
				if err := os.Setenv(settings.EnvRootless, "1"); err != nil {
					return err
				}
			}
			var err error
			if a.s, err = settings.Load(); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
				if _, err := os.Stat(file); err != nil {
					return noSuchFile(cmd, file)
				}
			}
			if demo {
				return a.demo(cmd.Context(), file)
			}
			return a.workbench(cmd.Context(), file)
		},
	}
	cmd.PersistentFlags().BoolVar(&rootless, "rootless", false, "as root: run nodes in a user namespace, as for an ordinary user")
	cmd.Flags().BoolVar(&demo, "demo", false, "open the workbench on a simulated lab: nothing is made on this machine")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(a.deploy(), a.destroy(), a.inspect(), a.nodes(lab.JobStart), a.nodes(lab.JobStop), a.nodes(lab.JobRestart),
		a.exec(), a.console(), a.logs(), a.capture(), a.save(), group(a.images()), group(a.link()), group(a.node()), a.network(), a.check(), a.newLab(), a.vendors(), a.doctor(), a.jobs(), a.drift(), a.gc(), group(a.store()), a.engine())
	return cmd
}

// ownOnly is for verbs that work on files of the engine's.
func (a *app) ownOnly(cmd *cobra.Command, args []string) error {
	if err := cmd.Root().PersistentPreRunE(cmd, args); err != nil {
		return err
	}
	return daemon.Own(a.s)
}

// noSuchFile takes a file that is not there for what it more likely is.
func noSuchFile(cmd *cobra.Command, name string) error {
	if near := nearVerb(cmd, name); near != "" {
		return usagef("%s is neither a verb nor a topology file; did you mean %s?", name, near)
	}
	return usagef("no topology file %s", name)
}

// nearVerb finds the verb of a command that a word may have been meant for.
func nearVerb(cmd *cobra.Command, word string) string {
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
		}
	}
	if strings.ContainsAny(word, "./") {
		return ""
	}
	return lab.Closest(word, verbs)
}

// group makes a command that only has verbs of its own say so when it is
// called without one of them.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			if near := nearVerb(cmd, args[0]); near != "" {
				return usagef("%s has no verb %s; did you mean %s?", cmd.Name(), args[0], near)
			}
		}
		var verbs []string
		for _, c := range cmd.Commands() {
			verbs = append(verbs, c.Name())
		}
		return usagef("%s takes one of %s; %s --help says more", cmd.Name(), strings.Join(verbs, ", "), cmd.CommandPath())
	}
	return cmd
}

// args checks how many arguments there are and says what they should be.
func args(min, max int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < min || (max >= 0 && len(args) > max) {
			return usagef("write: %s%s", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()))
		}
		return nil
	}
}

// connect finds the engine or starts it. What one that is started has to say of
// no lab, such as that its store was damaged, is told whoever has asked for it.
func (a *app) connect(ctx context.Context) (*daemon.Client, error) {
	c, err := daemon.Connect(ctx, a.s)
	if err != nil || c.Began.IsZero() {
		return c, err
	}
	snap, err := c.Snapshot(ctx)
	if err != nil {
		return c, nil // what was asked for will say
	}
	for _, ev := range snap.Events {
		if ev.Lab == "" && ev.Level != api.LevelInfo && ev.Time.After(c.Began) {
			fmt.Fprintln(plain.NewWriter(os.Stderr), "archetype: "+ev.Text)
		}
	}
	return c, nil
}

// with runs f with the engine. Where nothing is left to look after, it waits
// until the engine's processes have ended.
func (a *app) with(ctx context.Context, f func(api.Engine) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	err = f(c)
	snap, serr := c.Snapshot(ctx)
	_ = c.Close()
	if serr == nil && len(snap.Labs) == 0 {
		c.Settle(ctx)
	}
	return err
}

func (a *app) json(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(plain.JSON(b.Bytes()))
	return err
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// environment is what a topology file's variables may be taken from.
func environment() map[string]string {
	out := map[string]string{}
	for _, e := range os.Environ() {
		if k, v, ok := strings.Cut(e, "="); ok {
			out[k] = v
		}
	}
	return out
}

func absolute(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", usagef("no topology file %s", file)
	}
	return abs, nil
}

// completeLabs offers the names of labs, and then of a lab's nodes.
func (a *app) completeLabs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	s, err := settings.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := daemon.Running(cmd.Context(), s)
	if err != nil { // nothing runs: nothing to offer, and nothing to start for it
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer func() { _ = c.Close() }()
	snap, err := c.Snapshot(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) == 0 {
		for _, l := range snap.Labs {
			out = append(out, l.Name)
		}
	} else if l := snap.Lab(args[0]); l != nil {
		for _, n := range l.Nodes {
			out = append(out, n.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
