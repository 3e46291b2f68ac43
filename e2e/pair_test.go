package e2e

import (
	"cmp"
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
	"golang.org/x/sys/unix"

	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/backends/provider/podman/podmantest"
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
	disk              string // how large is the disk that its world has of its own; empty: it has none

	w        *world
	node     string                                               // what a node of the lab is, in YAML
	head     string                                               // what stands before the topology
	runs     func(lab string, n nodeJSON) (running bool, pid int) // as the provider itself says
	more     []func() []string                                    // of the portrait
	tags     func(l *inspectJSON) []string                        // of what does not agree
	owns     func() []string                                      // the names of containers or machines that are there
	hands    []hand                                               // what can be done to them past the program
	servers  servers
	settings string // the user's
	// forgotten says that a store was lost with links in it whose nodes run still.
	forgotten bool
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
	return []*pair{
		{provider: "netns", network: "veth", other: "linuxbridge", size: 3, furnish: embedded, missing: nothing},
		{provider: "netns", network: "linuxbridge", other: "veth", size: 3, furnish: embedded, missing: nothing},
		{provider: "docker", network: "ovs", other: "linuxbridge", size: 2, furnish: withSwitch(ofContainers(dockertest.Kind)), missing: noSwitch(dockertest.Kind.Missing)},
		{provider: "libvirt", network: "linuxbridge", other: "veth", size: 2, furnish: machinesAtRest, missing: noMachines},
	}
}

// morePairs are those on which the program is only killed at random: with the
// others they are all that there can be.
func morePairs() []*pair {
	return []*pair{
		{provider: "netns", network: "ovs", other: "veth", furnish: withSwitch(embedded), missing: noSwitch(nothing)},
		{provider: "docker", network: "veth", other: "linuxbridge", furnish: ofContainers(dockertest.Kind), missing: dockertest.Kind.Missing},
		{provider: "podman", network: "linuxbridge", other: "veth", furnish: ofContainers(podmantest.Kind), missing: podmantest.Kind.Missing},
		{provider: "docker", network: "linuxbridge", other: "ovs", furnish: withSwitch(ofContainers(dockertest.Kind)), missing: noSwitch(dockertest.Kind.Missing)},
		{provider: "podman", network: "veth", other: "linuxbridge", furnish: ofContainers(podmantest.Kind), missing: podmantest.Kind.Missing},
		{provider: "podman", network: "ovs", other: "veth", furnish: withSwitch(ofContainers(podmantest.Kind)), missing: noSwitch(podmantest.Kind.Missing)},
		{provider: "libvirt", network: "veth", other: "linuxbridge", furnish: machinesAtRest, missing: noMachines},
		{provider: "libvirt", network: "ovs", other: "veth", furnish: withSwitch(machinesAtRest), missing: noSwitch(noMachines)},
	}
}

func nothing() string { return "" }

func noMachines() string { return lacks("libvirtd", "virsh", "qemu-img", guest.QEMU) }

func noSwitch(missing func() string) func() string {
	return func() string { return cmp.Or(lacks("ovs-vswitchd"), missing()) }
}

// lacks says which of the programs is not installed.
func lacks(programs ...string) string {
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return err.Error()
		}
	}
	return ""
}

// here makes the process a machine of the pair's own, and its world.
func (p *pair) here(t *testing.T) {
	t.Helper()
	enterSandbox(t)
	if p.disk != "" { // before daemons are started, which may be in mount namespaces of their own
		worlds = smallDisk(t, p.disk)
	}
	t.Setenv(ownmachine.Mark, strconv.Itoa(os.Getpid()))
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	p.node = "{}"
	p.owns = func() []string { return nil }
	p.runs = func(lab string, n nodeJSON) (bool, int) {
		pids := p.w.inits(lab)[n.Name]
		return len(pids) == 1, first(pids)
	}
	p.furnish(t, p)
}

