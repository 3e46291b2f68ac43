package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/ownmachine"
)

// containers is a lab of containers, of which those that may are in a
// management network.
func containers(managed bool) string {
	const none = "network-mode: none"
	mgmt, a, b := "", none, none
	if managed {
		mgmt, a, b = "mgmt: {network: boxes-mgmt, ipv4-subnet: 172.31.222.0/24}", "mgmt-ipv4: 172.31.222.11", "mgmt-ipv4: 172.31.222.12"
	}
	return fmt.Sprintf(`name: boxes
%s
topology:
  defaults: {kind: linux, image: "%s", cmd: sleep 1000}
  nodes:
    a: {%s, env: {PASSWORD: `+marker+`-box}, env-files: [greeting.env], exec: ["sh -c 'echo $GREETING >/said'", "sh -c 'echo no such thing; exit 3'"]}
    b: {%s, startup-delay: 2}
    c: {network-mode: none, stages: {create: {wait-for: [{node: a, stage: configure}]}}}
  links:
    - {type: veth, endpoints: [{node: a, interface: eth1, ipv4: 10.1.0.1/24}, {node: b, interface: eth1, ipv4: 10.1.0.2/24}]}
    - {type: veth, endpoints: [{node: b, interface: eth2, ipv4: 10.1.1.1/24}, {node: c, interface: eth1, ipv4: 10.1.1.2/24}]}
`, mgmt, enginetest.Image, a, b)
}

// engines are those that containers are had of, as whom the program runs with
// each, and over which networks.
type containerEngine struct {
	name     string
	kind     enginetest.Kind
	mode     mode
	networks []string
	alike    bool // nothing is left of the engine's own either
}

var engines = []containerEngine{
	{"docker", dockertest.Kind, asRoot, networks[1:], true},
	{"podman", podmantest.Kind, asRoot, networks[:1], false},
	{"podman-rootless", podmantest.Rootless, asUser, networks, false},
}

// TestContainersAreALabLikeAnyOther on a machine of its own, where an engine
// of containers runs: a lab is deployed, used, seen, meddled with, outlives
// engine and holder, and goes without a trace.
func TestContainersAreALabLikeAnyOther(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		labOfContainers(t)
		return
	}
	for _, e := range engines {
		if why := e.kind.Missing(); why != "" {
			t.Run(e.name, func(t *testing.T) { t.Skip(why) })
			continue
		}
		for _, network := range e.networks {
			t.Run(e.name+"/"+network, func(t *testing.T) {
				t.Parallel()
				alone(t, "E2E_NETWORK="+network, "E2E_ENGINE="+e.name)
			})
		}
	}
}

// shim reports whether a process is one that an engine has beside a container.
func shim(pid string) bool {
	line, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return strings.Contains(string(line), "containerd-shim")
}

// elsewhere is another network than this one.
func elsewhere(network string) string {
	if network == "veth" {
		return "linuxbridge"
	}
	return "veth"
}

