package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"archetype/lab"
	"archetype/topology"
	"archetype/vendors"
)

func (a *app) check() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a topology file, and what is not served yet",
		Args:  args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			kinds, userDiags, err := vendors.Load(a.s.Vendors())
			if err != nil {
				return err
			}
			top, diags, err := topology.Load(args[0], topology.Options{Kinds: kinds})
			var bad *lab.FileError
			switch {
			case errors.As(err, &bad):
				diags = bad.Diagnostics
			case err != nil:
				return usageError{err}
			}
			if asJSON {
				if err := a.json(checkJSON(args[0], top, diags)); err != nil {
					return err
				}
			} else {
				showDiagnostics(os.Stderr, append(userDiags, diags...))
				if bad == nil {
					fmt.Fprintf(a.out, "%s: lab %s, %d nodes, %d links: good\n", args[0], top.Name, len(top.Nodes), len(top.Links))
				}
			}
			if bad != nil {
				return codeError(exitUsage)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func checkJSON(file string, top *lab.Topology, diags []lab.Diagnostic) any {
	out := struct {
		File        string           `json:"file"`
		OK          bool             `json:"ok"`
		Lab         string           `json:"lab"`
		Nodes       int              `json:"nodes"`
		Links       int              `json:"links"`
		Diagnostics []lab.Diagnostic `json:"diagnostics"`
	}{File: file, OK: top != nil, Diagnostics: diags}
	if abs, err := filepath.Abs(file); err == nil {
		out.File = abs
	}
	if top != nil {
		out.Lab, out.Nodes, out.Links = top.Name, len(top.Nodes), len(top.Links)
	}
	if out.Diagnostics == nil {
		out.Diagnostics = []lab.Diagnostic{}
	}
	return out
}

func (a *app) vendors() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "vendors",
		Short: "List the kinds of devices that are known",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			kinds, diags, err := vendors.Load(a.s.Vendors())
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(kinds.Kinds())
			}
			showDiagnostics(os.Stderr, diags)
			rows := [][]string{{"KIND", "ALIASES", "PROVIDERS", "FROM", "ABOUT"}}
			for _, k := range kinds.Kinds() {
				rows = append(rows, []string{k.Name, strings.Join(k.Aliases, ","), strings.Join(k.Providers, ","), k.Origin, k.Description})
			}
			a.table(rows)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
