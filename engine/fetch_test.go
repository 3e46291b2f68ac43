package engine_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/engine/api"
)

// A startup configuration of the web is fetched at each deploy, once for all
// nodes that have it; where the server is away the former one serves.
func TestStartupConfigOfTheWeb(t *testing.T) {
	var asked int
	answer := func(w http.ResponseWriter) { _, _ = w.Write([]byte("hostname one\n")) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.URL.Path != "/configs/all.cfg" {
			t.Errorf("asked for %s", r.URL)
		}
		answer(w)
	}))
	defer server.Close()
	b := newBench(t)
	text := `name: web
topology:
  defaults: {kind: linux, startup-config: "` + strings.Replace(server.URL, "//", "//user:hush@", 1) + `/configs/all.cfg"}
  nodes: {a: , b: }
`
	config := func() string { return b.config(backends.NodeRef{Lab: "web", Node: "b"}).Config }
	b.done(b.deploy(text).Job, nil)
	if asked != 1 || config() != "hostname one\n" {
		t.Errorf("asked %d times, and b has %q", asked, config())
	}
	answer = func(w http.ResponseWriter) { _, _ = w.Write([]byte("hostname two\n")) }
	d := b.deploy(text)
	b.done(d.Job, nil)
	if len(d.Plan.NodesChanged) != 2 || config() != "hostname two\n" {
		t.Errorf("of the other text came %+v, and b has %q", d.Plan, config())
	}
	refused := func(want string) {
		t.Helper()
		_, err := b.e.Deploy(b.Context(), api.DeployRequest{File: b.file(text)})
		var all string
		if e, ok := err.(*api.Error); ok && len(e.Diagnostics) > 0 { //nolint:errorlint // it is never wrapped
			all = e.Diagnostics[0].String()
		}
		if !strings.Contains(all, `.yml:3:43: error: node "a": startup-config: `+want) || strings.Contains(all, "hush") {
			t.Errorf("it is refused with %q, not for %q", all, want)
		}
	}
	answer = func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }
	refused("the server answers 404 Not Found")
	answer = func(w http.ResponseWriter) {
		for chunk := make([]byte, 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	refused("too large: a file has at most 8388608 bytes")
	server.Close()
	if d = b.deploy(text); len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0].Message, "the one that was fetched before is used: ") || d.Plan.NodesUnchanged != 2 {
		t.Errorf("without its server: %+v, %v", d.Plan, d.Warnings)
	}
	b.done(d.Job, nil)
	text = strings.Replace(text, "all.cfg", "other.cfg", 1)
	refused("dial tcp ")

	// What no file of a lab names any more is not kept, nor that of none.
	kept := func(labName string, want int) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(b.dir, "labs", labName, ".fetched", "*", "*.cfg"))
		if err != nil || len(files) != want {
			t.Errorf("kept are %q, %v", files, err)
		}
	}
	kept("web", 1)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing.cfg" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	text = "name: web\ntopology:\n  nodes:\n    a: {kind: linux, startup-config: " + server.URL + "/a.cfg}\n"
	b.done(b.deploy(text).Job, nil)
	kept("web", 1)
	text = strings.Replace(text, "name: web", "name: never", 1) + "    b: {kind: linux, startup-config: " + server.URL + "/missing.cfg}\n"
	if _, err := b.e.Deploy(b.Context(), api.DeployRequest{File: b.file(text)}); err == nil {
		t.Error("deployed without a file")
	}
	if left, err := os.ReadDir(filepath.Join(b.dir, "labs")); err != nil || len(left) != 1 {
		t.Errorf("a lab that was never deployed left %v, %v", left, err)
	}
	b.done(b.e.Destroy(b.Context(), "web"))
	b.until("no lab", func(s *api.Snapshot) bool { return len(s.Labs) == 0 })
	kept("*", 0)
}
