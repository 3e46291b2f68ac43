package cli

import (
	"github.com/spf13/cobra"

	"archetype/daemon"
)

// engine is what the holder starts, and a way to look at it.
func (a *app) engine() *cobra.Command {
	var serve bool
	cmd := &cobra.Command{
		Use:    daemon.EngineVerb,
		Short:  "Run the engine; it is started by itself when it is needed",
		Hidden: true,
		Args:   args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if !serve {
				return usagef("the engine is started by itself; archetype doctor says whether it runs")
			}
			return daemon.Serve(a.s, Version)
		},
	}
	cmd.Flags().BoolVar(&serve, "serve", false, "serve until nobody needs the engine")
	return cmd
}
