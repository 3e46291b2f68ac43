package cli

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"archetype/engine/api"
)

// gc finds what no lab owns.
func (a *app) gc() *cobra.Command {
	var remove, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Find what is ours on this machine and no lab owns, and remove it with --remove",
		Long:  "Finds what a crash or a lost store has left behind, all of it marked as this Archetype's, whose lab\nnobody knows any more, or which its lab does not know: nodes; links with their far ends,\nbridges and switch ports; interfaces and taps of the machine; tunnels; management networks without a container; folders of labs and nodes; holders\nthat are out of reach. Nothing else is touched. What cannot be judged, since its backend does not\nanswer or it does not say whose it is, is left alone and told of, and the exit code is 1.",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			strays, err := c.Strays(ctx, api.StraysRequest{Remove: remove})
			_ = c.Close()
			if err != nil {
				return err
			}
			c.Settle(ctx)
			var unseen []string
			for _, u := range strays.Unseen {
				unseen = append(unseen, u.Backend)
			}
			if len(unseen) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "not looked at, since nothing is known to have been made with it and it does not answer here: %s\n", strings.Join(unseen, ", "))
			}
			return a.showStrays(strays.Found, remove, asJSON)
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
			what := strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Backend, s.Type, path.Join(s.Lab, s.Name)))
			switch {
			case s.Error != "":
				what += ": " + s.Error
			case s.Removed:
				what += ": removed"
			}
			fmt.Fprintln(a.out, what)
		}
		if !remove && slices.ContainsFunc(strays, func(s api.Stray) bool { return s.Error == "" }) {
			fmt.Fprintln(a.out, "archetype gc --remove removes this")
		}
	}
	if failed {
		return codeError(exitFailed)
	}
	return nil
}
