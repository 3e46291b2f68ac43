package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/lab"
)

func (a *app) node() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Add a node to a running lab, or remove one", Args: args(1, 0)}
	var n lab.Node
	var env []string
	add := &cobra.Command{
		Use: "add LAB NODE --kind KIND", Short: "Add a node; its cables come with archetype link connect",
		Long: "The lab differs from its file then, until the file is deployed again.",
		Args: args(2, 2), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[1]
			for _, e := range env {
				k, v, ok := strings.Cut(e, "=")
				if !ok || k == "" {
					return usagef("--env %s: write NAME=VALUE", e)
				}
				if n.Env == nil {
					n.Env = map[string]string{}
				}
				n.Env[k] = v
			}
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				return e.Edit(cmd.Context(), api.EditRequest{Lab: args[0], AddNodes: []lab.Node{n}})
			})
		},
	}
	add.Flags().StringVar(&n.Kind, "kind", "linux", "what kind of device it is; archetype vendors lists them")
	add.Flags().StringVar(&n.Image, "image", "", "image, where the kind needs one")
	add.Flags().StringVar(&n.Provider, "provider", "", "what runs it (default: the lab's or the kind's choice)")
	add.Flags().StringVar(&n.Type, "type", "", "variant of the kind")
	add.Flags().StringArrayVar(&env, "env", nil, "environment `NAME=VALUE`; may be repeated")
	remove := &cobra.Command{
		Use: "remove LAB NODE...", Short: "Remove nodes and their links", Args: args(2, -1), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				return e.Edit(cmd.Context(), api.EditRequest{Lab: args[0], RemoveNodes: args[1:]})
			})
		},
	}
	cmd.AddCommand(add, remove)
	return cmd
}

func (a *app) network() *cobra.Command {
	return &cobra.Command{
		Use: "network LAB NETWORK", Short: "Move a running lab's links to another network, one at a time",
		Long: "The nodes run on meanwhile. For each link it is said for how long nothing crossed.\n" +
			"If a link cannot be moved, those that were moved go back.",
		Example: "archetype network mylab veth",
		Args:    args(2, 2), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				asked := time.Now()
				j, err := e.SetNetwork(cmd.Context(), api.NetworkRequest{Lab: args[0], Network: args[1]})
				if err == nil && j.Created.Before(asked) {
					fmt.Fprintf(a.out, "lab %s is being moved to %s since %s: this follows it\n", args[0], args[1], clock(j.Created))
				}
				return j, err
			})
		},
	}
}
