package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/internal/replace"
	"archetype/internal/saved"
	"archetype/lab"
)

// save reads running configurations out of nodes.
func (a *app) save() *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "save LAB [NODE...]", Short: "Read nodes' running configurations and write them to files",
		Long: "How a configuration is read is in the kind's vendor file (config_extract). Without a node's name,\n" +
			"those of all running nodes whose kind says so are saved, each as NODE.cfg. The workbench keeps them, too,\n" +
			"version by version: v on a node there shows them and what differs.",
		Args: args(1, -1), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			nodes := args[1:]
			if len(nodes) == 0 {
				snap, err := c.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				l := snap.Lab(args[0])
				if l == nil {
					return noLab(snap, args[0])
				}
				for _, n := range l.Nodes {
					if n.Actual == lab.NodeRunning {
						nodes = append(nodes, n.Name)
					}
				}
			}
			if dir == "" {
				dir = args[0] + "-saved"
			}
			var errs []error
			count := 0
			for _, name := range nodes {
				cfg, err := c.Config(cmd.Context(), api.ConfigRequest{Lab: args[0], Node: name})
				if len(args) == 1 && api.CodeOf(err) == api.CodeUsage {
					continue // its kind has none to be read
				}
				if err == nil {
					_, _, err = saved.Keep(a.s.Configs(), args[0], name, cfg.Text, time.Now())
				}
				if err == nil && dir == "-" {
					fmt.Fprint(a.out, cfg.Text)
					count++
					continue
				}
				if err == nil {
					if err = os.MkdirAll(dir, 0o700); err == nil {
						err = replace.With(filepath.Join(dir, name+".cfg"), []byte(cfg.Text))
					}
				}
				if err != nil {
					errs = append(errs, err)
					continue
				}
				count++
				fmt.Fprintln(a.out, filepath.Join(dir, name+".cfg"))
			}
			if count == 0 && len(errs) == 0 {
				return api.Errorf(api.CodeConflict, "lab %s has no running node whose kind says how its configuration is read", args[0])
			}
			return errors.Join(errs...)
		}}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "the folder to write to, instead of LAB-saved; - prints")
	return cmd
}
