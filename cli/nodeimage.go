package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"archetype/engine/api"
)

// nodeImage lists what a node can be made from, or has it made from one.
func (a *app) nodeImage() *cobra.Command {
	return &cobra.Command{
		Use: "image LAB NODE [IMAGE]", Short: "Make a node from another image and start it; without one, list what there is",
		Long: "The images are those that the node's provider has on this machine. The lab differs from its\n" +
			"file then, until the file is deployed again.",
		Args: args(2, 3), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				f := &follower{app: a, show: a.shower(false)}
				return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
					return e.Edit(cmd.Context(), api.EditRequest{Lab: args[0], SetImages: map[string]string{args[1]: args[2]}})
				})
			}
			return a.with(cmd.Context(), func(e api.Engine) error {
				list, err := e.Images(cmd.Context(), api.ImagesRequest{Lab: args[0], Node: args[1]})
				if err != nil {
					return err
				}
				rows := [][]string{{"IMAGE", "SIZE", "KIND"}}
				for _, im := range list {
					if im.Name != "" {
						rows = append(rows, []string{im.Name, mib(im.Size), im.Kind})
					}
				}
				if len(rows) == 1 {
					fmt.Fprintf(a.out, "the provider of %s has no image on this machine\n", args[1])
					return nil
				}
				a.table(rows)
				return nil
			})
		},
	}
}
