// Package conformance is one suite of real-packet cases that every pair of a
// provider and a network must pass. It knows none of them: a provider joins
// with an Env that it makes for a test, a network with a function that opens
// it there, one line each in pairs_test.go.
//
// In every node runs a small device (package probe) that sees all frames and
// does what the cases ask of it through Provider.Exec, so nothing here depends
// on what a node is made of.
package conformance

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"archetype/backends"
)

// Env is where one provider runs for one pair. Env and all that is in it
// are the pair's alone, so pairs can run side by side.
type Env struct {
	Provider backends.Provider
	// Panel is the path of the network namespace in which networks keep their
	// own parts. The suite looks there for what is left behind.
	Panel string
	// Prepare changes a node's configuration to what the provider needs, such
	// as an image that is there. May be nil.
	Prepare func(*backends.NodeConfig)
	// Switches runs the nodes of kind bridge; nil when Provider itself does.
	Switches backends.Provider
	// Device is the path of the suite's device inside nodes whose provider
	// cannot bind a file of the machine; empty where it can.
	Device string
	// Machine says that the nodes are machines; nil where their interfaces are
	// in namespaces.
	Machine *Machine
	// Things lists what of the provider's is on the machine beside interfaces
	// in the panel, in any words, to be compared before and after. May be nil.
	Things func() []string
}

// Machine is what the suite must know of nodes whose interfaces are hardware:
// they are there from the boot on, without carrier as long as they have no
// link, and their addresses and MTU are the business of the system inside.
type Machine struct {
	// Interfaces is how many each has. Cases use them again and again.
	Interfaces int
	// Ask runs the device's command "ask" in a node. Commands of the provider
	// have no input.
	Ask func(ctx context.Context, ref backends.NodeRef, in io.Reader, out io.Writer) error
}

// Provider is one that takes part. New makes a place for it, which ends with
// the test; where the machine lacks something it skips and says what.
type Provider struct {
	Name string
	New  func(t *testing.T) *Env
	// Except names cases that no such provider can pass, with the reason.
	Except map[string]string
	// Sample says which cases run where not all are asked for, because its
	// nodes take long or others have shown the same; nil: all of them.
	Sample func(name string) bool
	// Shared has the same nodes go from network to network, for the same
	// reason: they are booted with the first and removed with the last.
	Shared bool
	// Away, where not nil, runs a pair where alone its nodes can be wired, tells
	// of it as of tests below t, and reports that it did. In that place itself it
	// does nothing.
	Away func(t *testing.T, network string) bool
}

// Only is a sample of the cases named.
func Only(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// But is a sample of all cases but those named.
func But(names ...string) func(string) bool {
	return func(name string) bool { return !slices.Contains(names, name) }
}

// all is the environment variable that asks for every case.
const all = "CONFORMANCE"

// Network is one that takes part. New opens it in a provider's place, and
// skips where the machine, or that provider, lacks something.
type Network struct {
	Name string
	New  func(t *testing.T, env *Env) backends.Network
	// Panel is the path of the namespace where this network keeps its parts
	// when it is another than Env.Panel. May be nil.
	Panel func(backends.Network) string
	// Things is as in Env: ports of a switch, for example. May be nil.
	Things func(backends.Network) []string
	// Except names cases that no such network can pass, with the reason.
	Except map[string]string
}

// Run runs every case with every pair, the pairs side by side. The names of
// the tests are PROVIDER/NETWORK/CASE below that of t; scripts/summary makes
// the table of them.
func Run(t *testing.T, providers []Provider, networks []Network) {
	for _, p := range providers {
		if p.Shared {
			t.Run(p.Name, func(t *testing.T) {
				t.Parallel()
				at := &nodes{env: p.New(t), lab: p.Name}
				t.Cleanup(func() { at.remove(t) })
				for i, n := range networks {
					at.stay = i < len(networks)-1
					t.Run(n.Name, func(t *testing.T) { runPair(t, p, n, at) })
				}
			})
			continue
		}
		for _, n := range networks {
			t.Run(p.Name+"/"+n.Name, func(t *testing.T) {
				t.Parallel()
				if p.Away != nil && p.Away(t, n.Name) {
					return
				}
				at := &nodes{env: p.New(t), lab: p.Name + "-" + n.Name}
				t.Cleanup(func() { at.remove(t) })
				runPair(t, p, n, at)
			})
		}
	}
}

func runPair(t *testing.T, p Provider, n Network, at *nodes) {
	s := newSuite(t, n, at)
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { s.run(t, p, n, c) })
	}
}

// leftOut is the reason for a skip that `make conformance` makes up for.
const leftOut = "runs only in make conformance"

var device struct {
	once sync.Once
	path string
	err  error
}

// DeviceVar is the environment variable that names a device that is built
// already.
const DeviceVar = "CONFORMANCE_DEVICE"

// buildDevice builds the suite's device, once for all pairs: static, so that
// it runs in a node that holds nothing else.
func buildDevice(t *testing.T) string {
	t.Helper()
	device.once.Do(func() {
		if device.path = os.Getenv(DeviceVar); device.path != "" {
			return
		}
		dir, err := os.MkdirTemp("", "conformance")
		if err != nil {
			device.err = err
			return
		}
		device.path = filepath.Join(dir, "probe")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", device.path, "archetype/backends/conformance/probe/cmd")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		device.err = err
	})
	if device.err != nil {
		t.Fatal("the suite's device does not build: ", device.err)
	}
	return device.path
}

// Device is the path of the suite's device on this machine, for systems that it
// is to be a part of.
func Device(t *testing.T) string {
	t.Helper()
	return buildDevice(t)
}

// Clean removes what the suite made for all pairs. Call it when they are done.
func Clean() {
	if device.path != "" {
		_ = os.RemoveAll(filepath.Dir(device.path))
	}
}
