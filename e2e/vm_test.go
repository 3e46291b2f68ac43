package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends/provider/libvirt/libvirttest"
)

// machines is a world with a libvirtd of its own, in which the kind small is a
// small Linux.
func machines(t *testing.T) *world {
	t.Helper()
	d := libvirttest.Start(t)
	sys := libvirttest.Build(t, d.Dir, "echo guest: begins\nip addr add 10.0.0.1/24 dev eth0\nip link set eth0 up", nil)
	w := newWorld(t, asRoot)
	w.vendor("small.yaml", sys.YAML("small", ""))
	w.write(filepath.Join(w.home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\n", d.Socket))
	return w
}

const oneMachine = `name: %s
topology:
  nodes:
    vm: {kind: small}
    pc: {kind: linux, exec: ["ip addr add 10.0.0.2/24 dev eth1"]}
  links:
    - endpoints: ["vm:eth1", "pc:eth1"]
`

// TestMachines: virtual machines beside embedded nodes, in two labs whose
// nodes have the same names, over two networks.
func TestMachines(t *testing.T) {
	t.Parallel()
	w := machines(t)
	labs := map[string]string{"vms-b": "linuxbridge", "vms-v": "veth"}
	for name, network := range labs {
		out := w.ok("deploy", w.file(name+".clab.yml", fmt.Sprintf(oneMachine, name)), "--network", network)
		if !strings.Contains(out, "2 nodes running, 1 link up") {
			t.Errorf("%s: %s", name, out)
		}
	}
	for name := range labs {
		for from, to := range map[string]string{"pc": "10.0.0.1", "vm": "10.0.0.2"} {
			if !w.ping(name, from, to) {
				t.Errorf("%s in %s does not reach %s", from, name, to)
			}
		}
		carrier := func(want string) {
			t.Helper()
			w.await("carrier "+want+" in "+name, func() bool { return strings.TrimSpace(w.sh(name, "vm", "cat /sys/class/net/eth0/carrier")) == want })
		}
		carrier("1")
		w.ok("link", "disconnect", name, "vm:eth1", "pc:eth1")
		carrier("0")
		w.ok("link", "connect", name, "vm:eth1", "pc:eth1")
		carrier("1")
		if !w.ping(name, "pc", "10.0.0.1") {
			t.Errorf("pc in %s does not reach the machine after the cable was in again", name)
		}
	}
	for name := range labs {
		w.ok("destroy", name, "--yes")
	}
	if left := libvirttest.Emulators("vms-"); len(left) != 0 {
		t.Errorf("machines left: %v", left)
	}
}
