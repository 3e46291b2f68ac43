package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"archetype/backends"
	failpoint "archetype/internal/fail"
	"archetype/internal/folder"
	"archetype/internal/frozen"
)

// glance is how often a machine that is to end is looked at, press how often
// its power button is pressed again: a system that boots may not heed it.
const (
	glance = 50 * time.Millisecond
	press  = 2 * time.Second
)

// Create makes the node's disks and taps and defines its domain.
func (p *Provider) Create(ctx context.Context, c backends.NodeConfig) error {
	defer p.lock(c.Ref)()
	return fail(c.Ref, p.create(ctx, c))
}

func (p *Provider) create(ctx context.Context, c backends.NodeConfig) error {
	if !c.Kind.IsVM() {
		return fmt.Errorf("kind %s does not say how it runs as a virtual machine (%w)", c.Kind.Name, backends.ErrUnsupported)
	}
	dir := p.folder(c.Ref)
	for _, d := range []string{dir, p.cfg.Run} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return err
		}
	}
	k := &kept{}
	if have, err := p.read(c.Ref); err == nil {
		k = have
	}
	k.VM, k.Facts = *c.Kind.VM, facts(c)
	var err error
	if k.NICs, err = p.nics(c); err != nil {
		return err
	}
	disks, err := p.disks(ctx, c, k)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, n := range k.NICs {
		keep[n.Tap] = true
		if err := makeTap(n.Tap, p.tapAlias(c.Ref, n.Name)); err != nil {
			return err
		}
	}
	if err := p.dropTaps(c.Ref, keep); err != nil {
		return err
	}
	kvm, _ := p.kvm.works(ctx)
	d := p.domain(c, k, disks, kvm)
	if d.OS.Firmware != "" {
		if err := p.firmware(ctx, d); err != nil {
			return err
		}
	}
	text, err := d.Marshal()
	if err != nil {
		return err
	}
	if err := errors.Join(replace(filepath.Join(dir, domainFile), []byte(text)), p.write(c.Ref, k)); err != nil {
		return err
	}
	return p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		return failpoint.Around("domain.define", func() error {
			_, err := lv.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
			return err
		})
	})
}

// firmware checks that libvirt has what a machine asks for: it would say so
// only when that is switched on.
func (p *Provider) firmware(ctx context.Context, d *libvirtxml.Domain) error {
	return p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		text, err := lv.ConnectGetDomainCapabilities(nil, golibvirt.OptString{d.OS.Type.Arch}, golibvirt.OptString{d.OS.Type.Machine}, golibvirt.OptString{d.Type}, 0)
		if err != nil {
			return err
		}
		var caps libvirtxml.DomainCaps
		if err := caps.Unmarshal(text); err != nil {
			return err
		}
		if caps.OS != nil {
			for _, e := range caps.OS.Enums {
				if e.Name == "firmware" && slices.Contains(e.Values, d.OS.Firmware) {
					return nil
				}
			}
		}
		return fmt.Errorf("its kind asks for UEFI, and libvirt finds no firmware for that: install ovmf (edk2-ovmf) on its machine (%w)", backends.ErrUnavailable)
	})
}

// define has libvirt know the node's domain as it was made, with the carrier
// that its interfaces have now. Whoever has changed it meanwhile is overruled.
func (p *Provider) define(lv *golibvirt.Libvirt, ref backends.NodeRef) (golibvirt.Domain, error) {
	data, err := os.ReadFile(filepath.Join(p.folder(ref), domainFile))
	if errors.Is(err, os.ErrNotExist) {
		return golibvirt.Domain{}, gone(ref)
	}
	if err != nil {
		return golibvirt.Domain{}, err
	}
	var d libvirtxml.Domain
	if err := d.Unmarshal(string(data)); err != nil {
		return golibvirt.Domain{}, err
	}
	for i := range d.Devices.Interfaces {
		if t := d.Devices.Interfaces[i].Target; t != nil {
			d.Devices.Interfaces[i].Link = linkState(plugged(t.Dev))
		}
	}
	text, err := d.Marshal()
	if err != nil {
		return golibvirt.Domain{}, err
	}
	failpoint.Point("domain.redefine.before")
	defer failpoint.Point("domain.redefine.after")
	return lv.DomainDefineXMLFlags(text, 0)
}

// Start switches the machine on.
func (p *Provider) Start(ctx context.Context, ref backends.NodeRef) error {
	defer p.lock(ref)()
	return fail(ref, p.start(ctx, ref))
}

