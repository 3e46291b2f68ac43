package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/internal/bounded"
)

func (a *app) node() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Add a node to a running lab, remove one, or make one from another image", Args: args(1, 0)}
	remove := &cobra.Command{
		Use: "remove LAB NODE...", Short: "Remove nodes and their links", Args: args(2, -1), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				return e.Edit(cmd.Context(), api.EditRequest{Lab: args[0], RemoveNodes: args[1:]})
			})
		},
	}
	cmd.AddCommand(a.nodeAdd(), remove, a.nodeImage())
	return cmd
}

// nodeFlags are those of a node's fields, by the field.
var nodeFlags = []struct{ field, name, usage string }{
	{"kind", "kind", "what `KIND` of device it is; archetype vendors lists them"},
	{"image", "image", "`IMAGE`, where the kind needs one"},
	{"provider", "provider", "`PROVIDER` that runs it (default: the lab's or the kind's choice)"},
	{"type", "type", "variant of the kind"},
	{"cmd", "cmd", "what it runs: a `COMMAND` with its arguments"},
	{"entrypoint", "entrypoint", "what that is given to, instead of the image's"},
	{"user", "user", "`USER[:GROUP]` as whom it runs"},
	{"env", "env", "environment `NAME=VALUE`; may be repeated, as those that follow"},
	{"binds", "bind", "`PATH:/PATH/IN/THE/NODE[:ro]`"},
	{"ports", "port", "`[HOST-PORT:]NODE-PORT[/PROTOCOL]`"},
	{"exec", "exec", "`COMMAND` that is run in it once it is ready"},
}

func (a *app) nodeAdd() *cobra.Command {
	given := make([][]string, len(nodeFlags))
	var set []string
	var file string
	cmd := &cobra.Command{
		Use: "add LAB NODE [--kind KIND] [--set KEY=VALUE]...", Short: "Add a node; its cables come with archetype link connect",
		Long: "A node is described as in a topology file: by flags, of which --set serves every field that a node has\n" +
			"there, or by a file with what would stand below its name. The lab differs from its own file then, until\n" +
			"that is deployed again.",
		Example: "archetype node add mylab h9 --image alpine --cmd 'sleep 1000' --set memory=1G --set sysctls=net.ipv4.ip_forward=1\n" +
			"archetype node add mylab h9 --set 'dns={servers: [192.0.2.53]}'\n" +
			"archetype node add mylab h9 --file h9.yml",
		Args: args(2, 2), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := nodeText(file, given, set)
			if err != nil {
				return err
			}
			text.Name = args[1]
			f := &follower{app: a, show: a.shower(false)}
			return f.run(cmd.Context(), func(e api.Engine) (*api.Job, error) {
				return e.Edit(cmd.Context(), api.EditRequest{Lab: args[0], AddTexts: []api.NodeText{text}})
			})
		},
	}
	flags := cmd.Flags()
	for i, f := range nodeFlags {
		flags.StringArrayVar(&given[i], f.name, nil, f.usage)
	}
	flags.StringArrayVar(&set, "set", nil, "any other field of a node in a topology file, as `KEY=VALUE`; may be repeated")
	flags.StringVar(&file, "file", "", "`FILE` with all of it, instead of the other flags")
	return cmd
}

// nodeText is a node of a file, or of flags.
func nodeText(file string, given [][]string, set []string) (t api.NodeText, err error) {
	t.Env = environment()
	for i, f := range nodeFlags {
		for _, v := range given[i] {
			t.Fields = append(t.Fields, f.field+"="+v)
		}
	}
	t.Fields = append(t.Fields, set...)
	if file == "" {
		t.Folder, err = os.Getwd()
		return t, err
	}
	if len(t.Fields) > 0 {
		return t, usagef("--file has all of the node: leave the other flags out")
	}
	if t.File, err = absolute(file); err != nil {
		return t, err
	}
	text, err := bounded.ReadFile(t.File, maxNodeFile)
	t.Folder, t.Text = filepath.Dir(t.File), string(text)
	return t, err
}

// maxNodeFile bounds a file that describes one node, in bytes.
const maxNodeFile = 1 << 20

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
