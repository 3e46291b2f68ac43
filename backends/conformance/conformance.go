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
	"os"
	"os/exec"
	"path/filepath"
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
	// Rootless says that the provider's nodes belong to an ordinary user.
	Rootless bool
	// Prepare changes a node's configuration to what the provider needs, such
	// as an image that is there. May be nil.
	Prepare func(*backends.NodeConfig)
	// Switches runs the nodes of kind bridge; nil when Provider itself does.
	Switches backends.Provider
	// Device is the path of the suite's device inside nodes whose provider
	// cannot bind a file of the machine; empty where it can.
	Device string
	// Interfaces is how many a node can have where all must be named before it
	// boots (virtual machines); 0 where they come and go as they like.
	Interfaces int
	// Things lists what of the provider's is on the machine beside interfaces
	// in the panel, in any words, to be compared before and after. May be nil.
	Things func() []string
}

// Provider is one that takes part. New makes a place for it, which ends with
// the test; where the machine lacks something it skips and says what.
type Provider struct {
	Name string
	New  func(t *testing.T) *Env
}

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
		for _, n := range networks {
			t.Run(p.Name+"/"+n.Name, func(t *testing.T) {
				t.Parallel()
				s := newSuite(t, p, n)
				for _, c := range cases() {
					t.Run(c.name, func(t *testing.T) { s.run(t, n, c) })
				}
			})
		}
	}
}

// notPossible begins the reason of a skip that no machine could avoid.
const notPossible = "not possible on this kernel: "

var device struct {
	once sync.Once
	path string
	err  error
}

// buildDevice builds the suite's device, once for all pairs: static, so that
// it runs in a node that holds nothing else.
func buildDevice(t *testing.T) string {
	t.Helper()
	device.once.Do(func() {
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

// Clean removes what the suite made for all pairs. Call it when they are done.
func Clean() {
	if device.path != "" {
		_ = os.RemoveAll(filepath.Dir(device.path))
	}
}
