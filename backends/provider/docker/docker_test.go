package docker_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends/provider/docker"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int {
		dockertest.Alone()
		return newest.Main(enginesOf{m})
	}))
}

func TestContainers(t *testing.T) { enginetest.Run(t, &dockertest.Shared) }

// The endpoint is found as Docker's own command line finds it; the settings
// come before all of it.
func TestEndpoint(t *testing.T) {
	host := dockertest.Shared.Get(t).Host
	config := t.TempDir()
	cli := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("docker", append([]string{"--config", config}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	if !enginetest.Installed("docker") {
		t.Skip("needs Docker's command line")
	}
	cli("context", "create", "here", "--docker", "host="+host)
	cli("context", "create", "far", "--docker", "host=tcp://192.0.2.1:2375")
	for _, c := range []struct {
		name     string
		settings string
		env      map[string]string
		current  string // context in the file
		detail   string // what an available one says
		reason   string // or why it is none
	}{
		{name: "settings", settings: host, env: map[string]string{"DOCKER_HOST": "unix:///nowhere"}, detail: host},
		{name: "DOCKER_HOST", env: map[string]string{"DOCKER_HOST": host, "DOCKER_CONTEXT": "far"}, detail: host},
		{name: "DOCKER_CONTEXT", env: map[string]string{"DOCKER_CONTEXT": "here"}, current: "far", detail: host},
		{name: "context in use", current: "here", detail: host},
		{name: "a machine far away", current: "far", reason: "tcp://192.0.2.1:2375 (context far) is not on this machine"},
		{name: "no such context", env: map[string]string{"DOCKER_CONTEXT": "gone"}, reason: "the Docker context gone does not exist"},
		{name: "nobody there", settings: "unix:///nowhere", reason: "there is no Docker engine at /nowhere"},
		{name: "the usual place", reason: "there is no Docker engine at /var/run/docker.sock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", config)
			for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT"} {
				t.Setenv(name, c.env[name])
			}
			text, err := json.Marshal(map[string]string{"currentContext": c.current})
			if err == nil {
				err = os.WriteFile(filepath.Join(config, "config.json"), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat("/var/run/docker.sock"); err == nil && c.name == "the usual place" {
				t.Skip("this machine has an engine there")
			}
			p := docker.New(docker.Config{Host: c.settings, Run: t.TempDir(), Labs: t.TempDir()})
			defer func() { _ = p.Close() }()
			a := p.Available(t.Context())
			if a.OK != (c.reason == "") || !strings.Contains(a.Detail, c.detail) || !strings.Contains(a.Reason, c.reason) || !a.OK && a.Fix == "" {
				t.Errorf("%+v", a)
			}
		})
	}
}

const chain = "DOCKER-USER"

func TestExternalAccess(t *testing.T) { enginetest.ExternalAccess(t, &dockertest.Shared, chain) }

// enginesOf runs the tests and ends the engine that they shared.
type enginesOf struct{ m *testing.M }

func (e enginesOf) Run() int { return dockertest.Main(e.m) }
