package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"archetype/backends"
	"archetype/backends/diskimage"
	failpoint "archetype/internal/fail"
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
func (p *Provider) disks(ctx context.Context, c backends.NodeConfig, k *kept) ([]disk, error) {
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
	base, err := p.base(ctx, c)
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
			if err := newDisk(ctx, file, nil, fmt.Sprintf("%dM", d.Size)); err != nil {
				return nil, err
			}
		}
		b := either(d.Bus, bus)
		out = append(out, disk{file: file, bus: b, format: "qcow2", letter: place(b)})
	}
	if len(v.Seed.Files) > 0 {
		file := filepath.Join(dir, "seed.img")
		err := failpoint.Around("machine.seed", func() error {
			return seed(file, v.Seed, func(text string) string { return k.seed(c, text) })
		})
		if err != nil {
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
func (p *Provider) base(ctx context.Context, c backends.NodeConfig) (string, error) {
	if c.Node.Image == "" && c.Kind.VM.Kernel != "" {
		return "", nil
	}
	store := diskimage.Store{Dir: p.cfg.Images, Labs: p.cfg.Labs, Recognise: c.Kind.RecognisedAs}
	file, err := store.Find(ctx, c.Kind.Name, c.Node.Image, filepath.Dir(c.File))
	if errors.Is(err, diskimage.ErrNotFound) {
		err = fmt.Errorf("%w (%w)", err, backends.ErrNoImage)
	}
	return file, err
}

// overlay makes a disk over a base image, unless it is there.
func overlay(ctx context.Context, file, base string) error {
	if have, err := diskimage.Inspect(ctx, file); err == nil {
		if have.Base != base {
			return fmt.Errorf("the node's disk is over another image (%s): destroy the node to begin anew (%w)", have.Base, backends.ErrConflict)
		}
		return nil
	}
	info, err := diskimage.Inspect(ctx, base)
	if err != nil {
		return err
	}
	return newDisk(ctx, file, []string{"-b", base, "-F", info.Format})
}

// newDisk makes a disk: one that is found under its name later is whole.
func newDisk(ctx context.Context, file string, options []string, size ...string) error {
	tmp := file + ".new"
	args := slices.Concat([]string{"create", "-q", "-f", "qcow2"}, options, []string{tmp}, size)
	return failpoint.Around("machine.disk", func() error {
		if err := diskimage.Run(ctx, args...); err != nil {
			return err
		}
		return os.Rename(tmp, file)
	})
}
