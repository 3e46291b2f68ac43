package enginetest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RegistryAddress is where a case has its registry, on a machine of the tests'
// own: engines must be told beforehand that it has no certificate.
const RegistryAddress = "127.0.0.1:5000"

// registry is a stand-in for an image registry: as much of its protocol as a
// pull takes.
type registry struct {
	address string
	asked   atomic.Int64 // for manifests

	mu        sync.Mutex
	blobs     map[string][]byte
	manifests map[string][]byte // by name:tag and by digest
}

func newRegistry(b *bench) *registry {
	b.Helper()
	r := &registry{address: RegistryAddress, blobs: map[string][]byte{}, manifests: map[string][]byte{}}
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Shutdown(context.WithoutCancel(b.Context())) })
	return r
}

const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.container.image.v1+json"
	layerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// publish makes an image of busybox and the files given.
func (r *registry) publish(name, tag string, files map[string]string) {
	root, err := Root(files)
	if err != nil {
		panic(err) // the image of all tests is made the same way
	}
	var layer bytes.Buffer
	plain := sha256.New()
	z := gzip.NewWriter(&layer)
	_, _ = io.Copy(io.MultiWriter(z, plain), root)
	_ = z.Close()
	config, _ := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin:/sbin"}, "Cmd": []string{"sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(plain.Sum(nil))}},
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	part := func(kind string, data []byte) map[string]any {
		d := digest(data)
		r.blobs[d] = data
		return map[string]any{"mediaType": kind, "size": len(data), "digest": d}
	}
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType,
		"config": part(configType, config), "layers": []any{part(layerType, layer.Bytes())}})
	r.manifests[name+":"+tag], r.manifests[name+":"+digest(manifest)] = manifest, manifest
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if path == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var data []byte
	if name, what, ok := strings.Cut(path, "/manifests/"); ok {
		r.asked.Add(1)
		data = r.manifests[name+":"+what]
		w.Header().Set("Content-Type", manifestType)
	} else if _, what, ok := strings.Cut(path, "/blobs/"); ok {
		data = r.blobs[what]
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	if data == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	}
	w.Header().Set("Docker-Content-Digest", digest(data))
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}
