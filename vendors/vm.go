package vendors

import (
	"fmt"
	"path/filepath"
	"strings"
)

// VM says how a kind runs as a virtual machine. Only providers of virtual
// machines read it.
type VM struct {
	// Description and what follows it up to ConfigExtract stand in for the
	// kind's own, where they say something: those may be of a container.
	Description   string        `yaml:"description,omitempty" json:"description,omitempty"`
	Interfaces    Interfaces    `yaml:"interfaces,omitempty" json:"interfaces,omitzero"`
	Resources     Resources     `yaml:"resources,omitempty" json:"resources,omitzero"`
	StopGrace     Duration      `yaml:"stop_grace,omitempty" json:"stop_grace,omitzero"`
	Readiness     Readiness     `yaml:"readiness,omitempty" json:"readiness,omitzero"`
	Progress      []Progress    `yaml:"progress,omitempty" json:"progress,omitempty"`
	ConfigExtract ConfigExtract `yaml:"config_extract,omitempty" json:"config_extract,omitzero"`

	// Images recognise files of the kind's disk by their names.
	Images []ImageName `yaml:"images,omitempty" json:"images,omitempty"`

	Machine string `yaml:"machine,omitempty" json:"machine,omitempty"` // q35 where it names none
	CPU     string `yaml:"cpu,omitempty" json:"cpu,omitempty"`         // model; empty: the best there is
	DiskBus string `yaml:"disk_bus,omitempty" json:"disk_bus,omitempty"`
	// Serials is how many serial lines it has, of which the first is its
	// console and the others lead nowhere; 1 where it says none.
	Serials int  `yaml:"serials,omitempty" json:"serials,omitempty"`
	UEFI    bool `yaml:"uefi,omitempty" json:"uefi,omitempty"`
	VNC     bool `yaml:"vnc,omitempty" json:"vnc,omitempty"` // has a screen as well
	// SMBIOS is what the device finds in the machine's system record, by entry:
	// manufacturer, product, version, serial, sku, family.
	SMBIOS map[string]string `yaml:"smbios,omitempty" json:"smbios,omitempty"`
	// Kernel, Initrd and Cmdline boot without a boot loader; the files are of
	// this machine. A kind with a kernel needs no image.
	Kernel  string `yaml:"kernel,omitempty" json:"kernel,omitempty"`
	Initrd  string `yaml:"initrd,omitempty" json:"initrd,omitempty"`
	Cmdline string `yaml:"cmdline,omitempty" json:"cmdline,omitempty"`
	// Disks are empty ones beside that of the image.
	Disks []VMDisk `yaml:"disks,omitempty" json:"disks,omitempty"`

	NIC string `yaml:"nic,omitempty" json:"nic,omitempty"` // model; virtio where it names none
	// NICs is how many it always has, beside that of management; those without
	// a link have no carrier. A device that looks for its interfaces only when
	// it boots can have one connected later.
	NICs int `yaml:"nics,omitempty" json:"nics,omitempty"`
	// Management has a first interface through which this machine reaches the
	// device, and it the outside; it gets its address by DHCP.
	Management bool `yaml:"management,omitempty" json:"management,omitempty"`
	// Reserved is how many interfaces without a use come after that.
	Reserved int `yaml:"reserved,omitempty" json:"reserved,omitempty"`

	// Seed is a small disk with files for the first boot.
	Seed        Seed        `yaml:"seed,omitempty" json:"seed,omitzero"`
	Credentials Credentials `yaml:"credentials,omitempty" json:"credentials,omitzero"`
	// Dialogue is what to answer on the serial line while the device boots.
	Dialogue []Step `yaml:"dialogue,omitempty" json:"dialogue,omitempty"`
	Exec     VMExec `yaml:"exec,omitempty" json:"exec,omitzero"`
}

// ImageName recognises a disk by its file's name.
type ImageName struct {
	// Match is a regular expression for the whole name; its first group is the
	// version.
	Match string `yaml:"match" json:"match"`
}

// VMDisk is an empty disk.
type VMDisk struct {
	Size int    `yaml:"size_mb" json:"size_mb"` // MiB
	Bus  string `yaml:"bus,omitempty" json:"bus,omitempty"`
}

// Seed is a disk made from files; Facts.Seed says what stands for the node's own
// in their text.
type Seed struct {
	Label string `yaml:"label,omitempty" json:"label,omitempty"`
	Bus   string `yaml:"bus,omitempty" json:"bus,omitempty"` // the disk's own where it names none
	CD    bool   `yaml:"cd,omitempty" json:"cd,omitempty"`   // seen as a CD drive
	// Format is that of its file system: iso9660, which it is where it says
	// none, or vfat.
	Format string            `yaml:"format,omitempty" json:"format,omitempty"`
	Files  map[string]string `yaml:"files,omitempty" json:"files,omitempty"`
}

// Credentials are those that the vendor documents for a new device.
type Credentials struct {
	Username string `yaml:"username,omitempty" json:"username,omitempty"`
	Password string `yaml:"password,omitempty" json:"password,omitempty"`
}

