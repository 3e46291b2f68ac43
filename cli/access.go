package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/internal/attach"
	"archetype/internal/keys"
	"archetype/internal/plain"
)

func (a *app) exec() *cobra.Command {
	var stdin bool
	var user, dir string
	cmd := &cobra.Command{
		Use:   "exec LAB NODE -- CMD...",
		Short: "Run a command in a node; its exit code becomes ours",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 2 && args[2] != "--" && strings.HasPrefix(args[2], "-") {
				return usagef("%s after the node is taken for the command: write flags before LAB, as in archetype exec %s %s %s -- COMMAND", args[2], args[2], args[0], args[1])
			}
			if len(command(args)) == 0 {
				return usagef("exec takes LAB, NODE and a command: archetype exec LAB NODE -- COMMAND [ARGUMENT...]")
			}
			return nil
		},
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.ExecRequest{Command: command(args), User: user, Dir: dir, Stdout: os.Stdout, Stderr: os.Stderr}
			if stdin {
				req.Stdin = os.Stdin
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			res, err := c.Exec(cmd.Context(), args[0], args[1], req)
			if err != nil {
				return err
			}
			if res.Code != 0 {
				return codeError(res.Code)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the node belongs to the command
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "give the command our standard input")
	cmd.Flags().StringVarP(&user, "user", "u", "", "run as this user of the node")
	cmd.Flags().StringVarP(&dir, "workdir", "w", "", "run in this folder of the node")
	return cmd
}

// command is what follows the node, with or without the dashes.
func command(args []string) []string {
	switch {
	case len(args) < 3:
		return nil
	case args[2] == "--":
		return args[3:]
	}
	return args[2:]
}

func (a *app) logs() *cobra.Command {
	var opt api.LogOptions
	var raw bool
	cmd := &cobra.Command{
		Use:               "logs LAB NODE",
		Short:             "Show what a node's init and daemons said",
		Args:              args(2, 2),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			r, err := c.Logs(cmd.Context(), args[0], args[1], opt)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }()
			out := a.out
			if raw {
				out = os.Stdout
			}
			_, err = io.Copy(out, r)
			if cmd.Context().Err() != nil { // interrupted, which is how following a log ends
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&opt.Follow, "follow", "f", false, "go on with what comes, over restarts of the node")
	cmd.Flags().IntVarP(&opt.Lines, "lines", "n", 0, "only the last `N` lines")
	cmd.Flags().BoolVar(&opt.Boot, "boot", false, "only since the node's latest start")
	cmd.Flags().BoolVar(&raw, "raw", false, "every byte as the node wrote it, with what a terminal would act on")
	return cmd
}

func (a *app) console() *cobra.Command {
	return &cobra.Command{
		Use:               "console LAB NODE",
		Short:             "Open a node's console in this terminal",
		Args:              args(2, 2),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
				return usagef("a console needs a terminal; for a command use: archetype exec %s %s -- COMMAND", args[0], args[1])
			}
			key, err := keys.Parse(a.s.ConsoleKey)
			if err != nil {
				return usagef("setting console_key: %v", err)
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			fmt.Fprintf(os.Stderr, "console of %s: %s leaves it\r\n", plain.Text(args[1]), a.s.ConsoleKey)
			err = attach.Attach(cmd.Context(), c, args[0], args[1], key)
			fmt.Fprintf(os.Stderr, "\r\nleft the console of %s\r\n", plain.Text(args[1]))
			return err
		},
	}
}
