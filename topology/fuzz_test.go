package topology

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"archetype/lab"
)

// Whatever a file calls its lab, nodes and interfaces: what is taken stays
// within the lab's folder when it becomes a path, is one element of it, and
// is a name that the kernel takes for an interface.
func FuzzNames(f *testing.F) {
	f.Add("l", "n", "eth1", "/dev:/b")
	f.Add("../..", "..", "../x", "..:/x")
	f.Add("a/b", "a\x00b", strings.Repeat("e", 16), "~:/x:ro")
	f.Add(".", "${X}", "Ethernet1/1", "/x/../../dev:/z")
	k := kinds(f)
	f.Fuzz(func(t *testing.T, name, node, ifc, bind string) {
		text := fmt.Sprintf("name: %q\ntopology:\n  nodes:\n    %q: {kind: linux, binds: [%q]}\n    other: {kind: linux}\n  links:\n    - endpoints: [%q, \"other:eth1\"]\n", name, node, bind, node+":"+ifc)
		top, _, err := Parse("/somewhere/t.yml", []byte(text), Options{Env: env("X", "../y"), Kinds: k})
		if err != nil {
			return
		}
		for _, n := range top.Nodes {
			p := filepath.Join("/labs", top.Name, n.Name)
			if filepath.Dir(filepath.Dir(p)) != "/labs" || filepath.Base(p) != n.Name || strings.ContainsAny(top.Name+n.Name, "/\x00 \n") || len(n.Name) > 255 {
				t.Fatalf("%q: %q", text, p)
			}
			for _, b := range n.Binds {
				if m, err := lab.ParseBind(b); err != nil || !filepath.IsAbs(m.Source) {
					t.Fatalf("%q: bind %q: %v", text, b, err)
				}
			}
		}
		for _, l := range top.Links {
			for _, e := range []lab.End{l.A, l.B} {
				if i := e.Interface; i == "" || len(i) > 15 || strings.ContainsAny(i, "/: \x00\n") || i == "." || i == ".." {
					t.Fatalf("%q: interface %q", text, i)
				}
			}
		}
	})
}