// Step waits for something on the serial line and answers it.
type Step struct {
	// Expect is a regular expression for what stands on the line last, and
	// has no end: a prompt. With Line it is for the end of a whole line, such
	// as "Press RETURN to get started". With Quiet it is enough that nothing
	// is said for that long.
	Expect string   `yaml:"expect,omitempty" json:"expect,omitempty"`
	Line   bool     `yaml:"line,omitempty" json:"line,omitempty"`
	Quiet  Duration `yaml:"quiet,omitempty" json:"quiet,omitzero"`
	// Send is written, with \r at its end unless Raw. Lines is a text of which
	// one line after the other is sent, each when Expect is seen again.
	Send  string `yaml:"send,omitempty" json:"send,omitempty"`
	Lines string `yaml:"lines,omitempty" json:"lines,omitempty"`
	Raw   bool   `yaml:"raw,omitempty" json:"raw,omitempty"`
	// Times bounds how often the step is done in one boot; 0 means 20. Of
	// steps that expect the same, the first that may still be done counts.
	Times   int    `yaml:"times,omitempty" json:"times,omitempty"`
	Percent int    `yaml:"percent,omitempty" json:"percent,omitempty"`
	Message string `yaml:"message,omitempty" json:"message,omitempty"`
	// Ready makes the device ready once the step is done, with the probe dialogue.
	Ready bool `yaml:"ready,omitempty" json:"ready,omitempty"`
}

// VMExec says how a command is run in the device.
type VMExec struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty"` // serial or ssh
	// Prompt is a regular expression for the end of what is said before the
	// device takes a command. Setup are sent first, such as one against paging.
	Prompt string   `yaml:"prompt,omitempty" json:"prompt,omitempty"`
	Setup  []string `yaml:"setup,omitempty" json:"setup,omitempty"`
	// Login answers questions before the first prompt.
	Login []Step `yaml:"login,omitempty" json:"login,omitempty"`
	// Status is a command that says the last one's exit code; without one, a
	// command has succeeded unless Failed matches what it said.
	Status string `yaml:"status,omitempty" json:"status,omitempty"`
	Failed string `yaml:"failed,omitempty" json:"failed,omitempty"`
	Port   int    `yaml:"port,omitempty" json:"port,omitempty"` // of SSH
	// Quote has a command's words quoted as a POSIX shell wants them.
	Quote bool `yaml:"quote,omitempty" json:"quote,omitempty"`
}

// IsVM reports whether the kind says how it runs as a virtual machine.
func (k *Kind) IsVM() bool { return k.VM != nil }

// AsVM is the kind as a virtual machine. One that says nothing of that is
// returned as it is.
func (k *Kind) AsVM() *Kind {
	v := k.VM
	if v == nil {
		return k
	}
	out := *k
	out.Console = Console{Method: "serial"}
	if v.Description != "" {
		out.Description = v.Description
	}
	if i := v.Interfaces; i.Pattern != "" || i.Any || len(i.Names) > 0 {
		out.Interfaces = i
	}
	if v.Resources != (Resources{}) {
		out.Resources = v.Resources
	}
	if v.StopGrace != 0 {
		out.StopGrace = v.StopGrace
	}
	out.Readiness, out.Progress, out.ConfigExtract = v.Readiness, v.Progress, v.ConfigExtract
	out.Dialogue = v.Dialogue
	out.Images = nil
	return &out
}

// VMProvider is the provider of kinds whose image is a disk.
const VMProvider = "libvirt"

// DiskFile reports whether an image is named like a disk and not like a
// container's.
func DiskFile(image string) bool {
	switch strings.ToLower(filepath.Ext(image)) {
	case ".qcow2", ".vmdk", ".img", ".raw":
		return true
	}
	return false
}

// Recognise finds the kind and the version of a disk by its file's name; the
// kind that says most of the name counts.
func (r *Registry) Recognise(file string) (kind *Kind, version string) {
	best := 0
	for _, k := range r.Kinds() {
		if v, most := k.recognise(file); most > best {
			kind, version, best = k, v, most
		}
	}
	return kind, version
}

// recognise is the version by a disk's name, and how much the kind says of it;
// 0 where it is none of the kind's.
func (k *Kind) recognise(file string) (version string, most int) {
	if k.VM == nil {
		return "", 0
	}
	for _, i := range k.VM.Images {
		re := whole("(?i:" + i.Match + ")") // checked when the kind was read
		if re == nil || len(i.Match) <= most {
			continue
		}
		if m := re.FindStringSubmatch(filepath.Base(file)); m != nil {
			version, most = "", len(i.Match)
			if len(m) > 1 {
				version = m[1]
			}
		}
	}
	return version, most
}

// RecognisedAs names the kind where a disk is one of its own by its name.
func (k *Kind) RecognisedAs(file string) (kind, version string) {
	version, most := k.recognise(file)
	if most == 0 {
		return "", ""
	}
	return k.Name, version
}

// Recognised is Recognise by names alone; empty where nothing is recognised.
func (r *Registry) Recognised(file string) (kind, version string) {
	k, version := r.Recognise(file)
	if k == nil {
		return "", ""
	}
	return k.Name, version
}

