package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"archetype/topology"
)

// strayFolders are folders in that of the labs which belong to no node of a
// lab, relative to it: what is left of labs that nobody knows, and of nodes
// that a lab has no more. What is no folder, or is called as no lab or node can
// be, somebody else has put there.
func strayFolders(dir string, nodes map[string][]string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	labs, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, l := range labs {
		have, known := nodes[l.Name()]
		if !known {
			if l.IsDir() && topology.IsLabName(l.Name()) {
				out = append(out, l.Name())
			}
			continue
		}
		entries, err := os.ReadDir(filepath.Join(dir, l.Name()))
		if err != nil {
			continue // it goes at the moment
		}
		for _, n := range entries {
			// What begins with a point is the lab's own, such as logs, and no name either.
			if n.IsDir() && topology.CheckNodeName(n.Name()) == nil && !slices.Contains(have, n.Name()) {
				out = append(out, filepath.Join(l.Name(), n.Name()))
			}
		}
	}
	return out, nil
}
