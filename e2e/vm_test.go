package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"archetype/backends/provider/libvirt/libvirttest"
)

// machines is a world with a libvirtd of its own, in which the kind small is a
// small Linux.
func machines(t *testing.T) (*world, *libvirttest.Daemon) {
	t.Helper()
	d := libvirttest.Start(t)
	sys := libvirttest.Build(t, d.Dir, "echo guest: begins\nip addr add 10.0.0.1/24 dev eth0\nip link set eth0 up", nil)
	w := newWorld(t, asRoot)
	w.vendor("small.yaml", sys.YAML("small", ""))
	w.write(filepath.Join(w.home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\n", d.Socket))
	return w, d
}

// eventually is for what takes a machine's boot, of which an emulated one on a
// busy processor needs more than anything else here.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 2 {
		if became(so) {
			return
		}
	}
	t.Fatal("waited in vain for ", what)
}

// virsh does something behind the program's back.
func virsh(t *testing.T, d *libvirttest.Daemon, words ...string) string {
	t.Helper()
	out, err := exec.Command("virsh", append([]string{"-q", "-c", d.URI()}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("virsh %v: %v: %s", words, err, out)
	}
	return string(out)
}

const oneMachine = `name: %s
topology:
  nodes:
    vm: {kind: small, env: {PASSWORD: ` + marker + `-vm}}
    pc: {kind: linux, env: {PASSWORD: ` + marker + `-pc}, exec: ["ip addr add 10.0.0.2/24 dev eth1"]}
  links:
    - endpoints: ["vm:eth1", "pc:eth1"]
`

// TestMachines: virtual machines beside embedded nodes, in two labs whose
// nodes have the same names, over two networks; and one that asks while it
// boots.
func TestMachines(t *testing.T) {
	t.Parallel()
	w, d := machines(t)
	w.sudo()
	w.umask("000")
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
	w.keepsSecrets("vms-b")
	w.bootsByDialogue(d)
	for name := range labs {
		w.ok("destroy", name, "--yes")
	}
	if left := libvirttest.Emulators("vms-"); len(left) != 0 {
		t.Errorf("machines left: %v", left)
	}
}

// TestMachinesComeBack: whatever is done to a machine behind the program's
// back, it is set right, over libvirtd's end in the middle of a boot too.
func TestMachinesComeBack(t *testing.T) {
	t.Parallel()
	w, d := machines(t)
	const lab = "back"
	w.run("deploy", w.file("back.clab.yml", fmt.Sprintf(oneMachine, lab)), "--network", "linuxbridge", "--timeout", "40s")
	name := w.inspect(lab).node("vm").Identifier
	var first []int
	kill := func() {
		t.Helper()
		for _, pid := range libvirttest.Emulators(name) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	// booting waits until another machine than before is there.
	booting := func(after string) {
		t.Helper()
		eventually(t, "another machine after "+after, func() bool {
			now := libvirttest.Emulators(name)
			if len(now) != 1 || slices.Equal(now, first) {
				return false
			}
			first = now
			return true
		})
	}
	whole := func(after string) {
		t.Helper()
		eventually(t, "the machine to be ready after "+after, func() bool {
			l := w.inspect(lab)
			return l.node("vm").Actual == "running" && l.link("vm:eth1", "pc:eth1").Carrier == "on"
		})
		eventually(t, "packets after "+after, func() bool { return w.ping(lab, "pc", "10.0.0.1") })
	}
	booting("its deployment")
	whole("its deployment")
	kill()
	booting("its emulator was killed")
	d.Stop()
	d.Run()
	whole("libvirtd restarted while it booted")
	virsh(t, d, "destroy", name)
	booting("virsh destroy")
	virsh(t, d, "undefine", name)
	virsh(t, d, "destroy", name)
	booting("virsh undefine and destroy")
	whole("virsh undefine and destroy")
	// While nothing of the program runs.
	w.kill(w.engine())
	kill()
	w.inspect(lab)
	booting("it was killed with nobody there")
	whole("it was killed with nobody there")
	w.ok("destroy", lab, "--yes")
	if left := append(libvirttest.Emulators(name), len(d.Domains())); len(left) != 1 || left[0] != 0 {
		t.Errorf("machines and domains left: %v", left)
	}
}