func labOfContainers(t *testing.T) {
	enterSandbox(t)
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	dockertest.Alone()
	e := engines[slices.IndexFunc(engines, func(e containerEngine) bool { return e.name == os.Getenv("E2E_ENGINE") })]
	engine, err := enginetest.Launch(e.kind)
	if err != nil && e.mode == asUser {
		t.Skip("an ordinary user's Podman does not run here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	w := newWorld(t, e.mode)
	if e.mode == asRoot {
		w.sudo()
	}
	w.umask(map[bool]string{true: "000", false: "022"}[os.Getenv("E2E_NETWORK") == e.networks[0]])
	w.env = append(w.env, "DOCKER_HOST="+engine.Host, "CONTAINER_HOST="+engine.Host)
	if e.mode == asUser { // it is that user's
		w.env = append(w.env, "HOME="+engine.Dir, "XDG_RUNTIME_DIR="+engine.Dir, "PATH="+slowly(w, engine.Dir, "podman")+":"+os.Getenv("PATH"))
	}
	w.file("greeting.env", "GREETING=good morning\n")
	file := w.file("boxes.clab.yml", containers(e.mode == asRoot))
	w.ok("doctor")
	before := lookAround(w)
	asked := time.Now()
	if out := w.ok("deploy", file, "--provider", e.kind.Name, "--network", os.Getenv("E2E_NETWORK")); !strings.Contains(out, "exit code 3: no such thing") {
		t.Errorf("that a command failed is not told in\n%s", out)
	}
	l := w.awaitWhole("boxes")
	w.keepsSecrets("boxes")
	for _, n := range l.Nodes {
		if n.Provider != e.kind.Name || n.Identifier != "clab-boxes-"+n.Name {
			t.Errorf("%+v", n)
		}
	}
	if out := w.ok("inspect", "boxes", "--json"); e.mode == asRoot && !strings.Contains(out, `"172.31.222.11"`) {
		t.Errorf("the address that the file names is not in %s", out)
	}
	if out := w.ok("inspect", "boxes"); e.mode == asRoot && !strings.Contains(out, " 172.31.222.11 ") {
		t.Errorf("nor for people in %s", out)
	}
	if got := w.sh("boxes", "a", "cat /said"); got != "good morning" {
		t.Errorf("its exec and environment file left %q", got)
	}
	cli, err := engine.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	look := func(node string) container.InspectResponse {
		t.Helper()
		res, err := cli.ContainerInspect(t.Context(), "clab-boxes-"+node, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return res.Container
	}
	if made, began := look("c").Created, look("a").State.StartedAt; made < began {
		t.Errorf("c was made at %s, before a began at %s, which it waits for", made, began)
	}
	if made, err := time.Parse(time.RFC3339Nano, look("b").Created); err != nil || made.Sub(asked) < 2*time.Second {
		t.Errorf("b was made at %s, %v; asked for at %s, with a delay of two seconds", made, err, asked)
	}
	reach := func(when string) {
		t.Helper()
		w.await("pings across "+when, func() bool { return w.ping("boxes", "a", "10.1.0.2") && w.ping("boxes", "c", "10.1.1.1") })
	}
	reach("at first")
	for _, network := range []string{elsewhere(os.Getenv("E2E_NETWORK")), os.Getenv("E2E_NETWORK")} {
		if out := w.ok("network", "boxes", network); !strings.Contains(out, " moved to "+network+"; gap per link: median ") {
			t.Errorf("the swap to %s said %s", network, out)
		}
		reach("on " + network)
	}
	w.ok("restart", "boxes", "b")
	reach("after a restart")
	c := w.terminal(30, 100, "console", "boxes", "a")
	c.say("stty size; echo at-$(hostname)\r")
	c.until("30 100\r")
	c.until("at-a\r")
	c.say("exit\r")
	if err := c.rest(); err != nil {
		t.Error("the console: ", err)
	}

	// Behind the program's back, while it looks and while it doesn't.
	meddle := func() {
		t.Helper()
		none := 0
		_, err := cli.ContainerRestart(t.Context(), "clab-boxes-b", client.ContainerRestartOptions{Timeout: &none})
		if err == nil {
			_, err = cli.ContainerKill(t.Context(), "clab-boxes-a", client.ContainerKillOptions{Signal: "KILL"})
		}
		if err == nil {
			_, err = cli.ContainerRemove(t.Context(), "clab-boxes-c", client.ContainerRemoveOptions{Force: true})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	meddle()
	reach("after containers were killed, restarted and removed")
	w.ok("engine", "stop")
	meddle()
	reach("after the same was done while nobody looked")
	w.awaitWhole("boxes")

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
	if e.mode == asUser && os.Getenv("E2E_NETWORK") == e.networks[0] {
		rebooted(w, engine, look)
		reach("after a boot")
	}

	// The file moves an end to another peer: the address of the old link goes,
	// what the node gave itself stays, also over a restart.
	w.sh("boxes", "b", "ip addr add 192.0.2.7/32 dev eth2")
	text := containers(e.mode == asRoot)
	text = strings.Replace(text, "{node: b, interface: eth2, ipv4: 10.1.1.1/24}, {node: c, interface: eth1,", "{node: b, interface: eth2, ipv4: 10.1.3.1/24}, {node: a, interface: eth2,", 1)
	w.ok("deploy", w.file("boxes.clab.yml", strings.Replace(text, "10.1.1.2/24", "10.1.3.2/24", 1)))
	w.await("pings across the moved cable", func() bool { return w.ping("boxes", "a", "10.1.3.1") })
	if said := w.sh("boxes", "b", "ip -o addr show dev eth2"); strings.Contains(said, "10.1.1.1") || !strings.Contains(said, "192.0.2.7") {
		t.Errorf("after its cable was moved, an interface has\n%s", said)
	}
	none := 0
	for who, restart := range map[string]func(){
		"the lab": func() { w.ok("restart", "boxes", "b") },
		"somebody": func() {
			if _, err := cli.ContainerRestart(t.Context(), "clab-boxes-b", client.ContainerRestartOptions{Timeout: &none}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		restart()
		w.await("pings across the moved cable after a restart by "+who, func() bool { return w.ping("boxes", "a", "10.1.3.1") })
		if said := w.sh("boxes", "b", "ip -o addr show dev eth2"); strings.Contains(said, "10.1.1.1") {
			t.Errorf("after a restart by %s, an interface has again\n%s", who, said)
		}
	}

	labels, image := look("a").Config.Labels, look("a").Config.Image
	if e.name == "docker" && os.Getenv("E2E_NETWORK") == e.networks[0] {
		keptWhileAway(w, engine, e.kind.Name)
	}
	w.ok("destroy", "boxes", "--yes")
	leftBehind(w, cli, labels, image)
	if !became(func() bool { return len(w.processes()) == 0 }) {
		w.Fatalf("left after the last lab: %v", w.processes())
	}
	after := lookAround(w)
	for _, what := range []string{"links", "mounts", "named namespaces", "files"} {
		if got, want := after[what], before[what]; !slices.Equal(got, want) {
			t.Errorf("%s after destroy:\n%s\nand before:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if e.alike {
		w.await("the engine's own processes to end", func() bool { return !slices.ContainsFunc(names("/proc"), shim) })
	}
}

// slowly is a folder in another one, with a program that takes its time, as on
// a machine that has much else to do, and then is what is called so.
func slowly(w *world, in, name string) (folder string) {
	w.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		w.Fatal(err)
	}
	folder = filepath.Join(in, "slowly")
	if err := os.Mkdir(folder, 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\nsleep 4\nexec "+path+` "$@"`), 0o755); err != nil {
		w.Fatal(err)
	}
	return folder
}

// rebooted ends all that a user has, Podman and the namespace in which it has
// its containers, as a boot does. The program is started before Podman then.
func rebooted(w *world, engine *enginetest.Engine, look func(string) container.InspectResponse) {
	w.Helper()
	var inits []int
	for _, node := range []string{"a", "b", "c"} {
		inits = append(inits, look(node).State.Pid)
	}
	w.kill(w.holder())
	engine.Kill()
	engine.Ended(engine)
	for _, pid := range inits {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, kept := range []string{"libpod", "netns", "runc", "crun", "containers", "s"} { // over no boot
		_ = os.RemoveAll(filepath.Join(engine.Dir, kept))
	}
	locks, _ := filepath.Glob("/dev/shm/libpod_*")
	for _, f := range locks {
		_ = os.Remove(f)
	}
	w.await("it to say that Podman is away", func() bool { return strings.Contains(w.ok("inspect", "boxes"), "does not answer: nobody listens at") })
	if err := engine.Start(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.awaitWhole("boxes")
}

// keptWhileAway loses the store while the engine of the containers is away:
// nothing of the lab is taken for a leftover, and it is taken up once there is
// somebody to ask.
func keptWhileAway(w *world, engine *enginetest.Engine, provider string) {
	w.Helper()
	w.kill(w.engine())
	w.loseStore()
	engine.Kill()
	r := w.code(1, "gc", "--remove", "--json")
	said := map[string]string{}
	for _, s := range w.found(r) {
		if said[s.String()] = s.Error; s.Removed {
			w.Errorf("removed though nobody could be asked: %+v", s)
		}
	}
	for what, words := range map[string]string{provider + " node ": "cannot be looked for",
		os.Getenv("E2E_NETWORK") + " links boxes/": "left alone: it may be of nodes of " + provider} {
		if !strings.Contains(said[what], words) {
			w.Errorf("of %q it says %q in %s", what, said[what], r)
		}
	}
	if err := engine.Start(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.await("the lab to be known again", func() bool { return w.run("inspect", "boxes").code == 0 })
	if got := w.strays("gc", "--remove"); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, " boxes/") }) {
		w.Errorf("of a lab that is known again, gc --remove finds %q", got)
	}
	if l := w.inspect("boxes"); len(l.Nodes) != 3 || len(l.Links) != 2 || l.link("b:eth2", "a:eth2").A == "" {
		w.Errorf("known again is %+v", l)
	}
	w.ok("restart", "boxes", "a") // in the lab's own management network, as its file says
	w.await("its address in the management network", func() bool { return strings.Contains(w.ok("inspect", "boxes"), "172.31.222.11") })
}

// leftBehind makes what a crash may leave of containers, and something of
// somebody else's beside it: gc tells it, and removes it and nothing else when
// it is asked to.
func leftBehind(w *world, cli *client.Client, labels map[string]string, image string) {
	w.Helper()
	ctx := w.Context()
	labels = maps.Clone(labels)
	labels["archetype.lab"], labels["archetype.node"] = "forgotten", "x"
	delete(labels, "archetype.spec") // what it was made from is not known any more
	ours := map[string]string{"archetype.home": labels["archetype.home"]}
	others := map[string]string{"archetype.home": "/somebody/elses", "archetype.lab": "forgotten", "archetype.node": "y"}
	for name, l := range map[string]map[string]string{"forgotten-x": labels, "elses-y": others} {
		if _, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{Name: name,
			Config: &container.Config{Image: image, Labels: l, Cmd: []string{"sleep", "1000"}}, HostConfig: &container.HostConfig{NetworkMode: "none"}}); err != nil {
			w.Fatal(err)
		}
	}
	for name, l := range map[string]map[string]string{"forgotten-net": ours, "elses-net": others} {
		if _, err := cli.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: l}); err != nil {
			w.Fatal(err)
		}
	}
	have := func() (out []string) {
		w.Helper()
		boxes, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true})
		nets, nerr := cli.NetworkList(ctx, client.NetworkListOptions{})
		if err != nil || nerr != nil {
			w.Fatal(err, nerr)
		}
		for _, b := range boxes.Items {
			out = append(out, strings.TrimPrefix(b.Names[0], "/"))
		}
		for _, n := range nets.Items {
			if strings.HasSuffix(n.Name, "-net") {
				out = append(out, n.Name)
			}
		}
		slices.Sort(out)
		return out
	}
	for _, remove := range []bool{false, true} {
		args, left := []string{"gc"}, "elses-net elses-y forgotten-net forgotten-x"
		if remove {
			args, left = append(args, "--remove"), "elses-net elses-y"
		}
		out := w.ok(args...)
		if !strings.Contains(out, "node forgotten/x") || !strings.Contains(out, "network forgotten-net") || strings.Contains(out, "elses") {
			w.Errorf("%v says %s", args, out)
		}
		if now := strings.Join(have(), " "); now != left {
			w.Errorf("after %v there is %s", args, now)
		}
	}
	if _, err := cli.ContainerRemove(ctx, "elses-y", client.ContainerRemoveOptions{Force: true}); err != nil {
		w.Error(err)
	}
	if _, err := cli.NetworkRemove(ctx, "elses-net", client.NetworkRemoveOptions{}); err != nil {
		w.Error(err)
	}
}
