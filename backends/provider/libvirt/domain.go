package libvirt

import (
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"archetype/backends"
	"archetype/backends/provider/serialline"
	"archetype/vendors"
)

// uuid is a node's, the same whenever its domain is made anew. It begins with
// the owner's eight digits.
func (p *Provider) uuid(ref backends.NodeRef) golibvirt.UUID {
	var u golibvirt.UUID
	text := digits(p.cfg.Run, 8) + digits(p.cfg.Run+"\x00"+ref.String(), 24)
	_, _ = hex.Decode(u[:], []byte(text))
	return u
}

func uuidText(u golibvirt.UUID) string {
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// mine reports whether a domain is one of ours.
func (p *Provider) mine(u golibvirt.UUID) bool {
	return hex.EncodeToString(u[:4]) == digits(p.cfg.Run, 8)
}

func (p *Provider) domainName(ref backends.NodeRef) string {
	return ref.Lab + "-" + ref.Node + "-" + digits(p.cfg.Run+"\x00"+ref.String(), 6)
}

// lookup finds the node's domain.
func (p *Provider) lookup(lv *golibvirt.Libvirt, ref backends.NodeRef) (golibvirt.Domain, error) {
	dom, err := lv.DomainLookupByUUID(p.uuid(ref))
	if isCode(err, golibvirt.ErrNoDomain) {
		return dom, gone(ref)
	}
	return dom, err
}

func (p *Provider) socket(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Run, digits(ref.String(), 12)+".sock")
}

// screen is the socket of the node's VNC server: who may not read the folder
// that it is in has no use of it, unlike of a port.
func (p *Provider) screen(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Run, digits(ref.String(), 12)+".vnc")
}

// namespace is that of our mark in a domain's metadata.
const namespace = "https://archetype.dev/libvirt/node/1"

// metadata marks a domain as ours.
type metadata struct {
	XMLName xml.Name `xml:"node"`
	Home    string   `xml:"home,attr"`
	Lab     string   `xml:"lab,attr"`
	Node    string   `xml:"node,attr"`
	Labels  []label  `xml:"label"`
}

type label struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

func (p *Provider) mark(c backends.NodeConfig) *libvirtxml.DomainMetadata {
	var s strings.Builder
	attr := func(name, value string) {
		s.WriteString(" " + name + `="`)
		_ = xml.EscapeText(&s, []byte(value))
		s.WriteString(`"`)
	}
	s.WriteString(`<archetype:node xmlns:archetype="` + namespace + `"`)
	attr("home", p.cfg.Run)
	attr("lab", c.Ref.Lab)
	attr("node", c.Ref.Node)
	s.WriteString(">")
	var names []string
	for n := range c.Labels {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		s.WriteString("<archetype:label")
		attr("name", n)
		attr("value", c.Labels[n])
		s.WriteString("/>")
	}
	s.WriteString("</archetype:node>")
	return &libvirtxml.DomainMetadata{XML: s.String()}
}

// marked reads the mark of a domain.
func (p *Provider) marked(d *libvirtxml.Domain) (ref backends.NodeRef, labels map[string]string, ok bool) {
	if d.Metadata == nil {
		return ref, nil, false
	}
	var all struct {
		Nodes []metadata `xml:"node"`
	}
	if xml.Unmarshal([]byte("<all>"+d.Metadata.XML+"</all>"), &all) != nil {
		return ref, nil, false
	}
	for _, m := range all.Nodes {
		if m.XMLName.Space != namespace || m.Home != p.cfg.Run {
			continue
		}
		labels = map[string]string{}
		for _, l := range m.Labels {
			labels[l.Name] = l.Value
		}
		return backends.NodeRef{Lab: m.Lab, Node: m.Node}, labels, true
	}
	return ref, nil, false
}

