package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/guest"
	"archetype/internal/ownmachine"
)

// pair is a provider with a network, on a machine of its own with all that
// they need, and how to see what they have past the program.
type pair struct {
	provider, network string
	other             string // a network that labs can be moved to
	size              int    // of the labs
	furnish           func(t *testing.T, p *pair)
	missing           func() string

	w       *world
	node    string                                               // what a node of the lab is, in YAML
	head    string                                               // what stands before the topology
	runs    func(lab string, n nodeJSON) (running bool, pid int) // as the provider itself says
	more    func() []string                                      // of the portrait
	tags    func(l *inspectJSON) []string                        // of what does not agree
	servers servers
}

// servers are those that a pair needs and a test may take away.
type servers struct {
	docker  *enginetest.Engine
	ovs     *ovstest.Switch
	libvirt *libvirttest.Daemon
}

func (p *pair) name() string { return p.provider + " × " + p.network }

// thePairs are made anew for each use.
func thePairs() []*pair {
	nothing := func() string { return "" }
	return []*pair{
		{provider: "netns", network: "veth", other: "linuxbridge", size: 3, furnish: embedded, missing: nothing},
		{provider: "netns", network: "linuxbridge", other: "veth", size: 3, furnish: embedded, missing: nothing},
		{provider: "docker", network: "ovs", other: "linuxbridge", size: 2, furnish: dockerWithSwitch, missing: func() string {
			if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
				return err.Error()
			}
			return dockertest.Kind.Missing()
		}},
		{provider: "libvirt", network: "linuxbridge", other: "veth", size: 2, furnish: machinesAtRest, missing: func() string {
			for _, program := range []string{"libvirtd", "virsh", "qemu-img", guest.QEMU} {
				if _, err := exec.LookPath(program); err != nil {
					return err.Error()
				}
			}
			return ""
		}},
	}
}

// here makes the process a machine of the pair's own, and its world.
func (p *pair) here(t *testing.T) {
	t.Helper()
	enterSandbox(t)
	t.Setenv(ownmachine.Mark, strconv.Itoa(os.Getpid()))
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	p.node = "{}"
	p.runs = func(lab string, n nodeJSON) (bool, int) {
		pids := p.w.inits(lab)[n.Name]
		return len(pids) == 1, first(pids)
	}
	p.furnish(t, p)
}

func first(pids []int) int {
	if len(pids) == 0 {
		return 0
	}
	return pids[0]
}

func embedded(t *testing.T, p *pair) { p.w = newWorld(t, asRoot) }

