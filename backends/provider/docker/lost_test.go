package docker_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/docker"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/lab"
	"archetype/vendors"
)

// forgetful is Docker as it is after it was killed in the middle of a start: of
// one container it says for ever that it has its task already.
func forgetful(t *testing.T, host string) (endpoint string, lost *atomic.Value) {
	lost = &atomic.Value{}
	lost.Store("")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
	}}
	proxy.FlushInterval = -1
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := path.Base(path.Dir(r.URL.Path)); path.Base(r.URL.Path) == "start" {
			lost.CompareAndSwap("", id)
			if lost.Load() == id {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprintf(w, `{"message":"task %s: already exists"}`, id)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return "unix://" + socket, lost
}

// A container that Docker has lost before it ran is made anew; one that has run
// is left for its files, and what to do is said.
func TestALostContainerIsMadeAnew(t *testing.T) {
	host, lost := forgetful(t, dockertest.Shared.Get(t).Host)
	p := docker.New(docker.Config{Host: host, Run: filepath.Join(t.TempDir(), "run"), Labs: filepath.Join(t.TempDir(), "labs")})
	t.Cleanup(func() { _ = p.Close() })
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ref := backends.NodeRef{Lab: "lost", Node: "a"}
	c := backends.NodeConfig{Ref: ref, Kind: kind, Labels: map[string]string{}, Node: lab.Node{Name: "a", Kind: "linux", Image: enginetest.Image,
		Cmd: "sleep 1000", Container: lab.Container{NetworkMode: "none"}}}
	t.Cleanup(func() { _ = p.Remove(context.Background(), ref) })
	begin := func() error {
		if err := p.Create(ctx, c); err != nil {
			t.Fatal(err)
		}
		return p.Start(ctx, ref)
	}
	if err := begin(); err == nil || !strings.Contains(err.Error(), "is made anew") {
		t.Fatal("lost before it ran: ", err)
	}
	if err := begin(); err != nil {
		t.Fatal("made anew: ", err)
	}
	if err := p.Stop(ctx, ref, 0); err != nil {
		t.Fatal(err)
	}
	lost.Store("") // and so is that which has run
	for range 2 {
		if err := begin(); err == nil || !strings.Contains(err.Error(), "docker rm -f clab-lost-a") {
			t.Error("lost after it ran: ", err)
		}
	}
}
