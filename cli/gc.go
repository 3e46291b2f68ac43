package cli

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"archetype/daemon"
	"archetype/engine/api"
)

// gc finds what no lab owns.
func (a *app) gc() *cobra.Command {
	var remove, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Find what is ours on this machine and no lab owns, and remove it with --remove",
		Long:  "Finds what a crash or a lost store has left behind: nodes, and the far ends, bridges and switch ports\nof links, all of them marked as Archetype's, whose lab nobody knows any more; management networks\nwithout a container; folders of labs and nodes. Nothing else is touched.",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := daemon.Connect(ctx, a.s)
			if err != nil {
				return err
			}
			strays, err := c.Strays(ctx, api.StraysRequest{Remove: remove})
			_ = c.Close()
			if err != nil {
				return err
			}
			c.Settle(ctx)
			return a.showStrays(strays, remove, asJSON)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove what is found; without it nothing is touched")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) showStrays(strays []api.Stray, remove, asJSON bool) error {
	failed := false
	for _, s := range strays {
		failed = failed || s.Error != ""
	}
	switch {
	case asJSON:
		if strays == nil {
			strays = []api.Stray{}
		}
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(strays); err != nil {
			return err
		}
	case len(strays) == 0:
		fmt.Fprintln(a.out, "nothing: all that is ours on this machine belongs to a lab")
	default:
		for _, s := range strays {
			what := fmt.Sprintf("%s %s %s", s.Backend, s.Type, path.Join(s.Lab, s.Name))
			switch {
			case s.Error != "":
				what += ": " + s.Error
			case s.Removed:
				what += ": removed"
			}
			fmt.Fprintln(a.out, what)
		}
		if !remove {
			fmt.Fprintln(a.out, "archetype gc --remove removes this")
		}
	}
	if failed {
		return codeError(exitFailed)
	}
	return nil
}
