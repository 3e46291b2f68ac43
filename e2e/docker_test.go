package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"archetype/backends/provider/docker/dockertest"
	"archetype/internal/ownmachine"
)

// containers is a lab of containers with addresses in a management network.
const containers = `name: boxes
mgmt: {network: boxes-mgmt, ipv4-subnet: 172.31.222.0/24}
topology:
  defaults: {kind: linux, image: "` + dockertest.Image + `", cmd: sleep 1000}
  nodes:
    a: {mgmt-ipv4: 172.31.222.11}
    b: {}
    c: {network-mode: none}
  links:
    - {type: veth, endpoints: [{node: a, interface: eth1, ipv4: 10.1.0.1/24}, {node: b, interface: eth1, ipv4: 10.1.0.2/24}]}
    - {type: veth, endpoints: [{node: b, interface: eth2, ipv4: 10.1.1.1/24}, {node: c, interface: eth1, ipv4: 10.1.1.2/24}]}
`

// TestContainersAreALabLikeAnyOther on a machine of its own, where Docker runs:
// a lab is deployed, used, seen, outlives engine and holder, and goes without
// a trace.
func TestContainersAreALabLikeAnyOther(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		defer dockertest.Main(nothing{})
		labOfContainers(t)
		return
	}
	if why := dockertest.Kind.Missing(); why != "" {
		t.Skip(why)
	}
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestContainersAreALabLikeAnyOther$", "-test.v")
			cmd.Env = append(os.Environ(), envSandbox+"="+program, "E2E_NETWORK="+network)
			cmd.SysProcAttr = sandbox()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// nothing stands for tests that have been run already.
type nothing struct{}

func (nothing) Run() int { return 0 }

// shim reports whether a process is one that an engine has beside a container.
func shim(pid string) bool {
	line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return strings.Contains(string(line), "containerd-shim")
}

func labOfContainers(t *testing.T) {
	enterSandbox(t)
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	dockertest.Alone()
	engine := dockertest.Shared.Get(t)
	w := newWorld(t, asRoot)
	w.env = append(w.env, "DOCKER_HOST="+engine.Host)
	file := w.file("boxes.clab.yml", containers)
	w.ok("doctor")
	before := lookAround(w)
	w.ok("deploy", file, "--provider", "docker", "--network", os.Getenv("E2E_NETWORK"))
	l := w.awaitWhole("boxes")
	for _, n := range l.Nodes {
		if n.Provider != "docker" || n.Identifier != "clab-boxes-"+n.Name {
			t.Errorf("%+v", n)
		}
	}
	if out := w.ok("inspect", "boxes", "--json"); !strings.Contains(out, `"172.31.222.11"`) {
		t.Errorf("the address that the file names is not in %s", out)
	}
	reach := func(when string) {
		t.Helper()
		w.await("pings across "+when, func() bool { return w.ping("boxes", "a", "10.1.0.2") && w.ping("boxes", "c", "10.1.1.1") })
	}
	reach("at first")
	w.ok("restart", "boxes", "b")
	reach("after a restart")

	// The engine ends: nothing that goes over the links is lost.
	w.sh("boxes", "a", "ping -c 100 -i 0.05 10.1.0.2 >/tmp/pings 2>&1 &")
	w.kill(w.engine())
	w.await("the end of the pings", func() bool {
		return w.run("exec", "boxes", "a", "--", "grep", "-q", "packets received", "/tmp/pings").code == 0
	})
	if said := w.sh("boxes", "a", "grep received /tmp/pings"); !strings.Contains(said, "100 packets received") {
		t.Errorf("while the engine was away: %s", said)
	}
	// With the holder goes what was in its keeping; it is made anew.
	w.kill(w.holder())
	w.awaitWhole("boxes")
	reach("after the holder's end")

	w.ok("destroy", "boxes", "--yes")
	w.await("all to end", func() bool { return len(w.processes()) == 0 })
	after := lookAround(w)
	for _, what := range []string{"links", "mounts", "named namespaces", "files"} {
		if got, want := after[what], before[what]; !slices.Equal(got, want) {
			t.Errorf("%s after destroy:\n%s\nand before:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	w.await("the engine's own processes to end", func() bool { return !slices.ContainsFunc(names("/proc"), shim) })
}
