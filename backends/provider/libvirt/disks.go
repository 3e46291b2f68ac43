package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirtxml"

	"archetype/backends"
)

// disk is one of a node's: a file of its own, over a base image that is never
// written to or empty at first.
type disk struct {
	file, bus string
	format    string
	letter    int // its place on its bus
	cd        bool
}

func (d disk) device() libvirtxml.DomainDisk {
	prefix := map[string]string{"virtio": "vd", "ide": "hd", "sata": "sd", "scsi": "sd"}[d.bus]
	out := libvirtxml.DomainDisk{Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: d.format},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: d.file}},
		Target: &libvirtxml.DomainDiskTarget{Dev: prefix + string(rune('a'+d.letter)), Bus: d.bus}}
	if d.cd {
		out.Device, out.ReadOnly = "cdrom", &libvirtxml.DomainDiskReadOnly{}
	}
	return out
}

// disks makes those of a node that are not there yet.
func (p *Provider) disks(ctx context.Context, c backends.NodeConfig) ([]disk, error) {
	v, dir := c.Kind.VM, p.folder(c.Ref)
	bus := either(v.DiskBus, "virtio")
	var out []disk
	used := map[string]int{}
	place := func(bus string) int {
		family := bus
		if bus == "scsi" {
			family = "sata" // their names are of one sort
		}
		used[family]++
		return used[family] - 1
	}
	base, err := p.base(c)
	if err != nil {
		return nil, err
	}
	if base != "" {
		file := filepath.Join(dir, "disk.qcow2")
		if err := overlay(ctx, file, base); err != nil {
			return nil, err
		}
		out = append(out, disk{file: file, bus: bus, format: "qcow2", letter: place(bus)})
	}
	for i, d := range v.Disks {
		file := filepath.Join(dir, fmt.Sprintf("disk%d.qcow2", i+1))
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			if err := qemuImg(ctx, "create", "-q", "-f", "qcow2", file, fmt.Sprintf("%dM", d.Size)); err != nil {
				return nil, err
			}
		}
		b := either(d.Bus, bus)
		out = append(out, disk{file: file, bus: b, format: "qcow2", letter: place(b)})
	}
	if len(v.Seed.Files) > 0 {
		file := filepath.Join(dir, "seed.img")
		if err := seed(file, v.Seed, facts(c)); err != nil {
			return nil, fmt.Errorf("the disk with its first configuration: %w", err)
		}
		b := either(v.Seed.Bus, bus)
		if v.Seed.CD && v.Seed.Bus == "" {
			b = "ide"
			if v.UEFI || strings.Contains(v.Machine, "q35") {
				b = "sata"
			}
		}
		out = append(out, disk{file: file, bus: b, format: "raw", letter: place(b), cd: v.Seed.CD})
	}
	return out, nil
}

// base is the path of the node's base image; empty where its kind needs none.
func (p *Provider) base(c backends.NodeConfig) (string, error) {
	image := c.Node.Image
	if image == "" {
		if c.Kind.VM.Kernel != "" {
			return "", nil
		}
		return "", fmt.Errorf("kind %s needs a disk image: give the node one, which `archetype images import` has taken in (%w)", c.Kind.Name, backends.ErrUnavailable)
	}
	tried := []string{image}
	if !filepath.IsAbs(image) {
		tried = []string{filepath.Join(p.cfg.Images, image), filepath.Join(filepath.Dir(c.File), image)}
		if filepath.Ext(image) == "" {
			tried = append(tried, filepath.Join(p.cfg.Images, image+".qcow2"))
		}
	}
	for _, path := range tried {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no disk image %s (looked for %s): `archetype images import` takes one in (%w)", image,
		strings.Join(tried, ", "), backends.ErrUnavailable)
}

// overlay makes a disk over a base image, unless it is there.
func overlay(ctx context.Context, file, base string) error {
	if have, err := inspect(ctx, file); err == nil {
		if have.Base != base {
			return fmt.Errorf("the node's disk is over another image (%s): destroy the node to begin anew (%w)", have.Base, backends.ErrConflict)
		}
		return nil
	}
	info, err := inspect(ctx, base)
	if err != nil {
		return err
	}
	tmp := file + ".new"
	if err := qemuImg(ctx, "create", "-q", "-f", "qcow2", "-b", base, "-F", info.Format, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// imageInfo is what qemu-img says of a disk.
type imageInfo struct {
	Format string `json:"format"`
	Size   int64  `json:"virtual-size"` // bytes
	Actual int64  `json:"actual-size"`  // bytes
	Base   string `json:"full-backing-filename"`
}

func inspect(ctx context.Context, file string) (imageInfo, error) {
	var info imageInfo
	if _, err := os.Stat(file); err != nil {
		return info, err
	}
	// It may be in use: nothing is changed.
	out, err := exec.CommandContext(ctx, "qemu-img", "info", "-U", "--output=json", file).Output()
	if err != nil {
		return info, fmt.Errorf("%s: %w", file, said(err))
	}
	return info, json.Unmarshal(out, &info)
}

func qemuImg(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "qemu-img", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// said adds what a command wrote to its error.
func said(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
