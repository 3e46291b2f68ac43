package canvas

import (
	"fmt"
	"strings"
	"testing"

	"archetype/lab"
	"archetype/themes"
)

// A lab that does not fit with its names in boxes has them beside its dots
// wherever they find room, and not only the one that is selected.
func TestNodesHaveNamesInTheOverview(t *testing.T) {
	for name, size := range map[string][2]int{"clos28": {94, 38}, "mesh12": {78, 20}, "star30": {94, 38}} {
		l := samples()[name]
		m := canvasOf(t, l, size[0], size[1])
		if m.Level() != Overview {
			t.Fatalf("%s is looked at in %s", name, m.Level())
		}
		picture := " " + strings.ReplaceAll(plainText(m), "\n", " ") + " "
		for _, n := range l.Nodes {
			if !strings.Contains(picture, " "+n.Name+" ") {
				t.Errorf("%s: %s has no name in\n%s", name, n.Name, plainText(m))
				break
			}
		}
	}
	// Where there is no room, what needs attention has its name all the same,
	// and a click on a name is one on the node.
	l := clos(8, 32, 8)
	l.Nodes[200].Actual = lab.NodeError
	m := canvasOf(t, l, 94, 38)
	failed := l.Nodes[200].Name
	for y, line := range strings.Split(plainText(m), "\n") {
		if x := strings.Index(line, " "+failed+" "); x >= 0 {
			if node, _ := m.Hit(len([]rune(line[:x]))+2, y); node != failed {
				t.Errorf("a click on the name of %s is one on %q", failed, node)
			}
			return
		}
	}
	t.Errorf("%s failed and has no name in\n%s", failed, plainText(m))
}

// Of a row with more nodes than names find room, as many are named as do, at
// equal distances.
func TestSomeOfALongRowAreNamed(t *testing.T) {
	l := clos(4, 40, 6)
	m := canvasOf(t, l, 94, 38)
	words := map[string]bool{}
	for _, w := range strings.Fields(plainText(m)) {
		words[w] = true
	}
	var named []int
	for i := 1; i <= 40; i++ {
		if words[fmt.Sprint("leaf", i)] {
			named = append(named, i)
		}
	}
	if len(named) < 10 || named[0] != 1 {
		t.Fatalf("of the leaves %v have a name in\n%s", named, plainText(m))
	}
	for i := 2; i < len(named); i++ {
		if named[i]-named[i-1] != named[1]-named[0] {
			t.Errorf("%v are not equally far apart", named)
		}
	}
}

// Names so long that two do not stand in a row are read all the same.
func TestLongNamesAreRead(t *testing.T) {
	for _, size := range [][2]int{{78, 20}, {94, 38}} {
		l := labOf(longChain...)
		m := canvasOf(t, l, size[0], size[1])
		for _, n := range l.Nodes {
			if !strings.Contains(plainText(m), n.Name) {
				t.Errorf("%v: %s is not in\n%s", size, n.Name, plainText(m))
			}
		}
	}
}

// Where links among the nodes of a layer would lie over each other in one
// line, the nodes stand around a circle.
func TestAMeshIsACircle(t *testing.T) {
	m := canvasOf(t, mesh(12), 94, 38)
	rows := map[int]int{}
	for _, b := range m.scene(Overview).boxes {
		rows[b.y]++
	}
	for y, n := range rows {
		if n > 2 {
			t.Errorf("%d nodes stand in row %d:\n%s", n, y, plainText(m))
		}
	}
}

// Nodes that hang on others stand below them, and nowhere else.
func TestHostsStandBelowTheirLeaf(t *testing.T) {
	l := clos(8, 32, 8)
	m := canvasOf(t, l, 94, 38)
	s := m.scene(Overview)
	for i, e := range m.plan.ends {
		if a, b := s.boxes[e[0]], s.boxes[e[1]]; strings.HasPrefix(l.Links[i].B, "host") && abs(a.x-b.x) > 1 {
			t.Fatalf("%s is %d columns from %s:\n%s", l.Links[i].B, abs(a.x-b.x), l.Links[i].A, plainText(m))
		}
	}
}

// Links that together would be a grey patch are left out, which is said; one
// that is not as it should be is drawn all the same.
func TestPatchesAreLeftOut(t *testing.T) {
	l := clos(8, 32, 8)
	m := canvasOf(t, l, 94, 38)
	m.Select("host1")
	before := plainText(m)
	if !m.Hides() {
		t.Fatalf("nothing is left out of\n%s", before)
	}
	other := *l
	other.Links = append(other.Links[:0:0], l.Links...)
	broken := *other.Links[5] // between a spine and a leaf
	broken.Actual = lab.LinkError
	other.Links[5] = &broken
	m.SetLab(&other)
	if after := plainText(m); after == before {
		t.Errorf("a link in error is not drawn:\n%s", after)
	}
	if m = canvasOf(t, clos(4, 8, 2), 94, 38); m.Lines() == nil || m.Hides() {
		t.Errorf("a small fabric is left out of\n%s", plainText(m))
	}
}

// In plain ASCII links are lines of dots, those of the selection at least.
func TestOverviewInASCII(t *testing.T) {
	m := canvasOf(t, clos(4, 8, 2), 78, 20)
	m.SetGlyphs(themes.Plain)
	picture := plainText(m)
	if strings.Count(picture, ".") < 100 || !strings.Contains(picture, "@ leaf1") {
		t.Errorf("no lines, or no names, in\n%s", picture)
	}
	for _, r := range picture {
		if r > 0x7e {
			t.Fatalf("%q in ASCII", r)
		}
	}
}
