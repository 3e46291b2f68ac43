package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"archetype/backends/network/ovs/ovstest"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/internal/ownmachine"
)

// TestMachinesLeaveNothing compares all of a machine, and all that libvirt
// has, before and after labs with virtual machines: one that could not be made
// whole, and one that was moved over every network under traffic, whose record
// was lost then.
func TestMachinesLeaveNothing(t *testing.T) {
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		machinesLeaveNothing(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Parallel()
	alone(t, ownmachine.Mark+"=1")
}

const unmakeable = `name: broken
topology:
  nodes:
    vm: {kind: small}
    bad: {kind: small, image: no-such-disk.qcow2}
  links:
    - endpoints: ["vm:eth1", "bad:eth1"]
    - endpoints: ["vm:eth2", "host:left-over"]
`

func machinesLeaveNothing(t *testing.T) {
	enterSandbox(t)
	if err := ownmachine.Furnish(); err != nil {
		t.Fatal(err)
	}
	w, d := machines(t)
	networks := []string{"veth", "linuxbridge"}
	more := "keep: {backups: 0}\n" // what is lost here is lost
	var sw *ovstest.Switch
	if _, err := exec.LookPath("ovs-vswitchd"); err == nil {
		sw = ovstest.Here(t)
		networks = append(networks, "ovs")
		more += "ovs: {socket: " + sw.Socket + "}\n"
	}
	settings := filepath.Join(w.home, "config", "settings.yaml")
	uri, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	w.write(settings, string(uri)+more)
	w.ok("doctor") // the first use of all makes folders, and tries /dev/kvm
	d.Domains()    // and libvirt's own
	broken, moves := w.file("broken.clab.yml", unmakeable), w.file("moves.clab.yml", fmt.Sprintf(oneMachine, "moves"))
	before := machinesAround(w, d)
	same := func(after string) {
		t.Helper()
		w.await("the program to be away", func() bool { return w.engine() == 0 && w.holder() == 0 })
		now := machinesAround(w, d)
		for what, want := range before {
			if got := now[what]; !slices.Equal(got, want) {
				t.Errorf("%s after %s:\n%s\nand before:\n%s", what, after, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}

	r := w.code(1, "deploy", broken, "--network", "linuxbridge")
	if line := lineWith(r.out, "node bad is error: "); !strings.Contains(line, "no disk image no-such-disk.qcow2") {
		t.Errorf("it says\n%s", r.out)
	}
	w.ok("destroy", "broken", "--yes")
	same("a deploy that could not complete")

	const lab = "moves"
	w.run("deploy", moves, "--network", networks[0], "--timeout", "40s")
	eventually(t, "the lab to run", func() bool { return w.inspect(lab).Lab.State == "running" && w.ping(lab, "pc", "10.0.0.1") })
	emulator := libvirttest.Emulators(w.inspect(lab).node("vm").Identifier)
	var answered, over atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for over.Load() == 0 {
			if w.run("exec", lab, "pc", "--", "ping", "-c", "1", "-W", "1", "10.0.0.1").code == 0 {
				answered.Add(1)
			}
		}
	}()
	for _, network := range append(networks[1:], networks[0]) {
		w.ok("network", lab, network)
		from := answered.Load()
		eventually(t, "packets over "+network, func() bool { return answered.Load() > from })
	}
	over.Store(1)
	<-done
	if now := libvirttest.Emulators(w.inspect(lab).node("vm").Identifier); !slices.Equal(now, emulator) {
		t.Errorf("the machine's emulator was %v and is %v", emulator, now)
	}
	// Its record is lost: the machine and the node beside it say themselves what they are.
	name := w.inspect(lab).node("vm").Identifier
	w.kill(w.engine())
	w.loseStore()
	eventually(t, "the lab to be known again", func() bool {
		r := w.run("inspect", lab, "--json")
		var l inspectJSON
		return r.code == 0 && json.Unmarshal([]byte(r.out), &l) == nil && l.Lab.State == "running" && len(l.Nodes) == 2 && l.link("vm:eth1", "pc:eth1").Actual == "up"
	})
	if now := libvirttest.Emulators(name); !slices.Equal(now, emulator) || !w.ping(lab, "pc", "10.0.0.1") {
		t.Errorf("the machine's emulator was %v and is %v", emulator, now)
	}
	if out := w.ok("gc"); !strings.Contains(out, "nothing") {
		t.Errorf("gc finds\n%s", out)
	}
	text := virsh(t, d, "dumpxml", "--inactive", name)
	w.ok("destroy", lab, "--yes")
	same("a lab whose record was lost")

	// A machine of ours of which nobody knows what it is.
	left := w.file("left.xml", regexp.MustCompile(`<archetype:label [^>]*>`).ReplaceAllString(text, ""))
	virsh(t, d, "define", left)
	if out := w.ok("gc"); !strings.Contains(out, "libvirt node moves/vm\n") {
		t.Errorf("gc finds\n%s", out)
	}
	if out := w.ok("gc", "--remove"); out != "libvirt node moves/vm: removed\n" {
		t.Errorf("gc --remove says\n%s", out)
	}
	if err := os.Remove(left); err != nil {
		t.Fatal(err)
	}
	same("gc")
	if sw != nil {
		w.everySortIsLeft(d, sw)
		same("a lab that was killed with all that it had, and gc")
	}
}

// machinesAround is what lookAround finds, with what libvirt has beside it.
func machinesAround(w *world, d *libvirttest.Daemon) map[string][]string {
	out := lookAround(w)
	delete(out, "namespaces") // libvirt's workers come and go
	out["domains"] = d.Domains()
	out["processes"] = nil
	for _, name := range names("/proc") {
		line, _ := os.ReadFile(filepath.Join("/proc", name, "cmdline"))
		if words := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(words, "qemu") || strings.Contains(words, w.dir) {
			out["processes"] = append(out["processes"], words)
		}
	}
	for _, dir := range []string{"run/libvirt/qemu", "var/lib/libvirt/qemu", "var/lib/libvirt/qemu/nvram", "etc/libvirt/qemu"} {
		for _, name := range names(filepath.Join(d.Dir, dir)) {
			out["libvirt's files"] = append(out["libvirt's files"], filepath.Join(dir, name))
		}
	}
	return out
}
