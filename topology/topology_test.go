package topology

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"archetype/lab"
	"archetype/vendors"
)

var registry = sync.OnceValues(func() (Kinds, error) {
	r, _, err := vendors.Load("")
	return r, err
})

func kinds(t testing.TB) Kinds {
	t.Helper()
	r, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

const two = "name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux}\n  links:\n"

// What is wrong with a file is said with its place and what to do.
func TestMistakes(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"duplicate endpoint":     {two + "    - endpoints: [\"a:eth1\", \"b:eth1\"]\n    - endpoints: [\"a:eth1\", \"b:eth2\"]\n", `t.yml:8:19: error: link 2: a:eth1 is used by link 1 already`},
		"unknown node":           {two + "    - endpoints: [\"a:eth1\", \"bb:eth1\"]\n", `t.yml:7:29: error: link 1: unknown node "bb" (did you mean "b"?)`},
		"link to itself":         {two + "    - endpoints: [\"a:eth1\", \"a:eth1\"]\n", `:7:29: error: link 1: both ends are a:eth1: a link cannot go to itself`},
		"long interface name":    {two + "    - endpoints: [\"a:interface1234567\", \"b:eth1\"]\n", "longer than the kernel's 15 bytes"},
		"slash in interface":     {two + "    - endpoints: [\"a:eth1/1\", \"b:eth1\"]\n", "may not contain"},
		"loopback":               {two + "    - endpoints: [\"a:lo\", \"b:eth1\"]\n", "loopback"},
		"no endpoint":            {two + "    - endpoints: [\"a\", \"b:eth1\"]\n", "is not an endpoint"},
		"one endpoint":           {two + "    - endpoints: [\"a:eth1\"]\n", "list of two"},
		"unknown link type":      {two + "    - type: vet\n", `unknown type "vet" (did you mean "veth"?)`},
		"link mtu":               {two + "    - endpoints: [\"a:eth1\", \"b:eth1\"]\n      mtu: 20\n", ":8:12: error: link 1: mtu"},
		"bad address":            {two + "    - endpoints: [\"a:eth1\", \"b:eth1\"]\n      ipv4: [10.0.0.1]\n", "such as 10.0.0.1/24"},
		"other family":           {two + "    - endpoints: [\"a:eth1\", \"b:eth1\"]\n      ipv6: [10.0.0.1/24]\n", "other family"},
		"bad mac":                {two + "    - type: veth\n      endpoints:\n        - {node: a, interface: eth1, mac: \"01:02:03:04:05:06\"}\n        - {node: b, interface: eth1}\n", "multicast"},
		"host name":              {"name: l\ntopology:\n  nodes:\n    _a: {kind: linux}\n", `t.yml:4:5: error: node name "_a" cannot be a host name`},
		"names by case":          {"name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n    A: {kind: linux}\n", "differ by case"},
		"lab name":               {"name: ../l\ntopology:\n  nodes:\n    a: {kind: linux}\n", `t.yml:1:7: error: lab name "../l"`},
		"unknown field":          {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, imgae: x}\n", `unknown field "imgae" (did you mean "image"?)`},
		"unknown field at top":   {"name: l\ntoplogy:\n  nodes: {}\n", `t.yml:2:1: error: the file: unknown field "toplogy" (did you mean "topology"?)`},
		"bridge elsewhere":       {"name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n    br|a: {kind: bridge, network-mode: \"container:a\"}\n  links:\n    - endpoints: [\"a:eth1\", \"br|a:x\"]\n", `a bridge inside the namespace of another node (a) is not served (call it "br", and it is a switch of the lab's own)`},
		"unknown kind":           {"name: l\ntopology:\n  nodes:\n    a: {kind: linx}\n", `unknown kind "linx" (did you mean "linux"?)`},
		"no kind":                {"name: l\ntopology:\n  nodes:\n    a: {}\n", `t.yml:4:5: error: node "a" has no kind`},
		"no name":                {"topology:\n  nodes:\n    a: {kind: linux}\n", "the lab has no name (add a line such as name: t)"},
		"no nodes":               {"name: l\ntopology:\n  nodes: {}\n", "no nodes"},
		"empty":                  {"", "the file is empty"},
		"only a comment":         {"# nothing\n", "the file is empty"},
		"twice the same node":    {"name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n    a: {kind: bridge}\n", ":5:5: error:"},
		"text where a list goes": {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, exec: hello}\n", ":4:28: error: node \"a\": exec must be a list"},
		"list where a map goes":  {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, env: [x]}\n", "env must be a map"},
		"nodes as a list":        {"name: l\ntopology:\n  nodes: [a]\n", "nodes must be a map"},
		"a tab":                  {"name: l\ntopology:\n\tnodes:\n", "no tabs"},
		"a cycle":                {"name: l\ntopology:\n  nodes: &n\n    a: *n\n", "circle"},
		"a cycle by a list":      {"name: l\ntopology: &t [*t]\n", "circle"},
		"unknown alias":          {"name: l\ntopology: *x\n", "error"},
		"not UTF-8":              {"name: \xff\n", "not UTF-8"},
		"two documents":          {"name: l\n---\nname: m\n", "second YAML document"},
		"wait-for of a node":     {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, wait-for: [b]}\n", `t.yml:4:22: error: node "a": unknown field "wait-for" (write it under stages: create: wait-for:`},
		"bind":                   {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, binds: [\"x:y\"]}\n", "is not a bind"},
		"bind of nothing":        {"name: l\ntopology:\n  defaults: {binds: [\"../testdata/nothing:/x:ro\"]}\n  nodes:\n    a: {kind: linux}\n", `t.yml:3:22: error: node "a": binds: "../testdata/nothing:/x:ro": no such file or folder (paths start at the topology file's folder)`},
		"bind below a file":      {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, binds: [\"/dev/null/x:/x\"]}\n", `t.yml:4:30: error: node "a": binds: "/dev/null/x:/x": no such file or folder`},
		"bind of clab's own":     {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, binds: [\"__clabNodeDir__/x:/x\"]}\n", `binds: "__clabNodeDir__/x:/x": no such file or folder (it is in the folder that containerlab keeps for the lab, where this program makes nothing: make it, or name another)`},
		"env-files":              {"name: l\ntopology:\n  nodes:\n    a: {kind: linux, env-files: [nowhere.env]}\n", `t.yml:4:34: error: node "a": env-files: "nowhere.env": no such file or directory (paths start`},
		"startup-config":         {"name: l\ntopology:\n  nodes:\n    a: {kind: frr, startup-config: nowhere.conf}\n", `:4:36: error: node "a": startup-config "nowhere.conf": no such file`},
		"alias out of range":     {"name: l\ntopology:\n  nodes:\n    a: {kind: ceos}\n    b: {kind: linux}\n  links:\n    - endpoints: [\"a:Ethernet0\", \"b:eth1\"]\n", "eth1 to eth128 or Ethernet1 to Ethernet128"},
		"alias names the same":   {"name: l\ntopology:\n  nodes:\n    a: {kind: ceos}\n    b: {kind: linux}\n  links:\n    - endpoints: [\"a:Ethernet1\", \"b:eth1\"]\n    - endpoints: [\"a:eth1\", \"b:eth2\"]\n", "used by link 1"},
		"a bomb of aliases":      {bomb(), "once its aliases are followed"},
		"deep brackets":          {"name: " + strings.Repeat("[", 5000), "nested deeper"},
		"too large":              {strings.Repeat("#\n", maxFile/2+1), "t.yml:1:1: error: the file has more than 4194304 bytes"},
		"a chain of lists":       {"name: l\nx:\n  " + strings.Repeat("- ", 1000000), "t.yml:3:131: error: lists nested deeper than 64 levels"},
		"a chain of tags":        {"name: " + strings.Repeat("!!a ", 500000), "error: more than 20000 anchors, aliases and tags"},
		"a chain of anchors":     {"name: " + strings.Repeat("&a ", 500000), "error: more than 20000 anchors, aliases and tags"},
		"deep block":             {deepBlock(500), "nested deeper than 64 levels"},
		"a list without end":     {"name: l\nx: [" + strings.Repeat("a,", 1000000) + "]\n", "t.yml:2:1599998: error: more than 800000 values"},
		"very many keys":         {"name: l\n" + manyKeys(20000), "t.yml:12001:"},
		"variables without end":  {"name: " + strings.Repeat("${A:-", 600000), "error"},
		"binary":                 {"\x7fELF\x02\x00\x00", "t.yml:1:1: error: the file is not text"},
		"a NUL in line 2":        {"name: l\nx: \x00\n", "t.yml:2:1: error: the file is not text"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse("t.yml", []byte(tt.file), Options{Env: env(), Kinds: kinds(t)})
			var fe *lab.FileError
			if !errors.As(err, &fe) {
				t.Fatalf("error %v, want a *lab.FileError", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("said:\n%v\nwant %q", err, tt.want)
			}
			for _, d := range fe.Diagnostics {
				if d.Line < 1 || d.Column < 1 || d.File != "t.yml" {
					t.Errorf("without a place: %+v", d)
				}
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// A map with very many keys is read in a time that grows with their number
// and not with its square.
func TestManyNodes(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: l\ntopology:\n  nodes:\n")
	for i := range maxNodes {
		fmt.Fprintf(&b, "    n%d: {kind: linux}\n", i)
	}
	top, _, err := Parse("t.yml", []byte(b.String()), Options{Kinds: kinds(t)})
	if err != nil || len(top.Nodes) != maxNodes {
		t.Error(err)
	}
	var links strings.Builder
	links.WriteString(two)
	for i := range 15000 { // a list as far in as its key, and maps in it
		fmt.Fprintf(&links, "  - endpoints: [\"a:e%d\", \"b:e%d\"]\n    mtu: 1400\n", i, i)
	}
	links.WriteString("  groups: {}\n")
	if top, _, err := Parse("t.yml", []byte(links.String()), Options{Kinds: kinds(t)}); err != nil || len(top.Links) != 15000 {
		t.Error(err)
	}
	b.WriteString("    more: {kind: linux}\n")
	if _, _, err := Parse("t.yml", []byte(b.String()), Options{Kinds: kinds(t)}); err == nil || !strings.Contains(err.Error(), "10001 nodes: a lab has at most 10000") {
		t.Error(err)
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("name: l\nx0: &x0 [1,2,3,4,5,6,7,8,9]\n")
	for i := 1; i < 10; i++ {
		p := string(rune('0' + i - 1))
		c := string(rune('0' + i))
		b.WriteString("x" + c + ": &x" + c + " [" + strings.TrimSuffix(strings.Repeat("*x"+p+",", 9), ",") + "]\n")
	}
	return b.String()
}

func TestEveryProblemIsSaid(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "    n%d: {kind: none}\n", i)
	}
	var all *lab.FileError
	if _, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  nodes:\n"+many.String()), Options{Kinds: kinds(t)}); !errors.As(err, &all) || len(all.Diagnostics) != 300 {
		t.Errorf("of 300 nodes of no kind it is said: %v", err)
	}
	_, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  nodes:\n    a: {kind: linx}\n    b_: {kind: linux}\n  links:\n    - endpoints: [\"a:eth1\", \"c:eth1\"]\n"), Options{Kinds: kinds(t)})
	var fe *lab.FileError
	if !errors.As(err, &fe) || len(fe.Diagnostics) != 2 {
		t.Errorf("want the two mistakes and not what follows from them, got:\n%v", err)
	}
}

func TestInheritance(t *testing.T) {
	top, warnings, err := Parse("/labs/t.yml", []byte(`
name: l
prefix: ""
topology:
  defaults:
    kind: linux
    env: {A: defaults, B: defaults, C: defaults, D: defaults}
    exec: [one]
    binds: ["x:/x", "/only"]
    mtu: 1400
    memory: 1G
    license: x.lic
  kinds:
    linux:
      env: {B: kind, C: kind, D: kind}
      exec: [two]
      binds: ["/dev:/x:ro"]
  groups:
    g:
      env: {C: group, D: group}
      image: group
  nodes:
    a:
      group: g
      env: {D: node}
      exec: ["three ${X:=3} $Y"]
    b:
      mtu: 9000
  links:
    - endpoints: ["a:eth1", "b:eth1"]
      ipv4: [10.0.0.1/24, 10.0.0.2/24]
    - endpoints: ["a:eth2", "host:veth1"]
    - type: veth
      mtu: 8000
      endpoints:
        - {node: a, interface: eth3, mac: "02:00:00:00:00:01", ipv6: "2001:db8::1/64"}
        - {node: b, interface: eth3}
`), Options{Env: env("Y", "yes"), Kinds: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(top)
	want := `{"name":"l","prefix":"","file":"/labs/t.yml","nodes":[` +
		`{"name":"a","kind":"linux","group":"g","image":"group","env":{"A":"defaults","B":"kind","C":"group","D":"node"},"exec":["one","two","three 3 yes"],"binds":["/dev:/x:ro"],"mtu":1400,"container":{"memory":1000000000,"volumes":["/only"]}},` +
		`{"name":"b","kind":"linux","env":{"A":"defaults","B":"kind","C":"kind","D":"kind"},"exec":["one","two"],"binds":["/dev:/x:ro"],"mtu":9000,"container":{"memory":1000000000,"volumes":["/only"]}}],` +
		`"links":[{"a":{"node":"a","interface":"eth1","ipv4":["10.0.0.1/24"]},"b":{"node":"b","interface":"eth1","ipv4":["10.0.0.2/24"]}},` +
		`{"a":{"node":"a","interface":"eth3","mac":"02:00:00:00:00:01","ipv6":["2001:db8::1/64"]},"b":{"node":"b","interface":"eth3"},"mtu":8000}],` +
		`"outside":[{"a":{"node":"a","interface":"eth2"},"b":{"node":"host","interface":"veth1"},"outside":{"type":"host","interface":"veth1"}}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Message, `nodes of kind "linux" take no license`) {
		t.Errorf("warnings: %v", warnings)
	}
}

// Of volumes with one path the nearest level's counts.
func TestVolumesAreMerged(t *testing.T) {
	top, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  defaults: {kind: linux, volumes: [\"far:/data\", /var/log, \"all:/all\"]}\n  nodes:\n    a: {volumes: [\"__clabNodeName__:/data:ro\", \"logs:/var/log\"]}\n"), Options{Kinds: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(top.Nodes[0].Container.Volumes, " "); got != "a:/data:ro logs:/var/log all:/all" {
		t.Errorf("got %s", got)
	}
}

// The environment of whoever asks comes in where a level asks for it, over what
// farther levels say and under what stands beside it.
func TestImportedEnvironment(t *testing.T) {
	all := func() map[string]string { return map[string]string{"A": "shell", "B": "shell", "C": "shell"} }
	top, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  defaults: {kind: linux, env: {A: far, D: far}}\n  groups: {g: {env: {__IMPORT_ENVS: true, B: beside}}}\n  nodes:\n    a: {group: g, env: {C: near}}\n    b: {env: {__IMPORT_ENVS: false}}\n"), Options{Kinds: kinds(t), Env: env(), Environ: all})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(top.Nodes[0].Env, top.Nodes[1].Env), "map[A:shell B:beside C:near D:far] map[A:far D:far]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What does not come of a startup configuration is said.
func TestStartupConfigurationsThatAreNotServed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.partial.cfg", "x.cfg"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ kind, config, want string }{
		{"ceos", "x.partial.cfg", `t.yml:3:31: warning: node "a": startup-config: "x.partial.cfg" is taken for a whole one: nodes of kind "ceos"`},
		{"rare", "x.cfg", `nodes of kind "rare" take none`}, {"6wind_vsr", "x.cfg", ""}, {"ceos", "x.cfg", ""},
		{"cisco_iol", "x.partial.cfg", ""}, {"nokia_srlinux", "x.partial.cfg", ""},
	} {
		_, warnings, err := Parse(filepath.Join(dir, "t.yml"), []byte("name: l\ntopology:\n  nodes: {a: {startup-config: "+tt.config+", kind: "+tt.kind+"}}\n"), Options{Kinds: kinds(t)})
		said := ""
		if len(warnings) > 0 {
			said = warnings[0].String()
		}
		if err != nil || !strings.Contains(said, tt.want) || tt.want == "" && said != "" {
			t.Errorf("%s %s: %q, %v", tt.kind, tt.config, said, err)
		}
	}
}

func TestAliasesAndAnchors(t *testing.T) {
	top, _, err := Parse("t.yml", []byte("name: l\ntopology:\n  nodes:\n    a: &n\n      kind: ceos\n      env: {X: \"1\"}\n    b:\n      <<: *n\n      kind: ceos\n  links:\n    - endpoints: [\"a:Ethernet1\", \"b:eth2\"]\n"), Options{Kinds: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	if top.Nodes[1].Env["X"] != "1" || top.Nodes[0].Aliases["Ethernet1"] != "eth1" || top.Links[0].A.Interface != "eth1" {
		t.Errorf("%+v", top)
	}
}

func TestPlacesSurviveExpansion(t *testing.T) {
	_, _, err := Parse("t.yml", []byte("name: ${N:=averylongname} # ${NOT}\ntopology:\n  nodes: {\"${N:=aaaaaaaaaaaa}\": {kind: linux}, b: {kindd: linux}}\n"), Options{Env: env(), Kinds: kinds(t)})
	if err == nil || !strings.Contains(err.Error(), `t.yml:3:52: error: node "b": unknown field "kindd"`) {
		t.Errorf("got %v", err)
	}
}

// Columns count characters.
func TestPlacesInOtherScripts(t *testing.T) {
	for file, want := range map[string]string{
		"name: l\ntopology:\n  nodes: {a: {kind: linux, labels: {ü: \"äöü\"}, x: y}}\n":                 "t.yml:3:48: error",
		"name: l\ntopology:\n  nodes: {a: {kind: linux, labels: {ü: \"${V:=äöüäöü}\"}, x: y}}\n":        "t.yml:3:57: error",
		"name: l\ntopology:\n  nodes: {a: {kind: {{ print \"linux\" }}, labels: {ü: \"äöü\"}, x: y}}\n": "t.yml:3:62: error",
	} {
		_, _, err := Parse("t.yml", []byte(file), Options{Kinds: kinds(t), Env: env()})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: said %v, want %s", file, err, want)
		}
	}
}

// A lab can be named by a file in which other things are wrong.
func TestName(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"name: ${N:-lab}\ntopology: {nodes: {a: {kind: nonsense}}}\n": "lab",
		"name: {{ print \"x\" }}\n":                                   "x",
		"name: l-__gitBranch__-__gitHash__\n":                         "l-feature-x-0123456",
	} {
		write(".git/HEAD", "ref: refs/heads/feature/x\n")
		write(".git/packed-refs", "# pack-refs\n0123456789012345678901234567890123456789 refs/heads/feature/x\n")
		if got, err := Name(write("t.yml", text), Options{Env: env()}); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"topology: {}\n", "name: a b\n", "[", ""} {
		if got, err := Name(write("t.yml", text), Options{Env: env()}); err == nil {
			t.Errorf("%q names %q", text, got)
		}
	}
}

func TestStartupConfigs(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a.conf", "clab.yml"} {
		text := "name: l\ntopology:\n  kinds:\n    frr: {startup-config: __clabNodeName__.conf}\n  nodes:\n    a: {kind: frr}\n    b:\n      kind: frr\n      startup-config: |\n        router bgp 1\n        !\n"
		if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	top, _, err := Load(filepath.Join(dir, "clab.yml"), Options{Kinds: kinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	if top.Nodes[0].StartupConfig != filepath.Join(dir, "a.conf") || top.Nodes[1].ConfigText != "router bgp 1\n!\n" {
		t.Errorf("%+v", top.Nodes)
	}
	if _, _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder as a file: %v", err)
	}
	if _, _, err := Load(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A licence goes where the kind's vendor file says, read-only, and the device
// is told of it where it must be.
func TestLicenses(t *testing.T) {
	dir := t.TempDir()
	lic, file := filepath.Join(dir, "r1.lic"), filepath.Join(dir, "t.yml")
	read := func(node string) (*lab.Topology, []lab.Diagnostic, error) {
		if err := os.WriteFile(file, []byte("name: l\ntopology:\n  nodes:\n    r1: "+node+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, Options{Kinds: kinds(t)})
	}
	if err := os.WriteFile(lic, []byte("a licence"), 0o600); err != nil {
		t.Fatal(err)
	}
	top, warnings, err := read("{kind: crpd, license: __clabNodeName__.lic}")
	if err != nil || len(warnings) != 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	if n := top.Nodes[0]; !slices.Equal(n.Binds, []string{lic + ":/config/license/license.lic:ro"}) || len(n.Exec) != 1 || !strings.Contains(n.Exec[0], "license add /config/license/license.lic") {
		t.Errorf("%+v", n)
	}
	for node, want := range map[string]string{
		"{kind: srl, license: none.lic}":                   `license "none.lic": no such file`,
		"{kind: srl, license: .}":                          "is a folder",
		"{kind: srl, license: 'ftp://a/b'}":                "license: only http and https are served, not ftp",
		"{kind: srl, startup-config: 'http:///b'}":         "startup-config: the address names no server",
		"\n      kind: srl\n      license: |\n        a\n": "the text of a license is not served",
	} {
		if _, _, err := read(node); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", node, err, want)
		}
	}
}

// Whatever is read without an error keeps what everything after relies on.
func FuzzParse(f *testing.F) {
	f.Add([]byte(two + "    - endpoints: [\"a:eth1\", \"b:eth1\"]\n"))
	f.Add([]byte(bomb()))
	f.Add([]byte("a: &a\n  b: *a\n"))
	f.Add([]byte("name: ${A:=${B:-c}}\ntopology: {defaults: {kind: linux}, nodes: {a: , b: }, links: [{endpoints: [a:x, b:y], mtu: 9000, ipv4: [10.0.0.1/8, \"\"]}]}\n"))
	f.Add([]byte("name: l\ntopology:\n  groups: {g: {kind: ceos}}\n  nodes:\n    a: {group: g, binds: [\"/a:/b:ro\"], startup-config: \"x\\ny\"}\n    b: {<<: {kind: frr}}\n  links:\n    - {type: veth, endpoints: [{node: a, interface: Ethernet1}, {node: b, interface: e}]}\n"))
	k := kinds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		top, _, err := Parse("t.yml", data, Options{Env: env("X", "y"), Kinds: k})
		if err != nil {
			var fe *lab.FileError
			if !errors.As(err, &fe) || len(fe.Diagnostics) == 0 {
				t.Fatalf("error %v", err)
			}
			for _, d := range fe.Diagnostics {
				if d.Line < 1 || d.Column < 1 || d.Message == "" {
					t.Fatalf("without a place: %+v", d)
				}
			}
			return
		}
		names, used := map[string]bool{}, map[lab.Endpoint]bool{}
		if !labName.MatchString(top.Name) || len(top.Nodes) == 0 {
			t.Fatalf("%+v", top)
		}
		for _, n := range top.Nodes {
			if names[n.Name] || !hostName.MatchString(n.Name) || n.Kind == "" {
				t.Fatalf("node %+v", n)
			}
			names[n.Name] = true
		}
		for _, l := range top.Outside {
			if l.Outside == nil || used[l.A.Endpoint] || !names[l.A.Node] || interfaceName(l.A.Interface) != "" {
				t.Fatalf("link that leaves: %+v", l)
			}
			used[l.A.Endpoint] = true
		}
		for _, l := range top.Links {
			for _, e := range l.Ends() {
				if used[e.Endpoint] || !names[e.Node] || interfaceName(e.Interface) != "" {
					t.Fatalf("end %+v", e)
				}
				used[e.Endpoint] = true
			}
		}
	})
}
