// Package daemon runs the engine in the background and finds it again.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/backends/network/linuxbridge"
	"archetype/backends/network/ovs"
	"archetype/backends/network/veth"
	"archetype/backends/privilege"
	"archetype/backends/provider/docker"
	"archetype/backends/provider/libvirt"
	"archetype/backends/provider/netns"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/podman"
	"archetype/engine"
	"archetype/engine/wire"
	"archetype/internal/fail"
	"archetype/lab"
	"archetype/settings"
	"archetype/store"
	"archetype/vendors"
)

// patience is how long an engine waits for its first client.
const patience = 10 * time.Second

// answered is how long an engine that cannot store any more goes on, so that who
// asked for something is told why.
const answered = 500 * time.Millisecond

// Serve is the engine's process. It ends when there is no lab and no client,
// or at a signal; labs go on running then.
func Serve(s *settings.Settings, version string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Info("engine starts", "version", version, "pid", os.Getpid(), "rootless", s.Rootless)
	h, err := holder.Connect(ctx, holder.Config{Dir: s.Run(), Rootless: s.Rootless})
	if err != nil {
		return err
	}
	st, notices, err := openStore(s.Database(), s.Keep, func(err error) {
		log.Error("the engine ends, and the next one repairs what is stored: labs go on", "error", err)
		time.AfterFunc(answered, cancel)
	})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	for _, text := range notices {
		log.Warn("the store", "notice", text)
	}
	fail.Point("serve.store")
	kinds, diags, err := vendors.Load(s.Vendors())
	if err != nil {
		return err
	}
	for _, d := range diags {
		notices = append(notices, d.String())
	}
	provider, err := netns.New(netns.Config{Holder: h, Rootless: s.Rootless, Labs: s.Labs()})
	if err != nil {
		return err
	}
	defer func() { _ = provider.Close() }()
	reg := &backends.Registry{}
	reg.SetNeeds(privilege.Table{Rootless: s.Rootless})
	reg.AddProvider(provider)
	dp := docker.New(docker.Config{Host: s.Docker.Host, Run: filepath.Join(s.Run(), "docker"), Labs: s.Labs(), Rootless: s.Rootless})
	defer func() { _ = dp.Close() }()
	reg.AddProvider(dp)
	pp := podman.New(podmanConfig(s))
	defer func() { _ = pp.Close() }()
	reg.AddProvider(pp)
	vp, err := libvirt.New(libvirt.Config{URI: s.Libvirt.URI, Run: filepath.Join(s.Run(), "libvirt"), Labs: s.Labs(), Images: s.Images(), Rootless: s.Rootless})
	if err != nil {
		return err
	}
	defer func() { _ = vp.Close() }()
	reg.AddProvider(vp)
	for _, make := range []func(panel string) (backends.Network, error){
		func(panel string) (backends.Network, error) { return veth.New(panel) },
		func(panel string) (backends.Network, error) { return linuxbridge.New(panel) },
	} {
		n, err := make(h.Panel())
		if err != nil {
			return err
		}
		reg.AddNetwork(n)
	}
	sw, err := ovs.New(ovs.Config{Socket: s.OVS.Socket, Mode: ovs.Mode(s.OVS.Mode), Bridge: s.OVS.Bridge, Datapath: ovs.Datapath(s.OVS.Datapath), Instance: s.State,
		Panel: h.Panel()})
	if err != nil {
		return err
	}
	defer func() { _ = sw.Close() }()
	reg.AddNetwork(sw)
	out, close, err := outsideOf(s, h, sw)
	if err != nil {
		return err
	}
	defer close()
	reg.SetOutside(out)
	e, err := engine.New(ctx, engine.Options{Store: st, Backends: reg, Vendors: kinds, BootTimes: s.BootTimes(), Labs: s.Labs(), Used: s.Used(),
		LoadVendors: func() (*vendors.Registry, []lab.Diagnostic, error) { return vendors.Load(s.Vendors()) }, Defaults: defaults(s),
		LoadDefaults: func() (engine.Defaults, error) {
			fresh := *s
			err := fresh.Reload()
			return defaults(&fresh), err
		}, Log: log, Notices: notices})
	if err != nil {
		return err
	}
	defer e.Shutdown()
	l, group, err := listen(s)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(s.Socket()) }()
	fail.Point("serve.socket")
	g := &guard{e: e, end: cancel}
	go g.watch(ctx)
	var backups sync.WaitGroup
	backups.Go(func() { backUp(ctx, e, st, s.Keep, log) })
	defer func() { cancel(); backups.Wait() }()
	return wire.Serve(ctx, l, e, wire.Options{Version: version, Group: group, Log: log, OnClients: func(n int) {
		g.clients.Store(int64(n))
		if n == 0 {
			g.look()
		}
	}})
}

func podmanConfig(s *settings.Settings) podman.Config {
	return podman.Config{Host: s.Podman.Host, Run: filepath.Join(s.Run(), "podman"), Labs: s.Labs(), Rootless: s.Rootless}
}

func defaults(s *settings.Settings) engine.Defaults {
	return engine.Defaults{Provider: s.Provider, Network: s.Network, BootTimeout: s.BootTimeout, Policy: s.Drift,
		Retry: s.Retry, LookEvery: s.LookEvery}
}

// guard ends an engine that nobody needs.
type guard struct {
	e       *engine.Engine
	end     func()
	clients atomic.Int64
}

// look ends the engine at once when nobody needs it: who removed the last lab
// waits for that.
func (g *guard) look() {
	if g.clients.Load() == 0 && g.e.Idle() {
		g.end()
	}
}

// watch looks again whenever a lab has gone: its destruction may outlast the
// client that asked for it.
func (g *guard) watch(ctx context.Context) {
	defer time.AfterFunc(patience, g.look).Stop()
	updates, err := g.e.Watch(ctx)
	if err != nil {
		return
	}
	for u := range updates {
		if len(u.Gone) > 0 {
			g.look()
		}
	}
}

// openStore opens the store. One that is damaged is repaired, from what of it
// can be read or from its newest good backup, and what runs tells the rest.
func openStore(path string, keep settings.Keep, lost func(error)) (*store.Store, []string, error) {
	opt := store.Options{KeepJobs: keep.Jobs, KeepEvents: keep.Events, Lost: lost}
	st, err := store.Open(path, opt)
	if err == nil {
		return st, st.Notices(), nil
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return nil, nil, err
	}
	r, rerr := store.Repair(path)
	if rerr != nil {
		return nil, nil, errors.Join(err, rerr)
	}
	how := "what runs was found again from the nodes themselves"
	switch {
	case r.Whole:
		how = "nothing is lost, every record could be read"
	case r.Backup != "":
		how = "it was restored from " + r.Backup + ", and compared with what runs; what was asked for since then is missing"
	}
	notice := fmt.Sprintf("the store was damaged (%v): %s", err, how)
	if r.Kept != "" {
		notice += "; the damaged file is kept as " + r.Kept
	}
	if st, err = store.Open(path, opt); err != nil {
		return nil, nil, err
	}
	return st, append([]string{notice}, st.Notices()...), nil
}
