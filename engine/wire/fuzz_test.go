package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
	"archetype/store"
	"archetype/vendors"
)

// Whatever comes as frames: each is what its head says and no larger than the
// bound, and what was read is what is written again.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	out := &framer{w: &b}
	_ = out.frame(frameIn, []byte("ls\n"))
	_ = out.value(frameResize, backends.Size{Cols: 80, Rows: 24})
	_ = out.frame(frameIn, nil)
	f.Add(b.Bytes())
	f.Add([]byte{frameOut, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, again := bytes.NewReader(data), &bytes.Buffer{}
		w := &framer{w: again}
		for {
			before := len(data) - r.Len()
			sort, body, err := readFrame(r)
			if err != nil {
				break
			}
			if len(body) > maxFrame || w.frame(sort, body) != nil || !bytes.Equal(again.Bytes(), data[:before+5+len(body)]) {
				t.Fatalf("a frame of %d bytes: %x", len(body), again.Bytes())
			}
		}
	})
}

// fuzzed is a real engine over a simulated machine.
func fuzzed(f testing.TB) (*engine.Engine, string) {
	dir := f.TempDir()
	file := filepath.Join(dir, "l.clab.yml")
	text := "name: l\ntopology:\n  nodes: {a: {kind: linux}, b: {kind: linux}}\n  links: [{endpoints: [\"a:eth1\", \"b:eth1\"]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	kinds, _, err := vendors.Load(filepath.Join(dir, "none"))
	if err != nil {
		f.Fatal(err)
	}
	st, err := store.Open(filepath.Join(dir, "db"), store.Options{NoSync: true})
	if err != nil {
		f.Fatal(err)
	}
	w := sim.NewWorld()
	reg := &backends.Registry{}
	reg.AddProvider(w.Provider())
	for _, n := range w.Networks() {
		reg.AddNetwork(n)
	}
	e, err := engine.New(context.Background(), engine.Options{Store: st, Backends: reg, Vendors: kinds.Under(sim.ProviderName),
		Defaults: engine.Defaults{Provider: sim.ProviderName, Network: sim.CableName, BootTimeout: time.Minute}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Shutdown(); _ = st.Close() })
	if _, err := e.Deploy(context.Background(), api.DeployRequest{File: file}); err != nil {
		f.Fatal(err)
	}
	return e, file
}

// Whatever a client asks for: the engine answers, with an error that has a
// code where it is one, goes on, and holds no lab or node whose name could
// lead out of the folder of labs.
func FuzzRequest(f *testing.F) {
	e, file := fuzzed(f)
	h := newServer(e, Options{}).handler()
	// Not those that go on, nor the backup, which writes where it is told to.
	paths := []string{pathSnapshot, pathPlan, pathDeploy, pathDestroy, pathNodes, pathLink, pathEdit, pathStrays, pathConfig, pathImpair,
		pathNetwork, pathCancel, pathStats, pathBackends, pathLogs, pathCapture, pathTraffic}
	name, _ := json.Marshal(file)
	end := func(node string) string {
		b, _ := json.Marshal(lab.Endpoint{Node: node, Interface: "eth1"})
		return string(b)
	}
	for i, body := range map[uint8]string{1: `{"file":` + string(name) + `}`, 2: `{"file":` + string(name) + `,"env":{"A":"b"}}`, 3: `{"name":"x"}`,
		4: `{"lab":"l","nodes":["a"],"verb":"stop"}`, 5: `{"lab":"l","a":` + end("a") + `,"b":` + end("b") + `,"wish":"down"}`,
		6: `{"lab":"l","add_nodes":[{"name":"../../c","kind":"linux"}],"add_links":[{"a":` + end("a") + `,"b":` + end("..") + `}]}`,
		9: `{"lab":"l","a":` + end("a") + `,"b":` + end("b") + `,"from_a":{"delay":20,"loss":1}}`, 14: `{"lab":"../..","node":"a"}`} {
		f.Add(i, []byte(body))
	}
	f.Fuzz(func(t *testing.T, at uint8, body []byte) {
		path := paths[int(at)%len(paths)]
		if bytes.Contains(body, []byte("follow")) {
			return // it would wait for what a device says
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			var e api.Error
			if json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Code == "" || e.Message == "" {
				t.Fatalf("%s %q: %d %s", path, body, w.Code, w.Body)
			}
		}
		snap, err := e.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range snap.Labs {
			for _, n := range l.Nodes {
				if p := l.Name + "/" + n.Name; !filepath.IsLocal(p) || strings.Count(p, "/") != 1 || filepath.Clean(p) != p {
					t.Fatalf("%s %q made %q", path, body, p)
				}
			}
		}
	})
}

// A request is read no further than its bound.
func TestRequestIsBounded(t *testing.T) {
	h := newServer(&engine.Engine{}, Options{}).handler()
	w := httptest.NewRecorder()
	r := &counted{Reader: strings.NewReader(`{"file":"` + strings.Repeat("x", 2*maxRequest) + `"}`)}
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, pathPlan, r))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "too large") || r.n > maxRequest+1<<20 {
		t.Errorf("%d after %d bytes: %s", w.Code, r.n, w.Body)
	}
}

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}
