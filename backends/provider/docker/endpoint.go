package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/dockerapi"
	"archetype/backends/provider/endpoint"
)

// endpoint finds Docker as its own command line does: the settings, then
// DOCKER_HOST, then the context in use, then the usual place.
func (p *Provider) endpoint() (endpoint.Endpoint, error) {
	if p.cfg.Host != "" {
		return endpoint.Endpoint{Host: p.cfg.Host, From: "settings"}, nil
	}
	if h := os.Getenv(client.EnvOverrideHost); h != "" {
		return endpoint.Endpoint{Host: h, From: client.EnvOverrideHost}, nil
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		b, err := os.ReadFile(filepath.Join(dockerapi.ConfigDir(), "config.json"))
		var file struct {
			CurrentContext string `json:"currentContext"`
		}
		if err == nil && json.Unmarshal(b, &file) == nil {
			name = file.CurrentContext
		}
	}
	if name == "" || name == "default" {
		return endpoint.Endpoint{Host: client.DefaultDockerHost, From: "default"}, nil
	}
	return contextEndpoint(name)
}

// contextEndpoint reads a Docker context.
func contextEndpoint(name string) (endpoint.Endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	path := filepath.Join(dockerapi.ConfigDir(), "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint.Endpoint{}, fmt.Errorf("the Docker context %s does not exist (%w)", name, backends.ErrUnavailable)
	}
	if err != nil {
		return endpoint.Endpoint{}, err
	}
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return endpoint.Endpoint{}, fmt.Errorf("context %s: %w", name, err)
	}
	host := meta.Endpoints["docker"].Host
	if host == "" {
		return endpoint.Endpoint{}, fmt.Errorf("the Docker context %s names no endpoint (%w)", name, backends.ErrUnavailable)
	}
	return endpoint.Endpoint{Host: host, From: "context " + name}, nil
}
