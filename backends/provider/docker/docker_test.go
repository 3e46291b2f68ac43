package docker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/backends/provider/docker"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/internal/nstest"
	"archetype/internal/ownmachine"
	"archetype/lab"
	"archetype/vendors"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int {
		dockertest.Alone()
		return dockertest.Main(m)
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

// Another machine, to which this one routes, reaches the nodes of a management
// network, unless its file says that it shall not.
func TestExternalAccess(t *testing.T) {
	p := dockertest.New(t)
	if !enginetest.Installed("iptables") || !enginetest.Installed("nsenter") {
		t.Skip("needs iptables and nsenter")
	}
	kinds, _, err := vendors.Load("")
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := kinds.Kind("linux")
	here := nstest.Enter(t, fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	far := nstest.New(t)
	nstest.Cable(here, "far0", "192.0.2.1/24", far, "eth0", "192.0.2.2/24", 1500)
	route := exec.Command("nsenter", "--net="+far.Path, enginetest.StaticBusybox(), "ip", "route", "add", "default", "via", "192.0.2.1")
	if out, err := route.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	reaches := func(address string) bool {
		return exec.Command("nsenter", "--net="+far.Path, enginetest.StaticBusybox(), "ping", "-c1", "-W1", address).Run() == nil
	}
	rules := func() string {
		out, err := exec.Command("iptables", "-w", "-S", "DOCKER-USER").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	before := rules()
	run := func(name, address string, external *bool) backends.NodeRef {
		t.Helper()
		m := &lab.Management{Network: "access-" + name, IPv4Subnet: address + "/24", ExternalAccess: external}
		ref := backends.NodeRef{Lab: "access", Node: name}
		node := strings.TrimSuffix(address, "0") + "10"
		c := backends.NodeConfig{Ref: ref, Kind: kind, Management: m, Labels: map[string]string{},
			Node: lab.Node{Name: name, Kind: "linux", Image: dockertest.Image, Cmd: "sleep 1000", Container: lab.Container{ManagementIPv4: node}}}
		if err := errors.Join(p.Create(t.Context(), c), p.Start(t.Context(), ref)); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	no := false
	open := run("open", "172.31.211.0", nil)
	closed := run("closed", "172.31.212.0", &no)
	nstest.UntilSlow(t, "the other machine reaches the node", func() bool { return reaches("172.31.211.10") })
	nstest.UntilSlow(t, "this machine reaches the other node", func() bool {
		return exec.Command(enginetest.StaticBusybox(), "ping", "-c1", "-W1", "172.31.212.10").Run() == nil
	})
	if reaches("172.31.212.10") {
		t.Error("external-access: false has no effect")
	}
	if err := errors.Join(p.Remove(t.Context(), open), p.Remove(t.Context(), closed)); err != nil {
		t.Fatal(err)
	}
	if after := rules(); after != before {
		t.Errorf("rules that are left:\n%s\nand before:\n%s", after, before)
	}
}
