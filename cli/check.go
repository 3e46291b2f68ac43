package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"archetype/lab"
	"archetype/topology"
	"archetype/vendors"
)

func (a *app) check() *cobra.Command {
	var asJSON bool
	var vars []string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a topology file, and what is not served yet",
		Long: "Every construct of containerlab's format is read. What is wrong is an error with its place and\n" +
			"exit code 2; what is understood and has no effect is a warning, once for each construct.\n" +
			"docs/containerlab.md lists them all.",
		Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			kinds, userDiags, err := vendors.Load(a.s.Vendors())
			if err != nil {
				return err
			}
			if _, err := absolute(args[0]); err != nil {
				return err
			}
			top, diags, err := topology.Load(args[0], topology.Options{Kinds: kinds, Vars: vars})
			var bad *lab.FileError
			switch {
			case errors.As(err, &bad):
				diags = bad.Diagnostics
			case err != nil:
				return usageError{err}
			}
			if asJSON {
				if err := a.json(checkJSON(args[0], top, diags, kinds)); err != nil {
					return err
				}
			} else {
				showDiagnostics(os.Stderr, append(userDiags, diags...))
				fmt.Fprintln(a.out, checkSummary(args[0], top, diags))
				from := origins(top, kinds)
				for _, name := range slices.Sorted(maps.Keys(from)) {
					if from[name] != vendors.BuiltIn {
						fmt.Fprintf(a.out, "kind %s is what %s says\n", name, from[name])
					}
				}
			}
			if bad != nil {
				return codeError(exitUsage)
			}
			return nil
		},
	}
	varsFlag(cmd, &vars)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// origins are where the data of a lab's kinds comes from, by kind.
func origins(top *lab.Topology, kinds *vendors.Registry) map[string]string {
	out := map[string]string{}
	if top == nil {
		return out
	}
	for _, n := range top.Nodes {
		if k, ok := kinds.Kind(n.Kind); ok {
			out[k.Name] = k.Origin
		}
	}
	return out
}

// checkSummary says in a line what a check found.
func checkSummary(file string, top *lab.Topology, diags []lab.Diagnostic) string {
	bad, warnings := count(diags)
	if top == nil {
		return fmt.Sprintf("%s: %s, %s", file, plural(bad, "error"), plural(warnings, "warning"))
	}
	s := fmt.Sprintf("%s: lab %s, %s, %s", file, top.Name, plural(len(top.Nodes), "node"), plural(len(top.Links), "link"))
	if n := len(top.Outside); n > 0 {
		s += fmt.Sprintf(" and %d that leave the lab", n)
	}
	if warnings == 0 {
		return s + ": good"
	}
	return s + ": good, with " + plural(warnings, "warning")
}

func count(diags []lab.Diagnostic) (bad, warnings int) {
	for _, d := range diags {
		if d.Severity == lab.SeverityError {
			bad++
		} else {
			warnings++
		}
	}
	return bad, warnings
}

func checkJSON(file string, top *lab.Topology, diags []lab.Diagnostic, kinds *vendors.Registry) any {
	out := struct {
		File        string            `json:"file"`
		OK          bool              `json:"ok"`
		Lab         string            `json:"lab"`
		Nodes       int               `json:"nodes"`
		Links       int               `json:"links"`
		Outside     int               `json:"outside"` // links that leave the lab
		Kinds       map[string]string `json:"kinds"`   // the file of each, or built-in
		Errors      int               `json:"errors"`
		Warnings    int               `json:"warnings"`
		Diagnostics []lab.Diagnostic  `json:"diagnostics"`
	}{File: file, OK: top != nil, Diagnostics: diags, Kinds: origins(top, kinds)}
	out.Errors, out.Warnings = count(diags)
	if abs, err := filepath.Abs(file); err == nil {
		out.File = abs
	}
	if top != nil {
		out.Lab, out.Nodes, out.Links, out.Outside = top.Name, len(top.Nodes), len(top.Links), len(top.Outside)
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
