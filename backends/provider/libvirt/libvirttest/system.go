package libvirttest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"archetype/internal/guest"
	"archetype/vendors"
)

// System is a small Linux for machines of tests: a kernel and an initramfs
// whose init is a shell script with a login on the serial line.
type System struct {
	Kernel, Initrd string
}

// Build makes one. Script is run by its init before the shell on the serial
// line; files are in it beside busybox.
func Build(t testing.TB, dir, script string, modules []string, files ...guest.File) System {
	t.Helper()
	k := guest.Find(t)
	s := System{Kernel: k.Image, Initrd: filepath.Join(dir, "initramfs")}
	init := `dmesg -n 1
hostname guest
mkdir -p /etc/acpi/PWRF /var/log /var/run
printf '#!/bin/sh\necho "guest: powers off" >/dev/console\npoweroff -f\n' >/etc/acpi/PWRF/00000080
chmod +x /etc/acpi/PWRF/00000080
acpid
` + script + `
echo "guest: up"
while :; do setsid -c sh -c 'stty -echoctl; exec sh' </dev/ttyS0 >/dev/ttyS0 2>&1; done
`
	modules = append([]string{"virtio_pci", "virtio_net", "virtio_blk", "evdev", "button"}, modules...)
	if err := k.Initramfs(s.Initrd, modules, init, files...); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kind is a kind that is this system, as a vendor file would say it; more is
// YAML that belongs to its part about virtual machines.
func (s System) Kind(t testing.TB, name, more string) *vendors.Kind {
	t.Helper()
	k, diags := vendors.Parse(name+".yaml", []byte(s.YAML(name, more)))
	if k == nil {
		t.Fatal(diags)
	}
	return k
}

// YAML is the vendor file itself.
func (s System) YAML(name, more string) string {
	text := fmt.Sprintf(`name: %s
description: a small Linux, for tests
providers: [libvirt]
interfaces: {pattern: "eth{n}", first: 1}
stop_grace: 20s
vm:
  kernel: %s
  initrd: %s
  cmdline: console=ttyS0 panic=-1 quiet no_timer_check
`, name, s.Kernel, s.Initrd)
	given := "\n" + more
	for _, usual := range []string{"resources: {memory_mb: 128}", `readiness: {probe: log, pattern: "guest: up", timeout: 3m}`,
		`progress: [{text: "guest: begins", percent: 30, message: kernel up}]`, `exec: {method: serial, prompt: '[#$] ', status: 'echo $?', quote: true}`} {
		if field, _, _ := strings.Cut(usual, " "); !strings.Contains(given, "\n"+field) {
			text += "  " + usual + "\n"
		}
	}
	for line := range strings.Lines(more) {
		text += "  " + line
	}
	return text + "\n"
}