func dockerWithSwitch(t *testing.T, p *pair) {
	dockertest.Alone()
	e := enginetest.Own(t, dockertest.Kind)
	s := ovstest.Here(t)
	p.servers = servers{docker: e, ovs: s}
	p.w = newWorld(t, asRoot)
	p.w.env = append(p.w.env, "DOCKER_HOST="+e.Host)
	p.w.write(filepath.Join(p.w.home, "config", "settings.yaml"), fmt.Sprintf("ovs: {socket: %s}\n", s.Socket))
	p.head = "mgmt: {network: lab-mgmt, ipv4-subnet: 172.31.222.0/24}\n"
	p.node = fmt.Sprintf(`{image: "%s", cmd: "sh -c 'trap exit TERM; while :; do sleep 1000 & wait; done'"}`, enginetest.Image)
	cli, err := e.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	p.runs = func(_ string, n nodeJSON) (bool, int) {
		res, err := cli.ContainerInspect(t.Context(), n.Identifier, client.ContainerInspectOptions{})
		if err != nil || !res.Container.State.Running {
			return false, 0
		}
		return true, res.Container.State.Pid
	}
	p.more = func() []string {
		var out []string
		list, err := cli.ContainerList(t.Context(), client.ContainerListOptions{All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Items {
			out = append(out, fmt.Sprintf("container %s %s", c.Names, c.State))
		}
		nets, err := cli.NetworkList(t.Context(), client.NetworkListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nets.Items {
			out = append(out, "container network "+n.Name)
		}
		for _, port := range portsOf(t, s) {
			tagged := "without tag"
			if port.tag != 0 {
				tagged = "tagged"
			}
			out = append(out, fmt.Sprintf("port of %s, link %q, %s", port.end, port.link, tagged))
		}
		return out
	}
	p.tags = func(l *inspectJSON) []string {
		if l.Lab.Network != "ovs" {
			return nil
		}
		return tagsOf(l, portsOf(t, s))
	}
}

// ovsPort is a port of ours as the switch's own program tells it.
type ovsPort struct {
	lab, end, link string
	tag            int
}

func portsOf(t *testing.T, s *ovstest.Switch) []ovsPort {
	t.Helper()
	var list struct{ Data [][]json.RawMessage }
	said := s.Ctl("--format=json", "--columns=external_ids,tag", "list", "Port")
	if err := json.Unmarshal([]byte(said), &list); err != nil {
		t.Fatal(err, said)
	}
	var out []ovsPort
	for _, row := range list.Data {
		var ids []json.RawMessage
		var pairs [][2]string
		if json.Unmarshal(row[0], &ids) != nil || len(ids) != 2 || json.Unmarshal(ids[1], &pairs) != nil {
			t.Fatalf("%s", said)
		}
		p := ovsPort{}
		for _, kv := range pairs {
			switch kv[0] {
			case "archetype-lab":
				p.lab = kv[1]
			case "archetype-end":
				p.end = kv[1]
			case "archetype-link":
				p.link = kv[1]
			}
		}
		_ = json.Unmarshal(row[1], &p.tag) // none is an empty set
		if p.lab != "" {
			out = append(out, p)
		}
	}
	return out
}

// tagsOf checks that the ends of a link have the one tag that inspect tells,
// which nobody else has.
func tagsOf(l *inspectJSON, ports []ovsPort) []string {
	var bad []string
	holders := map[int][]string{}
	for _, p := range ports {
		if p.lab == l.Lab.Name {
			holders[p.tag] = append(holders[p.tag], p.end)
		}
	}
	for _, k := range l.Links {
		if k.Actual != "up" {
			continue
		}
		want := []string{k.A, k.B}
		got := holders[k.VLAN]
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			bad = append(bad, fmt.Sprintf("%s -- %s: tag %d is that of %v", k.A, k.B, k.VLAN, got))
		}
	}
	return bad
}

// machinesAtRest is a kind whose machines have an empty disk: they stay in
// their firmware, which costs next to nothing, and count as ready at once.
func machinesAtRest(t *testing.T, p *pair) {
	d := libvirttest.Start(t)
	p.servers = servers{libvirt: d}
	p.w = newWorld(t, asRoot)
	p.w.vendor("blank.yaml", `name: blank
description: a machine without a system, for tests
providers: [libvirt]
interfaces: {pattern: "eth{n}", first: 1}
stop_grace: 1ms
vm:
  resources: {memory_mb: 32}
  readiness: {probe: none}
`)
	disk := p.w.file("blank.qcow2", "")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.w.write(filepath.Join(p.w.home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\n", d.Socket))
	p.node = fmt.Sprintf("{kind: blank, image: %s}", disk)
	virsh := func(words ...string) string {
		t.Helper()
		out, err := exec.Command("virsh", append([]string{"-q", "-c", d.URI()}, words...)...).Output()
		if err != nil {
			t.Fatalf("virsh %v: %v", words, err)
		}
		return strings.TrimSpace(string(out))
	}
	inits := p.runs
	p.runs = func(lab string, n nodeJSON) (bool, int) {
		if n.Provider != "libvirt" {
			return inits(lab, n)
		}
		pids := libvirttest.Emulators("guest=" + n.Identifier + ",")
		running := slices.Contains(strings.Fields(virsh("list", "--name")), n.Identifier)
		if running != (len(pids) == 1) || len(pids) > 1 {
			t.Logf("%s: libvirt says that it runs: %t, its emulators are %v", n.Identifier, running, pids)
			return !running, 0
		}
		return running, n.PID // libvirt's are counted in namespaces of its own
	}
	p.more = func() []string {
		var out []string
		for line := range strings.Lines(virsh("list", "--all")) {
			f := strings.Fields(line)
			if len(f) > 2 {
				out = append(out, "domain "+strings.Join(f[1:], " "))
			}
		}
		for range libvirttest.Emulators(d.Dir) {
			out = append(out, "emulator")
		}
		return out
	}
}

// lab is the file of a ring of that many nodes.
func (p *pair) lab(name string, nodes int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\n%stopology:\n  defaults: {kind: linux}\n  nodes:\n", name, p.head)
	for i := range nodes {
		node := p.node
		if p.provider == "libvirt" && i%2 == 1 {
			node = "{}" // machines beside embedded nodes
		}
		fmt.Fprintf(&b, "    n%d: %s\n", i, node)
	}
	b.WriteString("  links:\n")
	for i := range nodes { // an interface has the same address whoever its peer is
		to := (i + 1) % nodes
		fmt.Fprintf(&b, "    - {type: veth, endpoints: [{node: n%d, interface: eth1, ipv4: 10.1.%d.1/24}, {node: n%d, interface: eth2, ipv4: 10.1.%d.2/24}]}\n",
			i, i, to, (to+9)%10)
	}
	return b.String()
}
