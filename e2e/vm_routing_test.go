package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/guest"
	"archetype/internal/ownmachine"
)

// ospf is a router's configuration. Its neighbours are found within seconds.
func ospf(id string, interfaces ...string) string {
	var s strings.Builder
	for _, i := range interfaces {
		fmt.Fprintf(&s, "interface %s\n ip ospf area 0\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 10\n", i)
	}
	fmt.Fprintf(&s, "router ospf\n ospf router-id %s\n", id)
	return s.String()
}

// daemons start FRR where nothing is but its files.
const daemons = `mkdir -p /run/frr /var/run/frr /var/tmp/frr
/usr/lib/frr/zebra -d -u root -g root -A 127.0.0.1 -f /etc/frr/frr.conf
/usr/lib/frr/ospfd -d -u root -g root -A 127.0.0.1 -f /etc/frr/frr.conf
`

var frrPrograms = []string{"/usr/lib/frr/zebra", "/usr/lib/frr/ospfd", "/usr/bin/vtysh"}

const (
	frrShell  = "no service integrated-vtysh-config\nusername root nopassword\n" // and no PAM
	frrUsers  = "root:x:0:0:root:/root:/bin/sh\n"
	frrGroups = "root:x:0:\nfrr:x:0:\nfrrvty:x:0:root\n"
)

var library = regexp.MustCompile(`(/\S+) \(0x`)

// frrFiles are FRR's programs with the libraries that they need, and a
// configuration.
func frrFiles(t *testing.T, config string) []guest.File {
	t.Helper()
	files := []guest.File{{Path: "/etc/passwd", Data: []byte(frrUsers)}, {Path: "/etc/group", Data: []byte(frrGroups)},
		{Path: "/etc/frr/frr.conf", Data: []byte(config)}, {Path: "/etc/frr/vtysh.conf", Data: []byte(frrShell)}}
	for _, p := range frrPrograms {
		files = append(files, guest.File{Path: p, Mode: 0o755, Source: p})
		out, err := exec.Command("ldd", p).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range library.FindAllSubmatch(out, -1) {
			files = append(files, guest.File{Path: string(m[1]), Mode: 0o755, Source: string(m[1])})
		}
	}
	return files
}

const routers = `name: mixed
topology:
  nodes:
    vm: {kind: router}
    r: {kind: frr, startup-config: r.conf}
    c:
      kind: linux
      runtime: docker
      image: %s
      cmd: sleep 100000
      network-mode: none
      cap-add: [NET_ADMIN, NET_RAW, SYS_ADMIN]
      binds: ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro", "c.conf:/etc/frr/frr.conf", "vtysh.conf:/etc/frr/vtysh.conf", "passwd:/etc/passwd", "group:/etc/group", "start:/start"]
      exec: ["sh /start"]
  links:
    - endpoints: ["vm:eth1", "r:eth1"]
    - endpoints: ["vm:eth2", "c:eth1"]
`

// TestRoutersOfAllKinds: a virtual machine, an embedded node and a container
// in one file, on three providers, are OSPF's neighbours and lead packets
// across each other.
func TestRoutersOfAllKinds(t *testing.T) {
	needs(t, "frr", frrPrograms...)
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		routersOfAllKinds(t)
		return
	}
	if why := dockertest.Kind.Missing(); why != "" {
		t.Skip(why)
	}
	t.Parallel()
	alone(t)
}

func routersOfAllKinds(t *testing.T) {
	enterSandbox(t)
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	dockertest.Alone()
	engine := enginetest.Own(t, dockertest.Kind)
	d := libvirttest.Start(t)
	sys := libvirttest.Build(t, d.Dir, `ip addr add 10.9.1.1/24 dev eth0
ip addr add 10.9.2.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
echo 1 >/proc/sys/net/ipv4/ip_forward
`+daemons, nil, frrFiles(t, ospf("10.9.0.1", "eth0", "eth1"))...)
	w := newWorld(t, asRoot)
	w.env = append(w.env, "DOCKER_HOST="+engine.Host)
	w.vendor("router.yaml", sys.YAML("router", ""))
	w.write(filepath.Join(w.home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\n", d.Socket))
	w.file("r.conf", "interface eth1\n ip address 10.9.1.2/24\n"+ospf("10.9.0.2", "eth1"))
	w.file("c.conf", ospf("10.9.0.3", "eth1"))
	w.file("vtysh.conf", frrShell)
	w.file("passwd", frrUsers)
	w.file("group", frrGroups)
	w.file("start", "set -e\nip addr add 10.9.2.2/24 dev eth1\n"+daemons)
	w.run("deploy", w.file("mixed.clab.yml", fmt.Sprintf(routers, dockertest.Image)), "--network", "linuxbridge", "--timeout", "40s")
	eventually(t, "the lab to run", func() bool { return w.inspect("mixed").Lab.State == "running" })
	for node, want := range map[string]string{"vm": "libvirt", "r": "netns", "c": "docker"} {
		if got := w.inspect("mixed").node(node).Provider; got != want {
			t.Errorf("%s runs on %s", node, got)
		}
	}
	for node, neighbours := range map[string][]string{"vm": {"10.9.0.2", "10.9.0.3"}, "r": {"10.9.0.1"}} {
		var res result
		eventually(t, node+" to have its neighbours", func() bool {
			res = w.run("exec", "mixed", node, "--", "vtysh", "-c", "show ip ospf neighbor")
			for _, n := range neighbours {
				if !strings.Contains(res.out, n+" ") {
					return false
				}
			}
			return strings.Count(res.out, "Full/") == len(neighbours)
		})
		t.Log(res)
	}
	eventually(t, "packets from the container to the embedded node by way of the machine", func() bool { return w.ping("mixed", "c", "10.9.1.2") })
	w.ok("destroy", "mixed", "--yes")
}
