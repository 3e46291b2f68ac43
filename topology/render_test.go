package topology

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const leafSpine = `name: fabric
topology:
  kinds:
    linux: {image: "alpine:{{ .version }}"}
  nodes:
{{- range $s := seq 1 .spines }}
    spine{{ $s }}: {kind: linux}
{{- end }}
{{- range $l := seq 1 .leaves.count }}
    {{ $.leaves.prefix }}{{ $l }}: {kind: linux}
{{- end }}
  links:
{{- range $s := seq 1 .spines }}
{{- range $l := seq 1 $.leaves.count }}
    - endpoints: ["spine{{ $s }}:eth{{ $l }}", "{{ $.leaves.prefix }}{{ $l }}:eth{{ add $s 10 }}"]
{{- end }}
{{- end }}
`

func TestTemplate(t *testing.T) {
	top, warnings, err := parseIn(t, leafSpine, map[string]string{
		"t.clab_vars.yaml":       "version: \"3.20\"\nspines: 2\nleaves: {count: 2, prefix: l}\n",
		"t.clab_vars.extra.json": `{"leaves": {"prefix": "leaf"}}`,
		"t.clab_vars.txt":        "no: {{",
	})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var names []string
	for _, n := range top.Nodes {
		names = append(names, n.Name+"="+n.Image)
	}
	// The files are merged in the order of their names: .extra.json, .yaml.
	if got := strings.Join(names, " "); got != "spine1=alpine:3.20 spine2=alpine:3.20 l1=alpine:3.20 l2=alpine:3.20" {
		t.Errorf("nodes %s", got)
	}
	if len(top.Links) != 4 || top.Links[3].B.String() != "l2:eth12" {
		t.Errorf("links %+v", top.Links)
	}
}

func TestVariablesAreGiven(t *testing.T) {
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
	path := write("t.yml", "name: {{ .name }}\ntopology:\n  nodes:\n{{ template \"node.gotmpl\" (slice .a \"linux\") }}\n")
	write("clab_templates/node.gotmpl", "    {{ index . 0 }}:\n      kind: {{ index . 1 }}\n")
	write("t_vars.yml", "name: beside\na: x\n")
	one, two := write("one.yml", "name: one\na: b\n"), write("two.json", `{"name": "two"}`)
	top, _, err := Load(path, Options{Kinds: kinds(t), Env: env(), Vars: []string{one, two}})
	if err != nil || top.Name != "two" || top.Nodes[0].Name != "b" {
		t.Errorf("%+v, %v", top, err)
	}
	if top, _, err = Load(path, Options{Kinds: kinds(t), Env: env()}); err != nil || top.Name != "beside" {
		t.Errorf("%+v, %v", top, err)
	}
	// A mistake in a template of the folder is at its place there.
	write("clab_templates/node.gotmpl", "    {{ index . 0 }}:\n      knd: {{ index . 1 }}\n")
	_, _, err = Load(path, Options{Kinds: kinds(t), Env: env()})
	if err == nil || !strings.Contains(err.Error(), `node.gotmpl:2:7: error: node "x": unknown field "knd" [line 5 of the rendered text] (did you mean "kind"?)`) {
		t.Errorf("said %v", err)
	}
	write("t_vars.yml", "name: l\n  a: [\n")
	if _, _, err = Load(path, Options{Kinds: kinds(t), Env: env()}); err == nil || !strings.Contains(err.Error(), "t_vars.yml:") {
		t.Errorf("a bad file of variables: %v", err)
	}
	if _, _, err = Load(path, Options{Kinds: kinds(t), Env: env(), Vars: []string{filepath.Join(dir, "none")}}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file of variables: %v", err)
	}
}

func TestFunctions(t *testing.T) {
	for in, want := range map[string]string{
		`add 1 2`: "3", `add 1.5 1`: "2.5", `add "2" 3`: "5", `subtract 1 3`: "-2", `mul 4 5`: "20", `div 3 2`: "1.5",
		`idiv 7 3`: "2", `idiv -7 2`: "-3", `rem 7 3`: "1", `seq 3`: "[1 2 3]", `seq 4 8 2`: "[4 6 8]", `seq 3 1`: "[3 2 1]", `seq 8 4 3`: "[8 5]", `seq 1 3 0`: "[]",
		`index (slice "a" 2) 1`: "2", `ToJSON (slice 1 "x")`: `[1,"x"]`, `ToJSONPretty (slice 1) "" " "`: "[\n 1\n]",
		`strings.Split "," "a,b"`: "[a b]", `strings.ReplaceAll "a" "b" "banana"`: "bbnbnb",
		`"x" | strings.ReplaceAll "x" "y"`: "y",
		`conv.Join (slice 1 2) "-"`:        "1-2", `conv.Join (strings.Split "." "a.b") "/"`: "a/b", `add (conv.ToInt "0x10") 1`: "17",
		`net.CIDRHost 2 "10.3.0.0/16"`: "10.3.0.2", `net.CIDRHost -1 "10.0.0.0/24"`: "10.0.0.255", `net.CIDRHost "258" "10.3.0.0/16"`: "10.3.1.2", `net.CIDRHost 1 "2001:db8::/64"`: "2001:db8::1",
		`printf "%03d %s" 7 "x"`: "007 x", `print 1 2`: "1 2", `html "<"`: "&lt;", `len (seq 5)`: "5", `.n`: "7", `add .n 1`: "8", `.m.f`: "0.5", `.m.s`: "12",
	} {
		r := &reader{file: "t", abs: "/t", src: &expanded{}, opt: Options{Env: env(), Vars: []string{filepath.Join("testdata", "vars.yml")}}}
		if got := r.render("{{ " + in + " }}"); r.fails > 0 || got != want {
			t.Errorf("%s is %q, want %q; %v", in, got, want, r.diags)
		}
	}
}

