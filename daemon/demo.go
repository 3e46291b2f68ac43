package daemon

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/settings"
	"archetype/sim"
	"archetype/store"
	"archetype/vendors"
)

// What a demonstration takes for a call and for a boot: about what a small
// machine would.
const (
	demoCall = 300 * time.Millisecond
	demoBoot = 4 * time.Second
)

// demoLab is shown where no file is named.
const demoLab = `name: simulated-fabric
topology:
  nodes:
    spine1: {kind: frr}
    spine2: {kind: frr}
    leaf1: {kind: frr}
    leaf2: {kind: frr}
    leaf3: {kind: frr}
    host1: {kind: linux}
    host2: {kind: linux}
    host3: {kind: linux}
  links:
    - endpoints: ["spine1:eth1", "leaf1:eth1"]
    - endpoints: ["spine1:eth2", "leaf2:eth1"]
    - endpoints: ["spine1:eth3", "leaf3:eth1"]
    - endpoints: ["spine2:eth1", "leaf1:eth2"]
    - endpoints: ["spine2:eth2", "leaf2:eth2"]
    - endpoints: ["spine2:eth3", "leaf3:eth2"]
    - endpoints: ["leaf1:eth3", "host1:eth1"]
    - endpoints: ["leaf2:eth3", "host2:eth1"]
    - endpoints: ["leaf3:eth3", "host3:eth1"]
`

// Demo is an engine over a machine that is not there, in this process: its
// nodes and links are made up, and what provides them is called simulated
// wherever it shows.
type Demo struct {
	*engine.Engine
	File string // the lab that is shown

	dir    string
	store  *store.Store
	cancel context.CancelFunc
}

// NewDemo starts one. Without a file it brings a lab of its own.
func NewDemo(ctx context.Context, s *settings.Settings, file string) (_ *Demo, err error) {
	dir, err := os.MkdirTemp("", "archetype-demo-")
	if err != nil {
		return nil, err
	}
	d := &Demo{File: file, dir: dir}
	ctx, d.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			d.End()
		}
	}()
	if file == "" {
		d.File = filepath.Join(dir, "simulated-fabric.clab.yml")
		if err := os.WriteFile(d.File, []byte(demoLab), 0o600); err != nil {
			return nil, err
		}
	}
	kinds, _, err := vendors.Load(s.Vendors())
	if err != nil {
		return nil, err
	}
	if d.store, err = store.Open(filepath.Join(dir, "db"), store.Options{NoSync: true}); err != nil {
		return nil, err
	}
	w := sim.NewWorld()
	w.Gate, w.Boots = sim.Paced{Each: demoCall}, demoBoot
	reg := &backends.Registry{}
	reg.AddProvider(w.Provider())
	for _, n := range w.Networks() {
		reg.AddNetwork(n)
	}
	d.Engine, err = engine.New(ctx, engine.Options{Store: d.store, Backends: reg, Vendors: kinds.Under(sim.ProviderName),
		Defaults: engine.Defaults{Provider: sim.ProviderName, Network: sim.CableName, BootTimeout: s.BootTimeout},
		Notices:  []string{"this is a demonstration: nodes and links are simulated, and end with it"}})
	return d, err
}

// End ends it, and with it all that it made up.
func (d *Demo) End() {
	d.cancel()
	if d.Engine != nil {
		d.Shutdown()
	}
	if d.store != nil {
		_ = d.store.Close()
	}
	_ = os.RemoveAll(d.dir)
}

var _ api.Engine = (*Demo)(nil)
