package docker_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/docker"
	"archetype/backends/provider/docker/dockertest"
	"archetype/internal/unixsock"
	"archetype/lab"
	"archetype/vendors"
)

// claims stands between the program and an engine that it has say of itself
// that it speaks another version of the API. It notes which one it is spoken
// to in.
type claims struct {
	version, truth string
	mu             sync.Mutex
	spoken         []string
}

var versioned = regexp.MustCompile(`^/v(\d+\.\d+)/`)

func (c *claims) listen(t *testing.T, engine string) (host string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := unixsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	to := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", strings.TrimPrefix(engine, "unix://"))
	}}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{Transport: to, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine"
			if m := versioned.FindStringSubmatch(r.Out.URL.Path); m != nil {
				c.mu.Lock()
				if !slices.Contains(c.spoken, m[1]) {
					c.spoken = append(c.spoken, m[1])
				}
				c.mu.Unlock()
				r.Out.URL.Path = "/v" + c.truth + r.Out.URL.Path[len(m[0])-1:]
			}
		},
		ModifyResponse: func(r *http.Response) error { r.Header.Set("Api-Version", c.version); return nil }}}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); to.CloseIdleConnections() })
	return "unix://" + path
}

// The newest version of the API that both sides know is spoken.
func TestBothEndsAgreeOnAVersion(t *testing.T) {
	e := dockertest.Shared.Get(t)
	cli, err := e.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	ping, err := cli.Ping(t.Context(), client.PingOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	for claim, want := range map[string]string{"1.40": "1.40", "1.44": "1.44", "1.99": client.MaxAPIVersion, "1.39": ""} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			c := &claims{version: claim, truth: ping.APIVersion}
			p := docker.New(docker.Config{Host: c.listen(t, e.Host), Run: t.TempDir(), Labs: t.TempDir()})
			defer func() { _ = p.Close() }()
			a := p.Available(t.Context())
			if want == "" {
				if a.OK || !strings.Contains(a.Reason, "API 1.39") || !strings.Contains(a.Reason, client.MinAPIVersion) || a.Fix == "" {
					t.Errorf("%+v", a)
				}
				return
			}
			if !a.OK || !strings.Contains(a.Detail, "API "+claim) {
				t.Errorf("%+v", a)
			}
			ref := backends.NodeRef{Lab: "agree-" + strings.ReplaceAll(claim, ".", "-"), Node: "a"}
			if err := p.Create(t.Context(), backends.NodeConfig{Ref: ref, Kind: kind, Labels: map[string]string{},
				Node: lab.Node{Name: "a", Kind: "linux", Image: dockertest.Image, Cmd: "sleep 1000", Container: lab.Container{NetworkMode: "none"}}}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.Remove(t.Context(), ref); err != nil {
					t.Error(err)
				}
			}()
			if err := p.Start(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			res, err := p.Exec(t.Context(), ref, backends.ExecRequest{Command: []string{"echo", "here"}})
			if err != nil || string(res.Stdout) != "here\n" {
				t.Errorf("%q, %v", res.Stdout, err)
			}
			if list, err := p.List(t.Context(), ref.Lab); err != nil || len(list) != 1 || !list[0].Running {
				t.Errorf("%+v, %v", list, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if !slices.Equal(c.spoken, []string{want}) {
				t.Errorf("it was spoken to in %q, wanted %s", c.spoken, want)
			}
		})
	}
}
