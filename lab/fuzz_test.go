package lab_test

import (
	"path"
	"strings"
	"testing"

	"archetype/lab"
)

// Whatever a bind says: what is taken has a source, and a target that stays
// within the node.
func FuzzBind(f *testing.F) {
	for _, s := range []string{"/a:/b", "/a:/b:ro,z", "vol:/data", "/a:../b", "/a:/../../etc", "::", "/a\x00:/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := lab.ParseBind(s)
		if err != nil {
			return
		}
		if b.Source == "" || strings.ContainsAny(b.Source+b.Target, ":\x00") || !path.IsAbs(b.Target) || path.Clean(b.Target) != b.Target {
			t.Fatalf("%q: %+v", s, b)
		}
		for _, o := range b.Options {
			if strings.ContainsAny(o, ":,") {
				t.Fatalf("%q: %+v", s, b)
			}
		}
	})
}