func TestTemplateMistakes(t *testing.T) {
	head := "name: l\ntopology:\n  nodes:\n"
	for name, tt := range map[string]struct{ file, want string }{
		"syntax":        {head + "  {{ range }}\n", `t.yml:4:1: error: the template fails: missing value for range`},
		"no end":        {head + "  {{ if true }}\n", `t.yml:5:1: error: the template fails: unexpected EOF`},
		"function":      {head + "  {{ ad 1 2 }}\n", `t.yml:4:1: error: the template fails: function "ad" not defined`},
		"argument":      {head + "    {{ add 1 \"x\" }}: {}\n", `t.yml:4:8: error: the template fails: at add 1 "x": error calling add: "x" is not a number`},
		"no value":      {head + "    n{{ .x }}: {kind: linux}\n", `t.yml:4:9: error: a variable of the template has no value [line 4 of the rendered text] (give it in a file of variables, such as t_vars.yml)`},
		"division":      {head + "    {{ idiv 1 0 }}: {}\n", "division by 0"},
		"in a loop":     {head + "{{- range seq 1 3 }}\n    n{{ . }}:\n      kind: linx\n{{- end }}\n", `t.yml:6:13: error: node "n1": unknown kind "linx" [line 5 of the rendered text] (did you mean "linux"?)`},
		"by an action":  {head + "    a: {kind: {{ print \"linx\" }}}\n", `t.yml:4:18: error: node "a": unknown kind "linx"`},
		"with variable": {head + "{{- range seq 1 2 }}\n    ${V:=a}{{ . }}: {kind: linux, x: y}\n{{- end }}\n", `t.yml:5:35: error: node "a1": unknown field "x" [line 4 of the rendered text]`},
		"endless":       {head + "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}", "templates call each other deeper than 100 (look for a loop"},
		"long loop":     {head + "{{ range seq 1 1000000 }}{{ range seq 1 1000000 }}{{ end }}{{ end }}", "the template runs away"},
		"huge sequence": {head + "{{ seq 1 99999999999 }}", "seq of more than"},
		"range of int":  {head + "{{ range 99999999999 }}{{ end }}", "the template runs away"},
		"doubling":      {head + "{{ $x := \"0123456789\" }}{{ range seq 1 64 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "its functions make too much"},
		"list bomb":     {head + "{{ $x := slice 1 }}{{ range seq 1 64 }}{{ $x = slice $x $x }}{{ end }}{{ $x }}", "its functions make too much"},
		"wide print":    {head + "{{ printf \"%999999999d\" 1 }}", "a width of more than 1000"},
		"index verb":    {head + "{{ $x := print (seq 1 100000) }}{{ printf \"" + strings.Repeat("%[1]s", 1000) + "\" $x }}", "its functions make too much"},
		"replace bomb":  {head + "{{ $x := print (seq 1 100000) }}{{ strings.ReplaceAll \" \" $x $x }}", "its functions make too much"},
		"much text":     {head + "{{ $x := print (seq 1 100000) }}{{ range seq 1 1000 }}{{ $x }}{{ end }}", "it becomes more than"},
		"deep blocks":   {head + strings.Repeat("{{ if true }}", 100000), `t.yml:4:1301: error: blocks of a template nested deeper than 100`},
		"deep brackets": {head + "{{ " + strings.Repeat("(", 1000000) + " }}", "nested deeper than 100"},
		"binary":        {head + "{{ \"\\x00\" }}", "does not become text"},
		"not UTF-8":     {head + "{{ \"\\xff\" }}", "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse("t.yml", []byte(tt.file), Options{Kinds: kinds(t), Env: env()})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("said:\n%.1000v\nwant %q", err, tt.want)
			}
		})
	}
}

// A template's bombs of aliases are found as those of a topology are.
func TestVariablesAreBounded(t *testing.T) {
	_, _, err := parseIn(t, leafSpine, map[string]string{"t.clab_vars.yml": bomb()})
	if err == nil || !strings.Contains(err.Error(), "once its aliases are followed") {
		t.Errorf("said %v", err)
	}
}

func TestVariablesOfTheEnvironment(t *testing.T) {
	look := env("SET", "s", "EMPTY", "")
	for in, want := range map[string]string{
		"$SET ${SET}": "s s", "${SET:-d}${SET-d}${SET:=d}${SET=d}": "ssss", "${NO:-d}${NO-d}${NO:=d}${NO=d}": "dddd",
		"${EMPTY:-d}${EMPTY-d}.": "d.", "${SET:+o}${SET+o}${NO:+o}${NO+o}${EMPTY:+o}${EMPTY+o}.": "ooo.",
		"$NO ${NO}": "$NO ${NO}", "${NO:-${SET}x}": "sx", "$$SET $${SET} $$ $1 $": "$SET ${SET} $$ $1 $", "# $SET": "# $SET", "a#$SET": "a#s",
		"${NO:-a b}": "a b", "${NO:-$$SET}": "$SET", "${NO:-": "${NO:-", strings.Repeat("${NO:-", 40): strings.Repeat("${NO:-", 40), "${NO:- ${SET}": "${NO:- s", "${}": "${}", "${NO:?x}": "${NO:?x}",
	} {
		if got := expand(in, look).text; got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
