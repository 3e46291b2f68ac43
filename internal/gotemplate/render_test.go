package gotemplate

import (
	"strings"
	"testing"
)

func TestRenderIsBounded(t *testing.T) {
	data := map[string]any{"Name": "r1", "Env": map[string]string{"A": "1"}}
	for text, want := range map[string]string{
		"hostname {{ .Name }}{{ if .Env.B }} b{{ end }} {{ .Env.A }}{{ .Env.B }}": "hostname r1 1",
		"{{ range seq 3 }}{{ idiv . 2 }}:{{ rem . 2 }} {{ end }}":                 "0:1 1:0 1:1 ",
		"no template }}": "no template }}",
	} {
		if got, err := Render("t", text, data, 1<<20); err != nil || got != want {
			t.Errorf("%s becomes %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"a\n{{ if }}":             "t:2: ",
		"{{ .Name.First }}":       "t:1:8: ",
		`{{ printf "%9999s" 1 }}`: "a width of more than 1000",
		"{{ $x := seq 5000 }}{{ range $x }}{{ range $x }}{{ end }}{{ end }}": "runs away",
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`:      "exceeded maximum template depth",
		strings.Repeat("{{ if 1 }}", 500):                                    "nested deeper",
		"{{ range seq 3000 }}" + strings.Repeat("x", 100) + "{{ end }}":      "runs away",
	} {
		if got, err := Render("t", text, data, 100_000); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s becomes %.80q, %v", text, got, err)
		}
	}
}
