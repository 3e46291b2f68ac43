package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"archetype/backends/provider/libvirt/libvirttest"
)

// acme is a kind of which nobody knows but its file: it boots from its disk by
// UEFI and is worked with over SSH.
const acme = `name: acme
providers: [libvirt]
interfaces: {pattern: "eth{n}", first: 1}
stop_grace: 20s
vm:
  images: [{match: 'acme-(\d\S*)\.(?:qcow2|vmdk|raw)'}]
  uefi: true
  vnc: true
  disk_bus: sata
  nic: virtio
  management: true
  resources: {memory_mb: 256}
  credentials: {username: admin, password: 'S3cret pw'}
  readiness: {probe: ssh, after: 'guest: up', timeout: 8m}
  progress: [{text: 'UEFI', percent: 20, message: firmware}, {text: 'guest: up', percent: 80, message: system up}]
  exec: {method: ssh, quote: true}
  config_extract: {method: command, command: [cat, /etc/config], clean: ['^! ']}
`

// twin is the same system without its disk, worked with over its console.
const twin = `management: true
readiness: {probe: tcp, port: 22, timeout: 5m}
config_extract: {method: command, command: [cat, /etc/config], clean: ['^! ']}
`

const withDisks = `name: %s
topology:
  nodes:
    disk: {kind: acme, image: "acme:1.1"}
    line: {kind: twin}
  links:
    - endpoints: ["disk:eth1", "line:eth1"]
`

// TestMachinesOfImages: a disk is taken in by its name, a machine boots from
// it by UEFI, is ready when its SSH lets us in, and is worked with over that,
// beside one whose port and console are used; and the image stays as long as
// somebody has a disk over it.
func TestMachinesOfImages(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/share/OVMF"); err != nil {
		t.Skip("no firmware for UEFI: ", err)
	}
	w, d := machines(t)
	sys := libvirttest.Build(t, d.Dir, `ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip link set eth1 up
ip addr add 10.0.0.$([ -d /sys/firmware/efi ] && echo 1 || echo 2)/24 dev eth1
printf '! of today\nhostname here\n! more\ninterface eth1\n' >/etc/config
sshserver :22 admin 'S3cret pw' &`, nil, libvirttest.SSHServer(t))
	w.vendor("acme.yaml", acme)
	w.vendor("twin.yaml", sys.YAML("twin", twin))
	w.takesDisksIn(sys)

	if r := w.run("deploy", w.file("d.clab.yml", fmt.Sprintf(withDisks, "d")), "--network", "linuxbridge", "--timeout", "40s"); r.code == 2 {
		t.Fatal(r)
	}
	eventually(t, "both machines to be ready", func() bool { return w.inspect("d").Lab.State == "running" })
	for _, node := range []string{"disk", "line"} {
		if got := w.ok("exec", "d", node, "--", "sh", "-c", "echo it\\'s $((6*7))"); got != "it's 42\n" {
			t.Errorf("%s says %q", node, got)
		}
		if r := w.run("exec", "d", node, "--", "false"); r.code != 1 {
			t.Errorf("of false in %s: %s", node, r)
		}
	}
	if out := w.sh("d", "disk", "[ -d /sys/firmware/efi ] && ping -c 1 -W 10 10.0.0.2"); !strings.Contains(out, "1 packets received") {
		t.Errorf("over the link: %s", out)
	}
	if r := w.runWith("typed", "exec", "-i", "d", "disk", "--", "cat"); r.code != 0 || r.out != "typed" {
		t.Errorf("a command's input over SSH: %s", r)
	}
	w.ok("save", "d", "-o", filepath.Join(w.dir, "saved"))
	for _, node := range []string{"disk", "line"} {
		if text, err := os.ReadFile(filepath.Join(w.dir, "saved", node+".cfg")); string(text) != "hostname here\ninterface eth1\n" {
			t.Errorf("saved of %s: %q, %v", node, text, err)
		}
	}
	var shown struct {
		Nodes []struct{ Name, Screen string }
	}
	w.decode(w.ok("inspect", "d", "--json"), &shown)
	for _, n := range shown.Nodes {
		path, ok := strings.CutPrefix(n.Screen, "vnc+unix://")
		if _, err := os.Stat(path); ok != (n.Name == "disk") || ok && err != nil {
			t.Errorf("the screen of %s is at %q, %v", n.Name, n.Screen, err)
		}
	}
	for _, words := range [][]string{{"logs", "d", "disk"}, {"inspect", "d", "--json"}, {"jobs", "d", "--json"}} {
		if out := w.ok(words...); strings.Contains(out, "S3cret") {
			t.Errorf("%v shows the password: %s", words, out)
		}
	}
	used := func(by string) {
		t.Helper()
		if r := w.code(1, "images", "rm", "acme-1.1"); !strings.Contains(r.err, "by "+by) {
			t.Errorf("rm of an image in use: %s", r)
		}
	}
	used("d/disk")
	w.ok("stop", "d")
	used("d/disk") // whether it runs or not
	w.kill(w.engine())
	used("d/disk") // and with nobody there
	w.ok("destroy", "d", "--yes")
	if out := w.ok("images", "rm", "acme-1.1", "acme-1.0.qcow2"); strings.Count(out, "removed") != 2 {
		t.Errorf("rm: %s", out)
	}
	if left := append(names(filepath.Join(w.home, "state", "labs")), d.Domains()...); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// takesDisksIn imports the system as disks of all formats, and what is none.
