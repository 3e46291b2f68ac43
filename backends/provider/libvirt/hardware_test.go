package libvirt_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/libvirt/libvirttest"
	"archetype/lab"
)

// inventory has a guest tell what it finds in its machine.
const inventory = `for d in /sys/block/*; do echo "disk ${d##*/} $(cat $d/size)"; done
for d in /sys/bus/pci/devices/*; do echo "pci $(cat $d/vendor):$(cat $d/device) $(cat $d/class)"; done
for i in /sys/class/net/eth*; do echo "nic ${i##*/} $(cat $i/address)"; done
`

// tells wants lines in what a guest has said; each is a regular expression.
func (b *bench) tells(said string, lines ...string) {
	b.Helper()
	for _, line := range lines {
		if !regexp.MustCompile("(?m)^" + line + `\s*$`).MatchString(said) {
			b.Errorf("there is no line %s in\n%s", line, said)
		}
	}
}

// TestHardware: what a kind says of its machine is what the guest finds in it,
// before and after a stop; the power button comes first, and then the plug.
func TestHardware(t *testing.T) {
	b := newBench(t)
	sys := libvirttest.Build(t, b.d.Dir, inventory+`
mkdir -p /m && mount -t iso9660 -o ro /dev/sr0 /m && echo "cd $(cat /m/user-data)"
for f in product_name product_serial; do echo "smbios $f $(cat /sys/class/dmi/id/$f)"; done
echo "cpus $(nproc) $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
sed -n 's/MemTotal: */memory /p' /proc/meminfo
echo "disk says $(head -c 4 /dev/vda | tr -d '\000')"`,
		[]string{"ata_piix", "sd_mod", "sr_mod", "virtio_scsi", "isofs", "vmxnet3"})
	kind := sys.Kind(t, "hard", `machine: pc
cpu: Nehalem
resources: {memory_mb: 192, cpu: 2}
disks: [{size_mb: 3, bus: ide}, {size_mb: 5, bus: scsi}, {size_mb: 7, bus: virtio}]
seed: {label: cidata, cd: true, files: {user-data: "of {hostname}"}}
nic: vmxnet3
nics: 3
management: true
reserved: 1
smbios: {product: ACME 9000, serial: "S-{hostname}"}
vnc: true
`)
	ref := b.node(kind, "a", lab.End{Endpoint: lab.Endpoint{Node: "a", Interface: "eth2"}, MAC: "02:00:00:00:00:42"})
	list, err := b.List(t.Context(), "lab")
	b.must(err)
	if len(list) != 1 || list[0].Running || list[0].Ref != ref || list[0].Labels["who"] != "a" {
		t.Fatalf("%+v", list)
	}
	b.must(b.Start(t.Context(), ref))
	first := b.said(ref, "guest: up")
	b.tells(first, `cpus 2 Intel Core i7 9xx \(Nehalem.*`, `memory 1[5-9]\d\d\d\d kB`, "disk sd[ab] 6144", "disk sd[ab] 10240", "disk vda 14336", "cd of a",
		"smbios product_name ACME 9000", "smbios product_serial S-a", "nic eth3 02:00:00:00:00:42", "nic eth4 02:.*", "pci 0x1af4:0x1004 .*", "disk says")
	if n := strings.Count(first, "pci 0x15ad:0x07b0"); n != 5 { // management, reserved, and three
		t.Errorf("%d interfaces of the model:\n%s", n, first)
	}
	if got := b.exec(ref, "echo", "it's", "a  b"); got != "it's a  b\n" {
		t.Errorf("said %q", got)
	}
	res, err := b.Exec(t.Context(), ref, backends.ExecRequest{Command: []string{"sh", "-c", "exit 7"}})
	if err != nil || res.Code != 7 {
		t.Errorf("code %d, %v", res.Code, err)
	}
	b.exec(ref, "sh", "-c", "echo kept | dd of=/dev/vda conv=fsync 2>/dev/null")
	b.screen(ref)

	b.must(b.Stop(t.Context(), ref, time.Minute))
	b.says(ref, "guest: powers off") // it was not switched off but did it itself
	b.must(b.Stop(t.Context(), ref, time.Second))
	if st := b.status(ref); st.Running || st.Screen != "" {
		t.Errorf("stopped, it is %+v", st)
	}
	b.must(b.Start(t.Context(), ref))
	second := b.said(ref, "guest: up")
	b.tells(second, "disk says kept")
	if nics := regexp.MustCompile(`(?m)^nic .*`); strings.Join(nics.FindAllString(first, -1), "") != strings.Join(nics.FindAllString(second, -1), "") {
		t.Errorf("its interfaces were\n%s\nand are\n%s", first, second)
	}
	b.exec(ref, "rm", "/etc/acpi/PWRF/00000080") // from now on it does not heed its button
	const grace = 3 * time.Second
	begin := time.Now()
	b.must(b.Stop(t.Context(), ref, grace))
	if took := time.Since(begin); took < grace || b.status(ref).Running {
		t.Errorf("after %s it is %+v", took, b.status(ref))
	}
}

// screen wants the node's screen to be there, for nobody but this user.
func (b *bench) screen(ref backends.NodeRef) {
	b.Helper()
	path, ok := strings.CutPrefix(b.status(ref).Screen, "vnc+unix://")
	if !ok {
		b.Fatalf("its screen is at %q", b.status(ref).Screen)
	}
	st, err := os.Stat(path)
	b.must(err)
	if st.Mode().Type() != os.ModeSocket || st.Mode().Perm()&0o002 != 0 {
		b.Errorf("%s: %s", path, st.Mode())
	}
	c, err := net.Dial("unix", path)
	b.must(err)
	defer func() { _ = c.Close() }()
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(c, greeting); err != nil || string(greeting) != "RFB " {
		b.Errorf("its screen says %q, %v", greeting, err)
	}
}

// TestNoFirmware: what is to be installed for UEFI is said before a machine is
// made that could not start.
func TestNoFirmware(t *testing.T) {
	const firmware = "/usr/share/qemu/firmware"
	if _, err := os.Stat(firmware); err != nil {
		t.Skip(err)
	}
	b := newBench(t)
	kind := libvirttest.System{Kernel: "/no/kernel", Initrd: "/no/initrd"}.Kind(t, "hard", "uefi: true\n")
	show := b.d.Hide(firmware)
	ref := backends.NodeRef{Lab: "lab", Node: "a"}
	c := backends.NodeConfig{Ref: ref, Node: lab.Node{Name: "a", Kind: kind.Name}, Kind: b.Adapt(kind)}
	err := b.Create(t.Context(), c)
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "install ovmf") {
		t.Errorf("without firmware: %v", err)
	}
	show()
	b.must(b.Create(t.Context(), c))
	b.must(b.Remove(t.Context(), ref))
	if left, _ := filepath.Glob(filepath.Join(b.d.Dir, "var/lib/libvirt/qemu/nvram/*")); len(left) > 0 || len(b.d.Domains()) > 0 {
		t.Errorf("left behind: %v %v", left, b.d.Domains())
	}
}
