package vendors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"archetype/lab"
)

func load(t *testing.T, files map[string]string) (*Registry, []lab.Diagnostic) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, diags, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r, diags
}

func TestBuiltInKinds(t *testing.T) {
	r, diags := load(t, nil)
	if len(diags) != 0 {
		t.Error(diags)
	}
	if got := strings.Join(r.Names(), " "); got != "bird bridge ceos frr linux" {
		t.Errorf("kinds: %s", got)
	}
	if k, ok := r.Kind("arista_ceos"); !ok || k.Name != "ceos" {
		t.Error("an alias does not find its kind")
	}
}

func TestCEOSBoot(t *testing.T) {
	r, _ := load(t, nil)
	k, _ := r.Kind("ceos")
	b := NewBoot(k)
	for _, s := range []struct {
		line    string
		percent int
	}{
		{"Welcome", 0},
		{"\x1b[32mPlatform initialization\x1b[0m [ OK ]\r", 10},
		{"Starting ProcMgr", 30},
		{"Platform initialization", 30},
		{"ProcMgr initialization complete", 50},
		{"2 patch applied", 70},
		{"%BOOT-6-DONE", 90},
	} {
		b.Line(s.line)
		if b.Percent() != s.percent {
			t.Errorf("after %q: %d%%, want %d%%", s.line, b.Percent(), s.percent)
		}
	}
	if b.Ready() {
		t.Error("ready by its log, though a command decides")
	}
	if o := k.Options["zerotouchCancel"]; o.File == "" || o.Text == "" {
		t.Error("zerotouchCancel writes nothing")
	}
	if w := k.InterfaceWait; w.EnvVar != "CLAB_INTFS" || w.Script != "/mnt/flash/if-wait.sh" || w.ScriptText == "" {
		t.Errorf("interface wait: %+v", w)
	}
}

// Whatever a device prints: per cent never falls, and 100 means ready.
func TestPercentIsMonotone(t *testing.T) {
	r, _ := load(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		k := rapid.SampledFrom(r.Kinds()).Draw(rt, "kind")
		b := NewBoot(k)
		lines := []string{"archetype-init: ready", "archetype-init: namespaces ready", "x"}
		for _, p := range k.Progress {
			lines = append(lines, p.Text)
		}
		for range rapid.IntRange(0, 20).Draw(rt, "n") {
			before := b.Percent()
			line := rapid.OneOf(rapid.SampledFrom(lines), rapid.String()).Draw(rt, "line")
			changed := b.Line(line)
			if b.Percent() < before || (b.Percent() == 100) != b.Ready() {
				rt.Fatalf("after %q: %d%%, was %d%%, ready %v", line, b.Percent(), before, b.Ready())
			}
			if !changed && b.Percent() != before {
				rt.Fatal("changed without saying so")
			}
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                "plain",
		"\x1b[31mred\x1b[0m":   "red",
		"old\rnew\r\n":         "new",
		"\x1b]0;title\x07text": "text",
		"a\tb\x00c":            "a bc",
		"\u202etxt":            "txt",
		"\u009b31mx":           "x",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

const good = "name: toy\nproviders: [netns]\n"

func TestUsersFiles(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":     {good + "progres: []\n", `:3:1: error: unknown field "progres" (did you mean "progress"?)`},
		"bad regexp":      {good + "progress:\n  - regexp: '('\n    percent: 5\n", ":4:13: error: bad regular expression"},
		"per cent":        {good + "progress:\n  - text: x\n    percent: 101\n", ":5:14: error: percent 101"},
		"text and regexp": {good + "progress:\n  - {text: x, regexp: y, percent: 1}\n", "either text or regexp"},
		"probe":           {good + "readiness: {probe: telepathy}\n", "readiness probe"},
		"provider":        {"name: toy\nproviders: [vmware]\n", ":2:13: error: provider"},
		"name":            {"name: Toy One\nproviders: [netns]\n", ":1:7: error: name"},
		"duration":        {good + "stop_grace: soon\n", ":3:"},
		"wrong type":      {good + "progress: 5\n", ":3:11: error:"},
		"empty":           {"", "empty"},
		"no YAML":         {"a: [", "error"},
		"taken alias":     {good + "aliases: [linux]\n", "name of another kind"},
		"list at the top": {"- a\n", "error"},
	} {
		t.Run(name, func(t *testing.T) {
			r, diags := load(t, map[string]string{"bad.yaml": tt.text, "other.yml": strings.Replace(good, "toy", "other", 1)})
			if len(diags) == 0 || !strings.Contains(diags[0].String(), tt.want) || diags[0].Severity != lab.SeverityError {
				t.Errorf("diagnostics %v, want one with %q", diags, tt.want)
			}
			if _, ok := r.Kind("toy"); ok {
				t.Error("the broken kind is there")
			}
			if _, ok := r.Kind("other"); !ok {
				t.Error("a broken file took another one down")
			}
			if _, ok := r.Kind("linux"); !ok {
				t.Error("a broken file took the built-in kinds down")
			}
		})
	}
}

func TestUsersKindTakesThePlaceOfABuiltInOne(t *testing.T) {
	r, diags := load(t, map[string]string{"l.yaml": "name: linux\nproviders: [docker]\n"})
	if len(diags) != 1 || diags[0].Severity != lab.SeverityWarning {
		t.Errorf("diagnostics: %v", diags)
	}
	if k, _ := r.Kind("linux"); k.Providers[0] != "docker" || !strings.HasSuffix(k.Origin, "l.yaml") {
		t.Errorf("kind: %+v", k)
	}
	if _, ok := r.Kind("host"); ok {
		t.Error("an alias of the replaced kind is left")
	}
}

func TestInterfaceNames(t *testing.T) {
	r, _ := load(t, nil)
	for _, tt := range []struct{ kind, in, want string }{
		{"ceos", "Ethernet3", "eth3"}, {"ceos", "eth1", "eth1"}, {"linux", "anything0", "anything0"},
		{"ceos", "Ethernet0", ""}, {"ceos", "eth0", ""}, {"ceos", "eth129", ""}, {"ceos", "ge-0/0/0", ""}, {"ceos", "eth01", ""},
	} {
		got, err := r.Interface(tt.kind, tt.in)
		if (err != nil) != (tt.want == "") || (err == nil && got != tt.want) {
			t.Errorf("%s %s: %q, %v; want %q", tt.kind, tt.in, got, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("kinds/*.yaml")
	for _, name := range files {
		data, _ := os.ReadFile(name)
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, diags := Parse("f.yaml", data)
		if (k == nil) == (len(diags) == 0) {
			t.Errorf("kind %v with %v", k, diags)
		}
		if k != nil {
			NewBoot(k).Line(string(data))
		}
	})
}