func (w *world) takesDisksIn(sys libvirttest.System) {
	w.Helper()
	at := func(name string) string { return filepath.Join(w.dir, name) }
	sys.Disk(w, at("acme-1.0.raw"))
	for _, f := range []string{"vmdk", "qcow2"} {
		name := map[string]string{"vmdk": "acme-1.1.vmdk", "qcow2": "acme-1.2.qcow2"}[f]
		if out, err := exec.Command("qemu-img", "convert", "-O", f, at("acme-1.0.raw"), at(name)).CombinedOutput(); err != nil {
			w.Fatalf("qemu-img: %v: %s", err, out)
		}
	}
	for file, want := range map[string]string{"acme-1.0.raw": "acme-1.0.qcow2: acme 1.0,", "acme-1.1.vmdk": "acme-1.1.qcow2: acme 1.1,", "acme-1.2.qcow2": "acme-1.2.qcow2: acme 1.2,"} {
		if out := w.ok("images", "import", at(file)); !strings.Contains(out, want) {
			w.Errorf("import of %s: %s", file, out)
		}
	}
	good, err := os.ReadFile(at("acme-1.2.qcow2"))
	if err != nil {
		w.Fatal(err)
	}
	w.file("acme-2.0.qcow2", string(good[:len(good)/2]))
	w.file("acme-2.1.qcow2", "")
	w.file("acme-2.2.raw", strings.Repeat("a picture, not a disk\n", 1000))
	w.file("acme-2.3.vmdk", "KDMV and nothing more")
	for _, c := range []struct{ file, says string }{
		{"acme-2.0.qcow2", "damaged or no disk"}, {"acme-2.1.qcow2", "damaged or no disk"}, {"acme-2.2.raw", "is no disk"},
		{"acme-2.3.vmdk", "damaged or no disk"}, {"acme-1.2.qcow2", "there is an image acme-1.2.qcow2 already"}, {"acme-9.qcow2", "no disk image"},
	} {
		if r := w.run("images", "import", at(c.file)); r.code == 0 || !strings.Contains(r.err, c.says) {
			w.Errorf("import of %s does not say %q: %s", c.file, c.says, r)
		}
	}
	var list []struct{ Name, Kind, Version, State, Problem string }
	if err := json.Unmarshal([]byte(w.ok("images", "list", "--json")), &list); err != nil || len(list) != 3 {
		w.Errorf("the list: %+v %v", list, err)
	}
	for _, im := range list {
		if im.Kind != "acme" || im.Name != "acme-"+im.Version+".qcow2" || im.State != "synced" || im.Problem != "" {
			w.Errorf("in the list: %+v", im)
		}
	}
	if out := w.ok("images", "check"); strings.Count(out, ": good\n") != 3 {
		w.Errorf("check of all: %s", out)
	}
	if r := w.code(1, "images", "check", at("acme-2.0.qcow2"), at("acme-1.1.vmdk")); !strings.Contains(r.out, "acme-1.1.vmdk: good") || strings.Count(r.out, "good") != 1 {
		w.Errorf("check of files: %s", r)
	}
	w.ok("images", "rm", "acme-1.2")
}
