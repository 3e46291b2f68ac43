package themes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"archetype/lab"
	"archetype/themes"
)

func TestBuiltIn(t *testing.T) {
	for _, name := range themes.Names() {
		th, err := themes.Load(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if th.Name != name {
			t.Errorf("theme %s calls itself %s", name, th.Name)
		}
	}
}

// Without colour, states are told by shape alone.
func TestStatesDifferInShape(t *testing.T) {
	for _, g := range []themes.Glyphs{themes.UTF8, themes.Plain} {
		seen := map[string]lab.NodeState{}
		for _, s := range lab.NodeStates() {
			shape := g.Node(s)
			if other, ok := seen[shape]; ok {
				t.Errorf("%s looks like %s", s, other)
			}
			seen[shape] = s
		}
		up, down, bad := g.Link(lab.LinkUp), g.Link(lab.LinkDown), g.Link(lab.LinkError)
		if up == down || down == bad || bad == up {
			t.Errorf("links look alike: %s %s %s", up, down, bad)
		}
	}
}

func TestUsersTheme(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("name: mine\nroles:\n  text: {fg: red}\n")
	if _, err := themes.Load("mine", dir); err == nil || !strings.Contains(err.Error(), "#rrggbb") {
		t.Errorf("a colour by name: %v", err)
	}
	write("name: mine\nroles:\n  texts: {fg: \"#000000\"}\n")
	if _, err := themes.Load("mine", dir); err == nil || !strings.Contains(err.Error(), "texts") {
		t.Errorf("a role that is none: %v", err)
	}
	if _, err := themes.Load("none", dir); err == nil || !strings.Contains(err.Error(), "dark") {
		t.Errorf("no such theme: %v", err)
	}
	all, err := os.ReadFile("light.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(strings.Replace(string(all), "name: light", "name: mine", 1))
	if th, err := themes.Load("mine", dir); err != nil || th.Name != "mine" {
		t.Errorf("%v %v", th, err)
	}
}
