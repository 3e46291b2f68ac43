package topology_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"archetype/topology"
)

// Every shape is a file that can be read, with as many nodes and links as its
// numbers say.
func TestShapesAreGoodFiles(t *testing.T) {
	for _, c := range []struct {
		shape        string
		numbers      []int
		nodes, links int
	}{
		{"line", []int{1}, 1, 0}, {"line", []int{5}, 5, 4}, {"ring", []int{3}, 3, 3}, {"ring", []int{40}, 40, 40}, {"star", []int{60}, 61, 60},
		{"mesh", []int{12}, 12, 66}, {"clos", []int{2, 4, 1}, 10, 12}, {"clos", []int{4, 12, 0}, 16, 48}, {"tree", []int{3, 2}, 7, 6}, {"tree", []int{1, 2}, 1, 0},
	} {
		s, ok := topology.ShapeNamed(c.shape)
		if !ok {
			t.Fatalf("no %s", c.shape)
		}
		text, err := s.File("made", "linux", c.numbers)
		if err != nil {
			t.Errorf("%s %v: %v", c.shape, c.numbers, err)
			continue
		}
		file := filepath.Join(t.TempDir(), "made.clab.yml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		top, warnings, err := topology.Load(file, topology.Options{})
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s %v: %v %v\n%s", c.shape, c.numbers, err, warnings, text)
			continue
		}
		if top.Name != "made" || len(top.Nodes) != c.nodes || len(top.Links) != c.links {
			t.Errorf("%s %v: lab %s with %d nodes and %d links", c.shape, c.numbers, top.Name, len(top.Nodes), len(top.Links))
		}
	}
}

func TestShapesRefuse(t *testing.T) {
	ring, _ := topology.ShapeNamed("ring")
	tree, _ := topology.ShapeNamed("tree")
	for _, c := range []struct {
		s          topology.Shape
		name, kind string
		numbers    []int
	}{
		{ring, "made", "linux", []int{2}}, {ring, "made", "linux", []int{1001}}, {ring, "made", "linux", nil}, {ring, "made", "linux", []int{3, 3}},
		{ring, "no good!", "linux", []int{3}}, {ring, "", "linux", []int{3}}, {ring, "made", "linux}\nx: {", []int{3}}, {ring, "made", "", []int{3}},
		{tree, "made", "linux", []int{8, 20}},
	} {
		if _, err := c.s.File(c.name, c.kind, c.numbers); err == nil {
			t.Errorf("taken: %s", fmt.Sprint(c.s.Name, c.name, c.kind, c.numbers))
		}
	}
}
