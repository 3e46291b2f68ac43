package canvas

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/lab"
)

func labOf(links ...string) *api.Lab {
	l := &api.Lab{}
	seen := map[string]bool{}
	node := func(name string) {
		if !seen[name] {
			seen[name] = true
			l.Nodes = append(l.Nodes, &api.Node{Name: name, Kind: "linux", Actual: lab.NodeRunning, Desired: lab.WishRunning})
		}
	}
	count := map[string]int{}
	for _, k := range links {
		a, b, two := strings.Cut(k, "-")
		node(a)
		if !two {
			continue
		}
		node(b)
		count[a]++
		ea := fmt.Sprintf("%s:eth%d", a, count[a])
		count[b]++
		eb := fmt.Sprintf("%s:eth%d", b, count[b])
		l.Links = append(l.Links, &api.Link{A: ea, B: eb, Actual: lab.LinkUp, Carrier: lab.CarrierOn})
	}
	return l
}

func ring(n int) *api.Lab {
	var k []string
	for i := range n {
		k = append(k, fmt.Sprintf("r%d-r%d", i+1, (i+1)%n+1))
	}
	return labOf(k...)
}

func clos(spines, leaves, hosts int) *api.Lab {
	var k []string
	for l := range leaves {
		for s := range spines {
			k = append(k, fmt.Sprintf("spine%d-leaf%d", s+1, l+1))
		}
		for h := range hosts {
			k = append(k, fmt.Sprintf("leaf%d-host%d", l+1, l*hosts+h+1))
		}
	}
	return labOf(k...)
}

func mesh(n int) *api.Lab {
	var k []string
	for i := range n {
		for j := range i {
			k = append(k, fmt.Sprintf("m%d-m%d", j+1, i+1))
		}
	}
	return labOf(k...)
}

func star(n int) *api.Lab {
	var k []string
	for i := range n - 1 {
		k = append(k, fmt.Sprintf("hub-s%d", i+1))
	}
	return labOf(k...)
}

var longChain = []string{"core_router_of_the_frankfurt_datacentre_one-core_router_of_the_frankfurt_datacentre_two",
	"core_router_of_the_frankfurt_datacentre_two-access_switch_of_building_17_floor_3_east",
	"access_switch_of_building_17_floor_3_east-access_switch_of_building_17_floor_3_west"}

var quickstart = []string{"r1-sw1", "r1-sw2", "pc1-sw1", "pc2-sw1", "pc3-sw2"}

func samples() map[string]*api.Lab {
	return map[string]*api.Lab{
		"one": labOf("only"), "pair": labOf("a-b"), "triangle": labOf("r1-r2", "r2-r3", "r3-r1"),
		"quickstart": labOf(quickstart...), "star": labOf("hub-a", "hub-b", "hub-c", "hub-d", "hub-e"),
		"chain": labOf("a-b", "b-c", "c-d", "d-e"), "ring6": ring(6), "ring20": ring(20), "ring200": ring(200),
		"clos16": clos(2, 4, 2), "clos40": clos(4, 8, 3), "clos300": clos(4, 24, 11),
		"double": labOf("a-b", "a-b", "a-b"), "apart": labOf("a-b", "c-d", "lonely", "alone"),
		"mesh": labOf("a-b", "a-c", "a-d", "b-c", "b-d", "c-d"), "mesh12": mesh(12), "star30": star(30), "clos28": clos(4, 8, 2),
		"wide": clos(8, 32, 8), "long names": labOf(longChain...),
	}
}

func plainText(m *Model) string { return ansi.Strip(strings.Join(m.Lines(), "\n")) }

// Every line of every picture has the width of the view, whatever its size.
// With SHOW=80x24 the pictures of that size are printed, to be looked at.
func TestPicturesFillTheView(t *testing.T) {
	for name, l := range samples() {
		for _, size := range []string{"80x24", "38x12", "158x44", "1x1"} {
			var w, h int
			if _, err := fmt.Sscanf(size, "%dx%d", &w, &h); err != nil {
				t.Fatal(err)
			}
			m := canvasOf(t, l, w, h)
			lines := m.Lines()
			if len(lines) != h {
				t.Errorf("%s %s: %d lines", name, size, len(lines))
			}
			for i, line := range lines {
				if got := ansi.StringWidth(line); got != w {
					t.Errorf("%s %s: line %d is %d wide", name, size, i, got)
				}
			}
			if os.Getenv("SHOW") == size {
				fmt.Printf("== %s, level %d\n%s\n", name, m.Level(), plainText(m))
			}
		}
	}
}

// A link from a node to itself has no line either.
func TestLinksToItselfShow(t *testing.T) {
	l := labOf("a-b")
	l.Links = append(l.Links, &api.Link{A: "a:eth8", B: "a:eth9", Actual: lab.LinkUp, Carrier: lab.CarrierOn})
	m := canvasOf(t, l, 80, 24)
	if text := plainText(m); strings.Count(text, "↺") != 1 {
		t.Errorf("it does not show:\n%s", text)
	}
}

// Where names are too long for boxes, the overview still has all of them.
func TestLongNamesOfARingShow(t *testing.T) {
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprintf("datacenter.frankfurt.rack.%d.spine.switch", i))
	}
	l := labOf(names[0]+"-"+names[1], names[1]+"-"+names[2], names[2]+"-"+names[3], names[3]+"-"+names[0])
	m := canvasOf(t, l, 100, 25)
	text := plainText(m)
	for _, n := range names {
		if !strings.Contains(text, n) {
			t.Errorf("%s does not show:\n%s", n, text)
		}
	}
}
