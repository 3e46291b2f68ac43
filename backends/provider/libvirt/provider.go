// Package libvirt makes nodes of virtual machines that libvirt runs. Their
// interfaces are taps, their console is the serial line, and what they are
// like is their kind's data.
package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/serialline"
	"archetype/vendors"
)

// Config is what the provider needs.
type Config struct {
	URI      string // of libvirt; empty: qemu:///system
	Socket   string // of libvirtd, where it is at no usual place
	Run      string // folder for sockets
	Labs     string // folder of the nodes' own folders
	Images   string // folder of base images
	Rootless bool   // taps cannot be made: see Available
}

// Provider makes nodes of libvirt's domains.
type Provider struct {
	cfg   Config
	owner string // tells the domains and taps of one program's folder from another's
	logs  *logfile.Watcher
	conn  connection
	kvm   accelerator
	boots backends.Boots

	mu    sync.Mutex
	locks map[backends.NodeRef]*sync.Mutex
	lines map[backends.NodeRef]*serialline.Line
	asked map[backends.NodeRef]bool // its end is wanted
	ends  context.CancelFunc

	keeping sync.Mutex // held while what is kept of a node is changed
}

var (
	_ backends.Provider    = (*Provider)(nil)
	_ backends.KindAdapter = (*Provider)(nil)
	_ backends.StatsReader = (*Provider)(nil)
	_ backends.Speaker     = (*Provider)(nil)
	_ backends.Prober      = (*Provider)(nil)
)

// New makes the provider. Libvirt need not be there, nor is it asked.
func New(cfg Config) (*Provider, error) {
	w, err := logfile.New()
	if err != nil {
		return nil, err
	}
	if cfg.URI == "" {
		cfg.URI = "qemu:///system"
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Provider{cfg: cfg, owner: digits(cfg.Run, 6), logs: w, locks: map[backends.NodeRef]*sync.Mutex{},
		lines: map[backends.NodeRef]*serialline.Line{}, asked: map[backends.NodeRef]bool{}, ends: cancel}
	p.conn.uri, p.conn.socket = cfg.URI, cfg.Socket
	p.kvm.cache = filepath.Join(cfg.Run, "kvm.json")
	go p.watchTaps(ctx)
	return p, nil
}

// Close ends what the provider follows. Its nodes go on.
func (p *Provider) Close() error {
	p.ends()
	p.mu.Lock()
	lines := p.lines
	p.lines = map[backends.NodeRef]*serialline.Line{}
	p.mu.Unlock()
	for _, l := range lines {
		l.Close()
	}
	p.conn.close()
	return p.logs.Close()
}

// Name is "libvirt".
func (p *Provider) Name() string { return "libvirt" }

// Adapt takes the kind as a virtual machine.
func (p *Provider) Adapt(k *vendors.Kind) *vendors.Kind { return k.AsVM() }

// Available asks libvirt for its version and tries what else is needed.
func (p *Provider) Available(ctx context.Context) backends.Availability {
	if p.cfg.Rootless || os.Geteuid() != 0 {
		return backends.Availability{Reason: "virtual machines need taps on this machine, which needs root", Fix: "run the program as root", Absent: true}
	}
	if a := p.conn.present(); a != nil {
		return *a
	}
	version, err := p.conn.version(ctx)
	if err != nil {
		where, fix := p.conn.where(), "start it (systemctl start libvirtd)"
		if u := p.conn.host(); u != nil {
			fix = fmt.Sprintf("see that ssh to %s works without a question, and that libvirtd runs there and nc is installed; or correct libvirt.uri in the settings", u.Host)
		}
		return backends.Availability{Reason: fmt.Sprintf("libvirt does not answer at %s: %s", where, strings.TrimPrefix(err.Error(), "libvirt at "+where+": ")), Fix: fix}
	}
	if err := os.MkdirAll(p.cfg.Run, 0o711); err != nil {
		return backends.Availability{Reason: err.Error(), Fix: "free or permit that folder"}
	}
	if err := p.conn.same(ctx, p.cfg.Run); err != nil {
		return backends.Availability{Reason: err.Error(), Fix: "run this program there (ssh -t HOST archetype): disks, taps and consoles are where it runs"}
	}
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return backends.Availability{Reason: "there is no qemu-img, which makes the nodes' disks", Fix: "install qemu-utils"}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return backends.Availability{Reason: "this machine has no taps: " + err.Error(), Fix: "a kernel with CONFIG_TUN (modprobe tun)"}
	}
	how := "with KVM"
	if ok, why := p.kvm.works(ctx); !ok {
		how = "emulated, without KVM: " + why
	}
	return backends.Availability{OK: true, Detail: fmt.Sprintf("libvirt %s at %s, %s", version, p.conn.where(), how)}
}

// Prefix is what the names of all its taps begin with.
func (p *Provider) Prefix() string { return p.tapPrefix() }

func (p *Provider) folder(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Labs, ref.Lab, ref.Node)
}

// lock has one call at a time on a node.
func (p *Provider) lock(ref backends.NodeRef) func() {
	p.mu.Lock()
	m := p.locks[ref]
	if m == nil {
		m = &sync.Mutex{}
		p.locks[ref] = m
	}
	p.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (p *Provider) want(ref backends.NodeRef, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end {
		p.asked[ref] = true
	} else {
		delete(p.asked, ref)
	}
}

func fail(ref backends.NodeRef, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("node %s: %w", ref.Node, explain(err))
}

func digits(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:n]
}

// gone is the error for a node that has no domain.
func gone(ref backends.NodeRef) error {
	return fmt.Errorf("node %s has no virtual machine: %w", ref, backends.ErrNotFound)
}

func notFound(err error) bool { return errors.Is(err, backends.ErrNotFound) }