// smallDisk is the folder of a file system of that size, as mount writes it.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "archetype-disk-")
	must(t, err, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() {
		if !became(func() bool { return unix.Unmount(dir, 0) == nil }) {
			t.Errorf("%s is in use", dir)
		}
		_ = os.Remove(dir)
	})
	return dir
}

func first(pids []int) int {
	if len(pids) == 0 {
		return 0
	}
	return pids[0]
}

func embedded(t *testing.T, p *pair) { p.w = newWorld(t, asRoot) }

// setting adds a line to the user's settings.
func (p *pair) setting(line string) {
	p.settings += line + "\n"
	p.w.write(filepath.Join(p.w.home, "config", "settings.yaml"), p.settings)
}

// withSwitch has an Open vSwitch beside whatever runs the nodes.
func withSwitch(furnish func(*testing.T, *pair)) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) {
		s := ovstest.Here(t)
		furnish(t, p)
		p.servers.ovs = s
		p.hands = append(p.hands, switchHands(t, s)...)
		p.setting(fmt.Sprintf("ovs: {socket: %s}", s.Socket))
		p.more = append(p.more, func() []string {
			var out []string
			for _, port := range portsOf(t, s) {
				tagged := "without tag"
				if port.tag != 0 {
					tagged = "tagged"
				}
				out = append(out, fmt.Sprintf("port of %s, link %q, %s", port.end, port.link, tagged))
			}
			return out
		})
		p.tags = func(l *inspectJSON) []string {
			if l.Lab.Network != "ovs" {
				return nil
			}
			return tagsOf(l, portsOf(t, s))
		}
	}
}

// ofContainers has an engine of containers, which runs the nodes.
func ofContainers(kind enginetest.Kind) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) {
		dockertest.Alone()
		e := enginetest.Own(t, kind)
		p.servers.docker = e
		p.w = newWorld(t, asRoot)
		p.setting(fmt.Sprintf("%s: {host: '%s'}", kind.Name, e.Host))
		p.head = "mgmt: {network: lab-mgmt, ipv4-subnet: 172.31.222.0/24}\n"
		p.node = fmt.Sprintf(`{provider: %s, image: "%s", cmd: "sh -c 'trap exit TERM; while :; do sleep 1000 & wait; done'"}`, kind.Name, enginetest.Image)
		cli, err := e.Connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cli.Close() })
		p.hands = append(p.hands, containerHands(t, p, e, cli)...)
		inits := p.runs
		p.runs = func(lab string, n nodeJSON) (bool, int) {
			if n.Provider != kind.Name {
				return inits(lab, n)
			}
			res, err := cli.ContainerInspect(t.Context(), n.Identifier, client.ContainerInspectOptions{})
			if err != nil || !res.Container.State.Running {
				return false, 0
			}
			return true, res.Container.State.Pid
		}
		p.more = append(p.more, func() []string {
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
			return out
		})
	}
}

// ovsPort is a port of ours as the switch's own program tells it.
type ovsPort struct {
	name, lab, end, link string
	tag                  int
}

func portsOf(t *testing.T, s *ovstest.Switch) []ovsPort {
	t.Helper()
	var list struct{ Data [][]json.RawMessage }
	said := s.Ctl("--format=json", "--columns=external_ids,tag,name", "list", "Port")
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
		_ = json.Unmarshal(row[2], &p.name)
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
		if k.Actual != "up" || k.VLAN == 0 && l.node(endOf(k.B)).Name == "" {
			continue // what leaves the lab may do so past the switch
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
	p.setting(fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}", d.Socket))
	p.node = fmt.Sprintf("{kind: blank, image: %s}", disk)
	virsh := func(words ...string) string {
		t.Helper()
		out, err := exec.Command("virsh", append([]string{"-q", "-c", d.URI()}, words...)...).Output()
		if err != nil {
			t.Fatalf("virsh %v: %v", words, err)
		}
		return strings.TrimSpace(string(out))
	}
	p.hands = append(p.hands, machineHands(t, p, d)...)
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
	p.more = append(p.more, func() []string {
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
	})
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
