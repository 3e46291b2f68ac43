package canvas

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
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

var quickstart = []string{"r1-sw1", "r1-sw2", "pc1-sw1", "pc2-sw1", "pc3-sw2"}

func samples() map[string]*api.Lab {
	return map[string]*api.Lab{
		"one": labOf("only"), "pair": labOf("a-b"), "triangle": labOf("r1-r2", "r2-r3", "r3-r1"),
		"quickstart": labOf(quickstart...), "star": labOf("hub-a", "hub-b", "hub-c", "hub-d", "hub-e"),
		"chain": labOf("a-b", "b-c", "c-d", "d-e"), "ring6": ring(6), "ring20": ring(20), "ring200": ring(200),
		"clos16": clos(2, 4, 2), "clos40": clos(4, 8, 3), "clos300": clos(4, 24, 11),
		"double": labOf("a-b", "a-b", "a-b"), "apart": labOf("a-b", "c-d", "lonely", "alone"),
		"mesh": labOf("a-b", "a-c", "a-d", "b-c", "b-d", "c-d"),
	}
}

func plainText(m *Model) string { return ansi.Strip(strings.Join(m.Lines(), "\n")) }

// SHOW=80x24 go test -run TestShow -v prints the samples, to be looked at.
func TestShow(t *testing.T) {
	size := os.Getenv("SHOW")
	if size == "" {
		t.Skip("set SHOW=80x24 to look at the samples")
	}
	var w, h int
	_, _ = fmt.Sscanf(size, "%dx%d", &w, &h)
	th, err := themes.Load("dark", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range samples() {
		if only := os.Getenv("ONLY"); only != "" && only != name {
			continue
		}
		m := New(th, themes.UTF8)
		m.Resize(w, h)
		m.SetLab(l)
		fmt.Printf("== %s, level %d\n%s\n", name, m.Level(), plainText(m))
	}
}
