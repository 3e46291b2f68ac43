package vendors

import (
	"os"
	"path/filepath"
	"slices"
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
	for _, name := range []string{"linux", "bridge", "frr", "bird", "ceos", "nokia_srlinux", "juniper_crpd", "cisco_xrd",
		"sonic-vs", "vyosnetworks_vyos", "cumulus_cvx", "keysight_ixia-c-one", "cisco_n9kv", "host", "ovs-bridge"} {
		k, ok := r.Kind(name)
		if !ok || k.Name != name || k.Description == "" || k.Origin != BuiltIn {
			t.Errorf("kind %s: %+v", name, k)
		}
		if _, ok := r.Elsewhere(name); ok {
			t.Errorf("kind %s is here and elsewhere", name)
		}
	}
	for _, k := range r.Kinds() { // a kind we did not write ourselves says where its facts are from
		if k.Embedded.Processes == nil && k.Embedded.Bridge == "" && k.Name != "linux" && k.Source == "" {
			t.Errorf("kind %s: no source", k.Name)
		}
	}
	files, _ := filepath.Glob("kinds/*.yaml")
	if len(files) != len(r.Kinds()) {
		t.Errorf("%d files, %d kinds", len(files), len(r.Kinds()))
	}
	for _, f := range files { // what is known of a file before it is read is what it says
		data, _ := os.ReadFile(f)
		k, diags := Parse(f, data)
		if k == nil {
			t.Error(diags)
			continue
		}
		if name, aliases := head(data); name != k.Name || !slices.Equal(aliases, k.Aliases) || filepath.Base(f) != name+".yaml" {
			t.Errorf("%s: %s %q", f, name, aliases)
		}
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if got, ok := r.Kind(name); !ok || got.Name != k.Name {
				t.Errorf("%s is not found by %q", f, name)
			}
		}
	}
	if why, ok := r.Elsewhere("k8s-kind"); !ok || why == "" {
		t.Error("k8s-kind is not known to be elsewhere")
	}
	if r.Outside("host") != lab.OutsideHost || r.Outside("bridge") != lab.OutsideBridge || r.Outside("linux") != "" {
		t.Error("parts of the machine")
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
		"bad name rule":   {good + "interfaces: {names: [{match: '(', kernel: x}]}\n", "bad regular expression"},
		"half a rule":     {good + "interfaces: {names: [{match: x}]}\n", "needs match and kernel"},
		"outside":         {good + "outside: moon\n", "outside"},
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
	if _, ok := r.Kind("generic-linux"); ok {
		t.Error("an alias of the replaced kind is left")
	}
}

// Where a configuration goes depends on its form, and on whether it is a whole one.
func TestFormsOfStartupConfigurations(t *testing.T) {
	r, _ := load(t, nil)
	for _, tt := range []struct{ kind, name, config, path, partial string }{
		{"srl", "a.json", " {\"a\": 1}\n", "/etc/opt/srlinux/config.json", ""},
		{"srl", "", "set / interface ethernet-1/1\n", "/etc/opt/srlinux/startup.cli", ""},
		{"srl", "a.cli", "{{ if true }}\nset / x\n{{ end }}", "/etc/opt/srlinux/startup.cli", ""},
		{"cisco_iol", "", "vlan 7\n", "/iol/config.txt", "vlan 7\n"},
		{"cisco_iol", "a.partial", "vlan 7\n", "/iol/config.txt", "vlan 7\n"},
		{"cisco_iol", "a.cfg", "vlan 7\n", "/iol/config.txt", ""},
	} {
		k, _ := r.Kind(tt.kind)
		v := Vars{}
		files, err := k.NodeFiles(&v, tt.name, tt.config, false)
		if err != nil || !slices.ContainsFunc(files, func(f File) bool { return f.Path == tt.path && (tt.partial != "" || f.Text == tt.config) }) || v.PartialCfg != tt.partial {
			t.Errorf("%s %s: %+v, %v; partial %q", tt.kind, tt.name, files, err, v.PartialCfg)
		}
		if _, apply := k.StartupConfig.For(tt.config); (apply != "") != (tt.path == "/etc/opt/srlinux/startup.cli") {
			t.Errorf("%s %s is applied by %q", tt.kind, tt.name, apply)
		}
	}
}

func TestInterfaceNames(t *testing.T) {
	r, _ := load(t, nil)
	for _, tt := range []struct{ kind, in, want string }{
		{"ceos", "Ethernet3", "eth3"}, {"ceos", "eth1", "eth1"}, {"linux", "anything0", "anything0"},
		{"ceos", "Ethernet1/2", "eth1_2"}, {"ceos", "Et3/1/1", "eth3_1_1"}, {"arista_ceos", "eth1_2", "eth1_2"}, {"ceos", "et1", "et1"},
		{"nokia_srlinux", "ethernet-1/12", "e1-12"}, {"srl", "e1-1", "e1-1"}, {"srl", "ethernet-2/3/4", "e2-3-4"},
		{"srl", "e1-0", ""}, {"srl", "ethernet-1", ""}, {"srl", "mgmt0", ""}, {"srl", "eth1", ""},
		{"juniper_vmx", "ge-0/0/0", "eth1"}, {"vr-vmx", "eth9", "eth9"}, {"juniper_vmx", "ge-0/1/0", ""},
		{"cisco_n9kv", "Ethernet1/7", "eth7"}, {"cisco_c8000v", "Gi2", "eth1"}, {"cisco_c8000v", "GigabitEthernet1", ""},
		{"juniper_cjunosevolved", "et-0/0/0", "eth4"}, {"mikrotik_ros", "ether2", "eth1"}, {"cumulus_cvx", "swp1", "swp1"},
		{"cisco_xrd", "GigabitEthernet0/0/0/3", "Gi0-0-0-3"}, {"xrd", "Gi0-0-0-0", "Gi0-0-0-0"}, {"xrd", "eth1", ""},
		{"nokia_srsim", "1/x2/3/c4/5", "e1-x2-3-c4-5"}, {"nokia_srsim", "1/1/1", "e1-1-1"}, {"nokia_srsim", "1/1", ""},
		{"sonic-vs", "Ethernet0", "eth1"}, {"bridge", "anything", "anything"},
		{"ceos", "Ethernet0", ""}, {"ceos", "eth0", ""}, {"ceos", "eth129", ""}, {"ceos", "ge-0/0/0", ""}, {"ceos", "eth01", ""},
	} {
		got, err := r.Interface(tt.kind, tt.in)
		if (err != nil) != (tt.want == "") || (err == nil && got != tt.want) {
			t.Errorf("%s %s: %q, %v; want %q", tt.kind, tt.in, got, err, tt.want)
		}
	}
}

// XRd learns of its interfaces by a variable.
func TestInterfaceVariable(t *testing.T) {
	r, _ := load(t, nil)
	k, _ := r.Kind("cisco_xrd")
	name, value, ok := k.Interfaces.Env.Variable([]string{"Gi0-0-0-0", "Gi0-0-0-1"})
	if want := "linux:Gi0-0-0-0,xr_name=Gi0/0/0/0;linux:Gi0-0-0-1,xr_name=Gi0/0/0/1"; !ok || name != "XR_INTERFACES" || value != want {
		t.Errorf("%s=%s, want %s", name, value, want)
	}
	k, _ = r.Kind("ceos")
	if _, _, ok := k.Interfaces.Env.Variable(nil); ok {
		t.Error("a kind without a variable has one")
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