var (
	diskBuses = []string{"", "virtio", "ide", "sata", "scsi"}
	nicModels = []string{"", "virtio", "e1000", "e1000e", "vmxnet3", "rtl8139"}
)

func (p *checker) vm(v *VM) {
	if v == nil {
		return
	}
	p.interfaces("$.vm.interfaces", v.Interfaces)
	p.readiness("$.vm.readiness", v.Readiness)
	p.vmReadiness(v)
	p.progress("$.vm.progress", v.Progress)
	p.extract("$.vm.config_extract", v.ConfigExtract)
	for i, n := range v.Images {
		p.regexp(fmt.Sprintf("$.vm.images[%d].match", i), n.Match)
	}
	p.oneOf("$.vm.disk_bus", "disk_bus", v.DiskBus, diskBuses...)
	p.oneOf("$.vm.nic", "nic", v.NIC, nicModels...)
	for i, d := range v.Disks {
		p.oneOf(fmt.Sprintf("$.vm.disks[%d].bus", i), "bus", d.Bus, diskBuses...)
		if d.Size <= 0 {
			p.at(fmt.Sprintf("$.vm.disks[%d]", i), "a disk needs a size_mb above 0")
		}
	}
	if v.NICs < 0 || v.NICs > 64 || v.Reserved < 0 || v.Reserved > 16 {
		p.at("$.vm", "nics can be 0 to 64, reserved 0 to 16")
	}
	if v.Serials < 0 || v.Serials > 4 {
		p.at("$.vm.serials", "a machine can have 1 to 4 serial lines")
	}
	for name := range v.SMBIOS {
		p.oneOf("$.vm.smbios", "smbios entry", name, "manufacturer", "product", "version", "serial", "sku", "family")
	}
	for path, file := range map[string]string{"kernel": v.Kernel, "initrd": v.Initrd} {
		if file != "" {
			p.absolute("$.vm."+path, path, file)
		}
	}
	p.oneOf("$.vm.seed.format", "format", v.Seed.Format, "", "iso9660", "vfat")
	p.oneOf("$.vm.seed.bus", "bus", v.Seed.Bus, diskBuses...)
	p.steps("$.vm.dialogue", v.Dialogue)
	p.oneOf("$.vm.exec.method", "exec method", v.Exec.Method, "", "serial", "ssh")
	p.steps("$.vm.exec.login", v.Exec.Login)
	for path, expr := range map[string]string{"prompt": v.Exec.Prompt, "failed": v.Exec.Failed} {
		p.regexp("$.vm.exec."+path, expr)
	}
	if v.Exec.Method == "serial" && v.Exec.Prompt == "" {
		p.at("$.vm.exec.method", "commands over the serial line need a prompt to wait for")
	}
	if v.Exec.Method == "ssh" && !v.Management {
		p.at("$.vm.exec.method", "commands over SSH need management: true")
	}
}

// vmReadiness checks that a machine can be asked what its readiness asks.
func (p *checker) vmReadiness(v *VM) {
	at := "$.vm.readiness.probe"
	switch r := v.Readiness; r.Probe {
	case "health":
		p.at(at, "a virtual machine has no health check of an image's: use log, command, tcp, ssh or dialogue")
	case "tcp", "ssh":
		if !v.Management {
			p.at(at, "a %s probe reaches the machine through its management interface: set management: true", r.Probe)
		}
	case "command":
		switch {
		case v.Exec.Method == "":
			p.at(at, "a command probe needs exec, which says how a command is run")
		case v.Exec.Method == "serial" && r.After == "":
			p.at(at, "a command over the serial line needs after: what the device says once the line is free for it")
		}
	case "dialogue":
		for _, s := range v.Dialogue {
			if s.Ready {
				return
			}
		}
		p.at(at, "a dialogue probe needs a step of dialogue with ready: true")
	}
}

func (p *checker) steps(path string, list []Step) {
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if (s.Expect == "") == (s.Quiet == 0) {
			p.at(at, "a step needs either expect or quiet, and not both")
		}
		p.regexp(at+".expect", s.Expect)
		if s.Lines != "" && (s.Send != "" || s.Expect == "" || s.Line || s.Raw) {
			p.at(at+".lines", "lines needs expect, and goes with neither send nor line nor raw")
		}
		if s.Line && s.Expect == "" {
			p.at(at+".line", "line needs expect")
		}
		if s.Percent < 0 || s.Percent > 100 || s.Times < 0 || s.Quiet < 0 {
			p.at(at, "percent can be 0 to 100; times and quiet cannot be negative")
		}
	}
}

// vmFields are the keys of the part about virtual machines.
var vmFields = []string{"vm", "machine", "disk_bus", "uefi", "vnc", "initrd", "cmdline", "disks", "size_mb", "bus", "nic", "nics",
	"reserved", "seed", "label", "cd", "credentials", "username", "password", "dialogue", "expect", "quiet", "send", "raw",
	"times", "smbios", "format", "line", "lines", "after", "exec", "prompt", "setup", "login", "status", "failed", "port", "quote"}