func (p *Provider) start(ctx context.Context, ref backends.NodeRef) error {
	k, err := p.read(ref)
	if err != nil {
		return err
	}
	for _, n := range k.NICs { // one may have been removed behind our back
		if err := makeTap(n.Tap, p.tapAlias(ref, n.Name)); err != nil {
			return err
		}
	}
	p.want(ref, false)
	err = p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		if on, err := p.isOn(lv, ref); on && err == nil {
			return nil
		}
		_ = os.Remove(p.socket(ref))
		dom, err := p.define(lv, ref)
		if err != nil {
			return err
		}
		if err := p.begun(ref); err != nil {
			return err
		}
		err = failpoint.Around("domain.start", func() error {
			_, err := lv.DomainCreateWithFlags(dom, 0)
			return err
		})
		if isCode(err, golibvirt.ErrOperationInvalid) { // somebody else has
			if on, oerr := p.isOn(lv, ref); on && oerr == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	p.syncTap(ctx, ref, "")
	return nil
}

// isOn reports whether the node's machine is switched on.
func (p *Provider) isOn(lv *golibvirt.Libvirt, ref backends.NodeRef) (bool, error) {
	dom, err := p.lookup(lv, ref)
	if err != nil {
		return false, err
	}
	state, _, err := lv.DomainGetState(dom, 0)
	return on(golibvirt.DomainState(state)), err
}

func on(s golibvirt.DomainState) bool {
	switch s {
	case golibvirt.DomainRunning, golibvirt.DomainBlocked, golibvirt.DomainPaused, golibvirt.DomainShutdown, golibvirt.DomainPmsuspended:
		return true
	}
	return false
}

// Stop presses the machine's power button and, after grace, pulls its plug.
func (p *Provider) Stop(ctx context.Context, ref backends.NodeRef, grace time.Duration) error {
	defer p.lock(ref)()
	p.want(ref, true)
	err := p.conn.do(ctx, func(lv *golibvirt.Libvirt) error { return p.stop(ctx, lv, ref, grace) })
	if notFound(err) {
		return nil
	}
	return fail(ref, err)
}

func (p *Provider) stop(ctx context.Context, lv *golibvirt.Libvirt, ref backends.NodeRef, grace time.Duration) error {
	dom, err := p.lookup(lv, ref)
	if err != nil {
		return err
	}
	over := time.Now().Add(grace)
	var pressed time.Time
	for {
		on, err := p.isOn(lv, ref)
		if err != nil || !on {
			return err
		}
		now := time.Now()
		if !now.Before(over) {
			break
		}
		if now.Sub(pressed) >= press {
			pressed = now
			err := failpoint.Around("domain.shutdown", func() error { return lv.DomainShutdownFlags(dom, golibvirt.DomainShutdownAcpiPowerBtn) })
			if err != nil && !isCode(err, golibvirt.ErrOperationInvalid) {
				return err
			}
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err = failpoint.Around("domain.destroy", func() error { return lv.DomainDestroyFlags(dom, golibvirt.DomainDestroyDefault) })
	if isCode(err, golibvirt.ErrOperationInvalid) || isCode(err, golibvirt.ErrNoDomain) {
		return nil // it has ended by itself
	}
	return err
}

// Mend has a machine that is paused go on, and gives one that was renamed its
// name again, which libvirt allows while it is off.
func (p *Provider) Mend(ctx context.Context, ref backends.NodeRef) error {
	defer p.lock(ref)()
	return fail(ref, p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		dom, err := p.lookup(lv, ref)
		if err != nil {
			return err
		}
		if err := frozen.Thaw(pid(dom.Name)); err != nil { // before the emulator is asked for anything
			return err
		}
		state, _, err := lv.DomainGetState(dom, 0)
		switch {
		case err != nil:
			return err
		case golibvirt.DomainState(state) == golibvirt.DomainPaused:
			return failpoint.Around("domain.resume", func() error { return lv.DomainResume(dom) })
		case on(golibvirt.DomainState(state)) || dom.Name == p.domainName(ref):
			return nil
		}
		return failpoint.Around("domain.rename", func() error {
			_, err := lv.DomainRename(dom, golibvirt.OptString{p.domainName(ref)}, 0)
			return err
		})
	}))
}

// Remove removes the domain with its disks, taps and record.
func (p *Provider) Remove(ctx context.Context, ref backends.NodeRef) error {
	defer p.lock(ref)()
	p.want(ref, true)
	err := p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		if err := p.stop(ctx, lv, ref, 0); err != nil {
			return err
		}
		dom, err := p.lookup(lv, ref)
		if err != nil {
			return err
		}
		return failpoint.Around("domain.undefine", func() error {
			return lv.DomainUndefineFlags(dom, golibvirt.DomainUndefineManagedSave|golibvirt.DomainUndefineSnapshotsMetadata|
				golibvirt.DomainUndefineNvram|golibvirt.DomainUndefineCheckpointsMetadata)
		})
	})
	if err != nil && !notFound(err) && !isCode(err, golibvirt.ErrNoDomain) {
		return fail(ref, err)
	}
	p.mu.Lock()
	l := p.lines[ref]
	delete(p.lines, ref)
	p.mu.Unlock()
	if l != nil {
		l.Close()
	}
	err = p.dropTaps(ref, nil)
	failpoint.Point("machine.cleanup.before")
	_ = os.Remove(p.socket(ref))
	_ = os.Remove(p.screen(ref))
	err = errors.Join(err, folder.Remove(p.folder(ref)))
	failpoint.Point("machine.cleanup.within")
	_ = os.Remove(filepath.Dir(p.folder(ref))) // the lab's, when this was its last
	_ = os.Remove(p.cfg.Labs)
	failpoint.Point("machine.cleanup.after")
	return fail(ref, err)
}

// Attachment is the interface's tap.
func (p *Provider) Attachment(_ context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	k, err := p.read(ref)
	if err != nil {
		return backends.Attachment{}, err
	}
	for _, n := range k.NICs {
		if n.Name == iface {
			return backends.Attachment{Tap: n.Tap, Owner: p.owner}, nil
		}
	}
	return backends.Attachment{}, fmt.Errorf("node %s: its machine has %d interfaces and no %s: stop and start the node (%w)", ref.Node, len(k.NICs), iface, backends.ErrConflict)
}
