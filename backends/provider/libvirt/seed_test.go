package libvirt_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/lab"
)

// TestSeed: a guest finds the disk with its first configuration by its label,
// and the files in it by their names, filled in; and as many serial lines as
// its kind has. The machines are of another sort than in TestHardware.
func TestSeed(t *testing.T) {
	b := newBench(t)
	sys := libvirttest.Build(t, b.d.Dir, inventory+`mkdir /m
mount -t iso9660 -o ro /dev/vda /m 2>/dev/null || mount -t vfat -o ro /dev/vda /m || ls -l /dev/vd*
for at in 'skip=32808 count=32' 'skip=43 count=11'; do echo "label $(dd if=/dev/vda bs=1 $at 2>/dev/null | tr -d '\\000')"; done
cd /m; for f in $(find . -type f | sort); do echo "seed $f: $(cat $f)"; done; cd /; echo "serials $(grep -c 16550 /proc/tty/driver/serial)"`, []string{"isofs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8"})
	for format, nic := range map[string][2]string{"iso9660": {"e1000e", "0x8086:0x10d3"}, "vfat": {"rtl8139", "0x10ec:0x8139"}} {
		kind := sys.Kind(t, format, fmt.Sprintf(`serials: 3
machine: q35
nic: %s
nics: 1
disks: [{size_mb: 1, bus: sata}]
credentials: {username: admin, password: secret}
seed:
  label: cidata
  format: %s
  files:
    user-data: "#cloud-config {hostname} {username} {password}"
    Some-Longer.Name.config: "{config}"
    sub/startup.cfg: "{config|base64}"
    net: "{management} {mac}\n{interface} {mac}\nend"
`, nic[0], format))
		ref := backends.NodeRef{Lab: "lab", Node: format}
		c := backends.NodeConfig{Ref: ref, Node: lab.Node{Name: format, Kind: kind.Name, Env: map[string]string{"PASSWORD": "other"}}, Kind: b.Adapt(kind), Config: "hostname x"}
		b.must(b.Create(t.Context(), c))
		t.Cleanup(func() {
			if err := b.Remove(context.Background(), ref); err != nil {
				t.Error(err)
			}
		})
		b.must(b.Start(t.Context(), ref))
		said := b.said(ref, "guest: up")
		for _, want := range []string{"seed ./user-data: #cloud-config " + format + " admin other", "seed ./Some-Longer.Name.config: hostname x",
			"seed ./sub/startup.cfg: aG9zdG5hbWUgeA==", "serials 3"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %q in\n%s", format, want, said)
			}
		}
		m := regexp.MustCompile(`seed \./net: eth1 (02:\S+)\s`).FindStringSubmatch(said)
		if m == nil || !strings.Contains(b.domain(ref), m[1]) {
			t.Errorf("%s: the interface of the seed is not the machine's:\n%s", format, said)
		}
		b.tells(said, "pci "+nic[1]+" 0x020000", "pci 0x8086:0x2922 0x010601") // of the bridge for SATA: this kernel has no driver
		if !strings.Contains(strings.ToLower(said), "label cidata") {
			t.Errorf("%s: the label is another:\n%s", format, said)
		}
	}
}

// domain is what libvirt has of a node.
func (b *bench) domain(ref backends.NodeRef) string {
	b.Helper()
	text, err := exec.Command("virsh", "-q", "-c", b.d.URI(), "dumpxml", b.status(ref).Identifier).CombinedOutput()
	if err != nil {
		b.Fatalf("virsh dumpxml: %v: %s", err, text)
	}
	return string(text)
}
