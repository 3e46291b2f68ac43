package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/lab"
)

// drift shows what is otherwise than wanted though nobody asked for it, and
// says what is to be done about it.
func (a *app) drift() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drift [LAB]",
		Short: "What is otherwise than wanted though nobody asked for it, and what is done about it",
		Long: "A node that died, was removed, paused or renamed, a link that came apart: that is\n" +
			"drift. A lab's policy says what is done about it:\n\n" +
			"  enforce  it is set right; again and again, later and later\n" +
			"  report   it is shown, and left alone until somebody acts\n" +
			"  ask      it is left alone, and the workbench asks\n\n" +
			"The setting drift is for labs that say nothing else.",
		Args:              args(0, 1),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e api.Engine) error {
				snap, err := e.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				if len(args) == 1 && snap.Lab(args[0]) == nil {
					return noLab(snap, args[0])
				}
				list := []driftOut{}
				for _, l := range snap.Labs {
					if len(args) == 0 || l.Name == args[0] {
						list = append(list, driftOf(l))
					}
				}
				if asJSON {
					return a.json(list)
				}
				a.showDrift(list)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(a.driftPolicy(),
		a.driftDo("fix", "Set right what has drifted: nodes, links, or all of a lab", false),
		a.driftDo("leave", "Leave what has drifted as it is, and be asked no more", true))
	return cmd
}

func (a *app) driftPolicy() *cobra.Command {
	return &cobra.Command{
		Use: "policy LAB enforce|report|ask", Short: "Say what is done about drift in a lab", Args: args(2, 2), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e api.Engine) error {
				return e.SetPolicy(cmd.Context(), api.PolicyRequest{Lab: args[0], Policy: lab.Policy(args[1])})
			})
		},
	}
}

func (a *app) driftDo(name, short string, leave bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " LAB [NODE... | A:IF B:IF...]", Short: short, Args: args(1, -1), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.DriftRequest{Lab: args[0], Leave: leave}
			var ends []lab.Endpoint
			for _, arg := range args[1:] {
				if !strings.Contains(arg, ":") {
					req.Nodes = append(req.Nodes, arg)
					continue
				}
				end, err := lab.ParseEndpoint(arg)
				if err != nil {
					return usageError{err}
				}
				ends = append(ends, end)
			}
			if len(ends)%2 == 1 {
				return usagef("%s: a link is named by both its ends, A:IF B:IF", ends[len(ends)-1])
			}
			for i := 0; i < len(ends); i += 2 {
				req.Links = append(req.Links, [2]lab.Endpoint{ends[i], ends[i+1]})
			}
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) { return e.SetDrift(cmd.Context(), req) })
		},
	}
}

// The names in these are a contract that scripts rely on.
type (
	driftOut struct {
		Lab    string      `json:"lab"`
		Policy lab.Policy  `json:"policy"`
		Nodes  []driftItem `json:"nodes"`
		Links  []driftItem `json:"links"`
		Extra  []string    `json:"extra"`
	}
	driftItem struct {
		Name string `json:"name"`
		api.Drift
		Tries   int       `json:"tries"`
		NextTry time.Time `json:"next_try,omitzero"`
		about   string
	}
)

func driftOf(l *api.Lab) driftOut {
	out := driftOut{Lab: l.Name, Policy: l.Policy, Nodes: []driftItem{}, Links: []driftItem{}, Extra: append([]string{}, l.Extra...)}
	now := time.Now()
	for _, n := range l.Nodes {
		if n.Drift.What != "" {
			out.Nodes = append(out.Nodes, driftItem{n.Name, n.Drift, n.Retries, n.RetryAt, n.About(now)})
		}
	}
	for _, k := range l.Links {
		if k.Drift.What != "" {
			out.Links = append(out.Links, driftItem{k.A + " -- " + k.B, k.Drift, k.Retries, k.RetryAt, k.About(now)})
		}
	}
	return out
}

func (a *app) showDrift(list []driftOut) {
	for _, l := range list {
		fmt.Fprintf(a.out, "%s: %s\n", l.Lab, l.Policy)
		rows := [][]string{}
		for _, it := range append(l.Nodes, l.Links...) {
			rows = append(rows, []string{"  " + it.Name, it.about})
		}
		for _, name := range l.Extra {
			rows = append(rows, []string{"  " + name, "bears the lab's label and is no part of it; archetype gc --remove removes it"})
		}
		if len(rows) == 0 {
			rows = [][]string{{"  nothing has drifted"}}
		}
		a.table(rows)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "No lab is deployed.")
	}
}
