package dockerapi

import (
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"archetype/backends"
)

// Our own labels on containers and networks. The engine's labels of a node
// come with its configuration.
const (
	labelLab  = "archetype.lab"
	labelNode = "archetype.node"
	labelHome = "archetype.home"     // whose it is: one machine may have several of us
	labelHash = "archetype.hash"     // of what the container was made from
	labelName = "clab-node-longname" // the name that the container was made with
)

// containerName is containerlab's by default, so that scripts find it: with
// the file's prefix, the lab and the node.
func containerName(c backends.NodeConfig) string {
	switch {
	case c.Prefix == nil:
		return "clab-" + c.Ref.Lab + "-" + c.Ref.Node
	case *c.Prefix == "":
		return c.Ref.Node
	case *c.Prefix == "__lab-name":
		return c.Ref.Lab + "-" + c.Ref.Node
	default:
		return *c.Prefix + "-" + c.Ref.Lab + "-" + c.Ref.Node
	}
}

// labels are the topology's, containerlab's and ours, of which the later win.
func (p *Provider) labels(c backends.NodeConfig, management string) map[string]string {
	out := maps.Clone(c.Node.Labels)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, map[string]string{
		"containerlab": c.Ref.Lab, "clab-node-name": c.Ref.Node, labelName: containerName(c),
		"clab-node-kind": c.Node.Kind, "clab-node-type": c.Node.Type, "clab-node-group": c.Node.Group,
		"clab-node-lab-dir": p.own(c.Ref), "clab-topo-file": c.File, "clab-owner": owner(),
	})
	if management != "" {
		out["clab-mgmt-net-bridge"] = management
	}
	maps.Copy(out, c.Labels)
	out[labelLab], out[labelNode], out[labelHome] = c.Ref.Lab, c.Ref.Node, p.home()
	return out
}

// labelVariables tell a node its labels, as containerlab's CLAB_LABEL_NAME do.
func labelVariables(labels map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if strings.HasPrefix(name, "archetype.") {
			continue
		}
		variable := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
				return unicode.ToUpper(r)
			case strings.ContainsRune("-+./", r):
				return '_'
			}
			return -1
		}, name)
		out = append(out, "CLAB_LABEL_"+variable+"="+labels[name])
	}
	return out
}

// home tells our containers from those of another one of us.
func (p *Provider) home() string { return filepath.Clean(p.cfg.Run) }

func owner() string {
	for _, name := range []string{"SUDO_USER", "USER"} {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
