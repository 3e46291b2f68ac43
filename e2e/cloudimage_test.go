package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"archetype/backends/provider/libvirt/libvirttest"
)

// cloudImage is the environment variable with the path of a Debian cloud image.
const cloudImage = "CLOUDIMAGE"

// bootTime is for a whole system, emulated beside others.
const bootTime = 40 * time.Minute

// of is generic_vm under another name, with other hardware, worked with over SSH.
func of(t *testing.T, name, disk, nic, more string) string {
	t.Helper()
	data, err := os.ReadFile("../vendors/kinds/generic_vm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, text, ok := strings.Cut(string(data), "\nvm:\n")
	if !ok {
		t.Fatal("the vendor file has no part for machines")
	}
	replace := func(expr, by string) {
		t.Helper()
		re := regexp.MustCompile("(?ms)" + expr)
		if !re.MatchString(text) {
			t.Fatalf("the vendor file has no %s", expr)
		}
		text = re.ReplaceAllLiteralString(text, by)
	}
	replace(`^  images:\n(    -[^\n]*\n)+`, "")
	replace(`^  disk_bus: \w+$`, "  disk_bus: "+disk)
	replace(`^  nic: \w+$`, "  nic: "+nic)
	replace(`memory_mb: \d+`, "memory_mb: 512")
	replace(`^  readiness: \{probe: log, pattern: ('[^']*').*?$`, `  readiness: {probe: ssh, after: 'Cloud-init v\. ?\S+ finished at', timeout: 40m}`)
	replace(`^  exec:\n.*?^  config_extract`, "  exec: {method: ssh, quote: true}\n  config_extract")
	if !strings.Contains(head, "first: 1\n  management: eth0\n") {
		t.Fatal("the vendor file calls its interfaces otherwise")
	}
	return fmt.Sprintf("name: %s\nproviders: [libvirt]\ninterfaces: {pattern: 'eth{n}', first: 1, management: eth0}\nvm:\n%s%s", name, text, more)
}

// cloudRouter is what a machine's shell is told at each boot. FRR's own watch
// gives an emulated one too little time to read its configuration.
const cloudRouter = `ip addr add 10.9.1.1/24 dev eth1
ip addr add 10.9.2.1/24 dev eth2
sysctl -qw net.ipv4.ip_forward=1
grep -q ospfd=yes /etc/frr/daemons && exit
sed -i s/ospfd=no/ospfd=yes/ /etc/frr/daemons
echo 'watchfrr_options="-T 300"' >>/etc/frr/daemons
printf '%%s\n' '%s' >/etc/frr/frr.conf
systemctl restart frr
`

const cloudLab = `name: cloud
topology:
  nodes:
    v: {kind: generic_vm, image: debian-12-generic-amd64.qcow2, startup-config: v.cfg}
    s: {kind: uefi_vm, image: debian-12-generic-amd64.qcow2, startup-config: s.cfg}
    r: {kind: frr, startup-config: r.conf}
  links:
    - type: veth
      endpoints:
        - {node: v, interface: eth1, mac: "02:00:00:00:00:42"}
        - {node: r, interface: eth1}
    - endpoints: ["v:eth2", "s:eth1"]
`

// TestCloudImage: a general image of a distribution's is a node by its kind's
// file alone.
func TestCloudImage(t *testing.T) {
	image := os.Getenv(cloudImage)
	if image == "" {
		t.Skip("runs only in make images-test: a whole system is booted, several times")
	}
	if _, err := os.Stat(image); err != nil {
		t.Skip(err)
	}
	needs(t, "frr", frrPrograms...)
	d := libvirttest.Start(t)
	w := newWorld(t, asRoot)
	w.write(filepath.Join(w.home, "config", "settings.yaml"), fmt.Sprintf("libvirt: {uri: 'qemu:///system?socket=%s'}\nboot_timeout: 40m\n", d.Socket))
	if out := w.ok("images", "import", image); !strings.Contains(out, "generic_vm 12,") {
		t.Errorf("import: %s", out)
	}
	t.Run("router", func(t *testing.T) { w.as(t).cloudRouters() })
	t.Run("hardware", func(t *testing.T) { w.as(t).cloudHardware() })
}

// as is the world as another test of its sees it.
func (w *world) as(t *testing.T) *world {
	at := *w
	at.T = t
	return &at
}

// boots waits until a lab runs, and returns what it said of a node on the way.
func (w *world) boots(lab, node string) (said []string) {
	w.Helper()
	begin := time.Now()
	percent := 0
	for over := begin.Add(bootTime); ; time.Sleep(200 * time.Millisecond) {
		l := w.inspect(lab)
		if n := l.node(node); n.Progress > percent {
			percent = n.Progress
			said = append(said, fmt.Sprintf("%d%% %s (%s)", percent, n.ProgressText, n.ProgressLine))
		} else if n.Actual == "starting" && n.Progress < percent {
			w.Errorf("%s was at %d%% and is at %d%%", node, percent, n.Progress)
		}
		if l.Lab.State == "running" {
			w.Logf("%s was ready after %s; of %s it was said: %s", lab, time.Since(begin).Round(time.Second), node, strings.Join(said, "; "))
			return said
		}
		if l.Lab.State == "error" || time.Now().After(over) {
			w.Fatalf("%s: %s\n%s", lab, w.run("inspect", lab), w.run("logs", lab, node))
		}
	}
}

// interfacesOf are a machine's, as it calls them, with their addresses.
func (w *world) interfacesOf(lab, node string) string {
	w.Helper()
	return w.sh(lab, node, "for i in /sys/class/net/e*; do echo ${i##*/} $(cat $i/address); done")
}

func (w *world) cloudRouters() {
	w.vendor("uefi_vm.yaml", of(w.T, "uefi_vm", "sata", "e1000e", "  uefi: true\n"))
	w.file("v.cfg", fmt.Sprintf(cloudRouter, ospf("10.9.0.1", "eth1", "eth2")))
	w.file("s.cfg", "ip addr add 10.9.2.2/24 dev eth1\nip route add 10.9.1.0/24 via 10.9.2.1\necho booted >>/var/boots\n")
	w.file("r.conf", "interface eth1\n ip address 10.9.1.2/24\n"+ospf("10.9.0.2", "eth1"))
	w.run("deploy", w.file("cloud.clab.yml", cloudLab), "--network", "linuxbridge", "--timeout", "5s")
	said := strings.Join(w.boots("cloud", "v"), "\n")
	for _, want := range []string{"10% kernel starts (", "30% system starts (", "50% cloud-init begins (", "85% cloud-init's last part ("} {
		if !strings.Contains(said, want) {
			w.Errorf("its boot never said %q:\n%s", want, said)
		}
	}
	if got := w.sh("cloud", "v", "hostname; id -un; sudo id -un"); got != "v\nclab\nroot" {
		w.Errorf("host, user and superuser of v: %q", got)
	}
	if got := w.sh("cloud", "s", "hostname; ls -d /sys/firmware/efi; cat /var/boots"); got != "s\n/sys/firmware/efi\nbooted" {
		w.Errorf("s says %q", got)
	}
	for _, node := range []string{"v", "s"} { // over the serial line, and over SSH
		if r := w.run("exec", "cloud", node, "--", "sh", "-c", "echo it\\'s; exit 7"); r.code != 7 || r.out != "it's\n" {
			w.Errorf("a command in %s: %s", node, r)
		}
	}
	before := w.interfacesOf("cloud", "v")
	if !regexp.MustCompile(`^eth0 02:.*\neth1 02:00:00:00:00:42\neth2 02:.*\neth3 02:.*\neth4 02:\S+$`).MatchString(before) {
		w.Errorf("the interfaces of v: %s", before)
	}
	passes := func(when string) {
		w.Helper()
		eventually(w.T, "packets from s to r by way of v, whose routes are OSPF's, "+when, func() bool { return w.ping("cloud", "s", "10.9.1.2") })
	}
	passes("on linuxbridge")
	if out := w.ok("exec", "cloud", "r", "--", "vtysh", "-c", "show ip ospf neighbor"); !strings.Contains(out, "Full/") {
		w.Errorf("the neighbours of r: %s", out)
	}
	w.ok("network", "cloud", "veth")
	passes("on veth")
	w.ok("save", "cloud", "-o", filepath.Join(w.dir, "saved"))
	for _, node := range []string{"v", "s"} {
		want, _ := os.ReadFile(filepath.Join(w.dir, node+".cfg"))
		if got, err := os.ReadFile(filepath.Join(w.dir, "saved", node+".cfg")); string(got) != string(want) {
			w.Errorf("saved of %s: %q, %v", node, got, err)
		}
	}

	w.sh("cloud", "v", "echo kept | sudo tee /var/kept")
	w.run("stop", "cloud", "v", "s")
	eventually(w.T, "both to be off", func() bool {
		l := w.inspect("cloud")
		return l.node("v").Actual == "stopped" && l.node("s").Actual == "stopped"
	})
	for _, node := range []string{"v", "s"} {
		if out := w.ok("logs", "cloud", node); !strings.Contains(out, "reboot: Power down") {
			w.Errorf("%s was switched off and did not do it itself: %s", node, out[max(0, len(out)-2000):])
		}
	}
	w.run("start", "cloud", "v", "s")
	w.boots("cloud", "s")
	if got := w.interfacesOf("cloud", "v"); got != before {
		w.Errorf("the interfaces of v were\n%s\nand are\n%s", before, got)
	}
	if got := w.sh("cloud", "v", "hostname; cat /var/kept") + w.sh("cloud", "s", "grep -c booted /var/boots"); got != "v\nkept2" {
		w.Errorf("after the second boot: %q", got)
	}
	passes("after the second boot")
	w.ok("destroy", "cloud", "--yes")
}

// diskDriver tells by which driver the root file system's disk is reached.
const diskDriver = `d=$(lsblk -no PKNAME "$(findmnt -no SOURCE /)"); p=$(readlink -f "/sys/block/$d")
case $p in */host*) h=${p##*/host}; cat "/sys/class/scsi_host/host${h%%/*}/proc_name" ;; *) echo virtio_blk ;; esac
for i in eth0 eth1; do basename "$(readlink -f /sys/class/net/$i/device/driver)"; done`

// cloudHardware boots the image on what the kinds of commercial systems have
// for disks and interfaces, of which it has drivers.
func (w *world) cloudHardware() {
	nodes, links, pc := "", "", ""
	hardware := []struct{ name, disk, nic, driver string }{
		{"i", "ide", "e1000", "ata_piix\ne1000\ne1000"},
		{"c", "scsi", "vmxnet3", "virtio_scsi\nvmxnet3\nvmxnet3"},
		{"o", "virtio", "rtl8139", "virtio_blk\n8139cp\n8139cp"},
	}
	for i, h := range hardware {
		n := strconv.Itoa(i + 1)
		w.vendor(h.name+".yaml", of(w.T, "kind_"+h.name, h.disk, h.nic, ""))
		w.file(h.name+".cfg", "ip addr add 10.1."+n+".1/24 dev eth1\n")
		nodes += fmt.Sprintf("    %s: {kind: kind_%s, image: debian-12-generic-amd64.qcow2, startup-config: %s.cfg}\n", h.name, h.name, h.name)
		links += fmt.Sprintf("    - endpoints: [\"%s:eth1\", \"pc:eth%s\"]\n", h.name, n)
		pc += fmt.Sprintf("%q, ", "ip addr add 10.1."+n+".2/24 dev eth"+n)
	}
	file := w.file("hard.clab.yml", "name: hard\ntopology:\n  nodes:\n"+nodes+"    pc: {kind: linux, exec: ["+strings.TrimSuffix(pc, ", ")+"]}\n  links:\n"+links)
	w.run("deploy", file, "--network", "linuxbridge", "--timeout", "5s")
	w.boots("hard", "i")
	for i, h := range hardware {
		if got := w.sh("hard", h.name, diskDriver); got != h.driver {
			w.Errorf("%s (%s, %s) has the drivers %q", h.name, h.disk, h.nic, got)
		}
		eventually(w.T, h.name+" to be reached", func() bool { return w.ping("hard", "pc", fmt.Sprintf("10.1.%d.1", i+1)) })
		// The cable is seen, in and out, with each model.
		ends := []string{h.name + ":eth1", fmt.Sprintf("pc:eth%d", i+1)}
		w.ok("link", "disconnect", "hard", ends[0], ends[1])
		w.await("the carrier to go in "+h.name, func() bool { return w.sh("hard", h.name, "cat /sys/class/net/eth1/carrier") == "0" })
		w.ok("link", "connect", "hard", ends[0], ends[1])
		eventually(w.T, h.name+" to be reached again", func() bool { return w.ping("hard", "pc", fmt.Sprintf("10.1.%d.1", i+1)) })
	}
	w.ok("destroy", "hard", "--yes")
}