// domain is the whole of a node's machine.
func (p *Provider) domain(c backends.NodeConfig, k *kept, disks []disk, kvm bool) *libvirtxml.Domain {
	v, dir := k.VM, p.folder(c.Ref)
	memory, cpus := c.Kind.Resources.MemoryMB, uint(1)
	if vr := v.Resources; vr.MemoryMB > 0 {
		memory = vr.MemoryMB
	}
	if c.Node.Container.Memory > 0 {
		memory = int(c.Node.Container.Memory >> 20)
	}
	if memory == 0 {
		memory = 1024
	}
	if cpu := max(c.Kind.Resources.CPU, v.Resources.CPU); cpu > 1 {
		cpus = uint(cpu + 0.99)
	}
	if c.Node.Container.CPU > 1 {
		cpus = uint(c.Node.Container.CPU + 0.99)
	}
	d := &libvirtxml.Domain{Type: "qemu", Name: p.domainName(c.Ref), UUID: uuidText(p.uuid(c.Ref)), Metadata: p.mark(c),
		Title: c.Ref.String(), Memory: &libvirtxml.DomainMemory{Value: uint(memory), Unit: "MiB"}, VCPU: &libvirtxml.DomainVCPU{Value: cpus},
		OS:       &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: "x86_64", Machine: either(v.Machine, "pc"), Type: "hvm"}},
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		Clock:    &libvirtxml.DomainClock{Offset: "utc"}, OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: &libvirtxml.DomainDeviceList{}}
	d.CPU = &libvirtxml.DomainCPU{Mode: "maximum"}
	if kvm {
		d.Type, d.CPU = "kvm", &libvirtxml.DomainCPU{Mode: "host-passthrough"}
	}
	if v.CPU != "" {
		d.CPU = &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Check: "none", Model: &libvirtxml.DomainCPUModel{Fallback: "allow", Value: v.CPU}}
	}
	if v.UEFI {
		d.OS.Firmware, d.OS.Type.Machine = "efi", either(v.Machine, "q35")
		// What vendors' disks begin with is not signed for it.
		d.OS.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: []libvirtxml.DomainOSFirmwareFeature{{Enabled: "no", Name: "enrolled-keys"}, {Enabled: "no", Name: "secure-boot"}}}
	}
	if len(v.SMBIOS) > 0 {
		d.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
		d.SysInfo = sysInfo(k.Facts, v.SMBIOS)
	}
	if v.Kernel != "" {
		d.OS.Kernel, d.OS.Initrd, d.OS.Cmdline = v.Kernel, v.Initrd, k.Facts.Fill(v.Cmdline)
	} else {
		d.OS.BootDevices = []libvirtxml.DomainBootDevice{{Dev: "hd"}}
	}
	// By the user that QEMU is run as otherwise; libvirt opens the way to the
	// serial line for it, but not that to the screen.
	if !reachable(dir) || v.VNC {
		d.SecLabel = []libvirtxml.DomainSecLabel{{Type: "static", Model: "dac", Relabel: "no", Label: "+0:+0"}}
	}
	for _, x := range disks {
		d.Devices.Disks = append(d.Devices.Disks, x.device())
	}
	if slices.ContainsFunc(disks, func(x disk) bool { return x.bus == "scsi" }) {
		d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "scsi", Model: "virtio-scsi"})
	}
	model := either(v.NIC, "virtio")
	if v.Management {
		d.Devices.Interfaces = append(d.Devices.Interfaces, libvirtxml.DomainInterface{MAC: &libvirtxml.DomainInterfaceMAC{Address: managementMAC(c.Ref)},
			Source: &libvirtxml.DomainInterfaceSource{User: &libvirtxml.DomainInterfaceSourceUser{}}, Model: &libvirtxml.DomainInterfaceModel{Type: model}})
	}
	for i := range v.Reserved {
		hw, _ := mac(c.Ref.Lab, fmt.Sprintf("%s:reserved%d", c.Ref.Node, i), "")
		d.Devices.Interfaces = append(d.Devices.Interfaces, libvirtxml.DomainInterface{MAC: &libvirtxml.DomainInterfaceMAC{Address: hw},
			Source: &libvirtxml.DomainInterfaceSource{User: &libvirtxml.DomainInterfaceSourceUser{}}, Model: &libvirtxml.DomainInterfaceModel{Type: model},
			Link: linkState(false)})
	}
	for _, n := range k.NICs {
		i := libvirtxml.DomainInterface{MAC: &libvirtxml.DomainInterfaceMAC{Address: n.MAC}, Model: &libvirtxml.DomainInterfaceModel{Type: model},
			Source: &libvirtxml.DomainInterfaceSource{Ethernet: &libvirtxml.DomainInterfaceSourceEthernet{}},
			Target: &libvirtxml.DomainInterfaceTarget{Dev: n.Tap, Managed: "no"}}
		if model == "virtio" {
			// A switch in user space hands frames on as it finds them: their
			// checksums must be in them.
			i.Driver = &libvirtxml.DomainInterfaceDriver{Name: "qemu", Host: &libvirtxml.DomainInterfaceDriverHost{CSum: "off", GSO: "off",
				TSO4: "off", TSO6: "off", ECN: "off", UFO: "off"}}
		}
		d.Devices.Interfaces = append(d.Devices.Interfaces, i)
	}
	d.Devices.Serials = []libvirtxml.DomainSerial{{Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind", Path: p.socket(c.Ref)}},
		Log: &libvirtxml.DomainChardevLog{File: filepath.Join(dir, serialline.Record), Append: "on"}}}
	for range v.Serials - 1 {
		d.Devices.Serials = append(d.Devices.Serials, libvirtxml.DomainSerial{Source: &libvirtxml.DomainChardevSource{Null: &libvirtxml.DomainChardevSourceNull{}}})
	}
	d.Devices.MemBalloon = &libvirtxml.DomainMemBalloon{Model: "none"}
	if v.VNC {
		d.Devices.Graphics = []libvirtxml.DomainGraphic{{VNC: &libvirtxml.DomainGraphicVNC{Socket: p.screen(c.Ref)}}}
		d.Devices.Videos = []libvirtxml.DomainVideo{{Model: libvirtxml.DomainVideoModel{Type: "vga"}}}
	}
	return d
}

// sysInfo is the system record that a kind's data asks for.
func sysInfo(f vendors.Facts, entries map[string]string) []libvirtxml.DomainSysInfo {
	var names []string
	for n := range entries {
		names = append(names, n)
	}
	slices.Sort(names)
	sys := &libvirtxml.DomainSysInfoSystem{}
	for _, n := range names {
		sys.Entry = append(sys.Entry, libvirtxml.DomainSysInfoEntry{Name: n, Value: f.Fill(entries[n])})
	}
	return []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{System: sys}}}
}

// reachable reports whether every user can reach what is in a folder.
func reachable(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// facts are what the texts of a node's kind are filled with.
func facts(c backends.NodeConfig) vendors.Facts {
	return vendors.FactsOf(c.Kind, c.Ref.Node, c.Config, c.Node.Env)
}
