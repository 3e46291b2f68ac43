package dockerapi

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"

	"archetype/backends"
)

// spareFolder is what is kept of a node whose container is no more, as where that
// was removed after the store had lost the node.
const spareFolder = "node folder"

// spareFolders finds those of a lab, or of all where labName is empty.
func (p *Provider) spareFolders(ctx context.Context, cli *client.Client, labName string) ([]backends.Spare, error) {
	var out []backends.Spare
	for _, l := range subfolders(p.cfg.Run) {
		if l == gateFolder || labName != "" && l != labName {
			continue
		}
		for _, n := range subfolders(filepath.Join(p.cfg.Run, l)) {
			ref := backends.NodeRef{Lab: l, Node: n}
			if !p.node(ref).known().Foreign { // somebody else's container is listed by no label
				out = append(out, backends.Spare{Type: spareFolder, Name: l + "/" + n, Lab: l, Node: n})
			}
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	// After them: a container comes after its folder.
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: p.filter(backends.NodeRef{Lab: labName})})
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, c := range list.Items {
		have[c.Labels[labelLab]+"/"+c.Labels[labelNode]] = true
	}
	spare := out[:0]
	for _, s := range out {
		if !have[s.Name] {
			spare = append(spare, s)
		}
	}
	return spare, nil
}

// subfolders are those of a folder that are called as labs and nodes may be.
func subfolders(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there is none, or nothing can be made there either
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	return out
}
