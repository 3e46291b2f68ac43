package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/internal/plain"
	"archetype/lab"
	"archetype/topology"
)

func (a *app) deploy() *cobra.Command {
	var req api.DeployRequest
	var vars []string
	var asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "deploy FILE",
		Short: "Make the lab of a topology file, or apply what changed in it",
		Long: "Deploy returns when all nodes run and all links are up, or says which are not\n" +
			"and why, with exit code 1. With --json it prints one object a line: the plan,\n" +
			"nodes, links and events as they change, and a last one of type result.",
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if req.File, err = absolute(args[0]); err != nil {
				return err
			}
			if req.Vars, err = absolutes(vars); err != nil {
				return err
			}
			req.Env = environment()
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel func()
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			f := &follower{app: a, show: a.shower(asJSON)}
			return f.run(ctx, func(e api.Engine) (*api.Job, error) {
				d, err := e.Deploy(ctx, req)
				if bad := (*api.Error)(nil); asJSON && errors.As(err, &bad) {
					_ = a.json(map[string]any{"type": "result", "ok": false, "error": bad.Message, "diagnostics": bad.Diagnostics})
				}
				if err != nil {
					return nil, err
				}
				showDiagnostics(os.Stderr, d.Warnings)
				f.show.plan(d.Plan)
				return d.Job, nil
			})
		},
	}
	cmd.Flags().StringVar(&req.Provider, "provider", "", "what runs the nodes: netns, docker, podman or libvirt (default: the file's, the kind's, or the setting)")
	cmd.Flags().StringVar(&req.Network, "network", "", "what makes the links: linuxbridge, veth or ovs")
	cmd.Flags().StringVar((*string)(&req.Policy), "drift", "", "what is done about drift: enforce, report or ask (default: as it is, or the setting)")
	varsFlag(cmd, &vars)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a stream of JSON objects, one a line")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "stop waiting after this time, such as 90s; the deploy goes on")
	return cmd
}

func (a *app) destroy() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "destroy LAB|FILE",
		Short:             "Remove a lab and everything of it",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.labName(args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := confirm(name); err != nil {
					return err
				}
			}
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) { return e.Destroy(cmd.Context(), name) })
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// labName takes a topology file for the lab in it.
func (a *app) labName(arg string) (string, error) {
	if !slices.Contains([]string{".yml", ".yaml", ".gotmpl"}, filepath.Ext(arg)) {
		return arg, nil
	}
	if st, err := os.Stat(arg); err != nil || st.IsDir() {
		return "", usagef("no topology file %s", arg)
	}
	return topology.Name(arg, topology.Options{})
}

// varsFlag is the flag for a template's variables.
func varsFlag(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringArrayVar(to, "vars", nil, "file of variables for a file that is a Go template, may be given often (default: FILE_vars.yml and the like beside it)")
}

func absolutes(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		abs, err := absolute(p)
		if err != nil {
			return nil, err
		}
		out = append(out, abs)
	}
	return out, nil
}

// confirm asks for the lab's name: a habit of typing y destroys nothing.
func confirm(name string) error {
	if !isTerminal(os.Stdin) {
		return usagef("destroying %s needs --yes when nobody can be asked", name)
	}
	fmt.Fprintf(plain.NewWriter(os.Stderr), "This removes the lab %s with all its nodes and what is in them.\nType its name to go on: ", name)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != name {
		return errors.New("nothing was destroyed")
	}
	return nil
}

func (a *app) nodes(verb lab.JobVerb) *cobra.Command {
	title := strings.ToUpper(string(verb[:1])) + string(verb[1:])
	return &cobra.Command{
		Use:               string(verb) + " LAB [NODE...]",
		Short:             title + " nodes of a lab; without names, all of them",
		Args:              args(1, -1),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				return e.SetNodes(cmd.Context(), api.NodesRequest{Lab: args[0], Nodes: args[1:], Verb: verb})
			})
		},
	}
}
