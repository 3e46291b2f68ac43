// Package backends is the seam between the engine and the world: what a
// provider of nodes and a network of links must be able to do, and the
// registry that finds one by name.
//
// A provider makes nodes and says where one of a node's interfaces meets the
// outside; a network turns two such places into a link. Neither knows the
// other, so N providers and M networks need N + M pieces of code.
//
// Every method may be called again with the same arguments at any time, from
// any goroutine, also after a crash in the middle of an earlier call: doing a
// thing twice is doing it once. Every method returns soon after its context
// ends. Errors wrap one of the sentinels below where the engine can act on it.
package backends

import (
	"errors"
	"sort"
)

// What the engine can act on.
var (
	ErrNotFound    = errors.New("not found")
	ErrUnavailable = errors.New("not available here")
	ErrConflict    = errors.New("in conflict with what exists")
	ErrUnsupported = errors.New("not supported")
	ErrRestart     = errors.New("takes a restart")
	// ErrNoImage is an ErrUnavailable whose reason is that an image is missing.
	ErrNoImage error = noImage{}
)

type noImage struct{}

func (noImage) Error() string { return ErrUnavailable.Error() }
func (noImage) Unwrap() error { return ErrUnavailable }

// Availability says whether a backend can be used on this machine.
type Availability struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why not, in words for a person
	Fix    string `json:"fix,omitempty"`    // what would make it available
	Detail string `json:"detail,omitempty"` // version, mode
	// Absent says of one that cannot be used that nothing of ours can be with
	// it, as far as can be told: it is not on this machine, or not for this user.
	Absent bool `json:"-"`
}

// NodeRef names a node of a lab.
type NodeRef struct{ Lab, Node string }

func (r NodeRef) String() string { return r.Lab + "/" + r.Node }

// Registry finds providers and networks by name. Fill it before use; it is
// read-only afterwards.
type Registry struct {
	providers map[string]Provider
	networks  map[string]Network
	outside   Outside
	needs     Needs
}

// SetOutside says what makes links that leave the lab.
func (r *Registry) SetOutside(o Outside) { r.outside = o }

// Outside is what makes links that leave the lab; nil when nothing does.
func (r *Registry) Outside() Outside { return r.outside }

// AddProvider makes p available under its name.
func (r *Registry) AddProvider(p Provider) {
	if r.providers == nil {
		r.providers = map[string]Provider{}
	}
	r.providers[p.Name()] = p
}

// AddNetwork makes n available under its name.
func (r *Registry) AddNetwork(n Network) {
	if r.networks == nil {
		r.networks = map[string]Network{}
	}
	r.networks[n.Name()] = n
}

// Provider returns the provider of that name, and false when there is none.
func (r *Registry) Provider(name string) (Provider, bool) {
	p, ok := r.providers[name]
	return p, ok
}

// Network returns the network of that name, and false when there is none.
func (r *Registry) Network(name string) (Network, bool) {
	n, ok := r.networks[name]
	return n, ok
}

// Providers lists the names of all providers, sorted.
func (r *Registry) Providers() []string { return keys(r.providers) }

// Networks lists the names of all networks, sorted.
func (r *Registry) Networks() []string { return keys(r.networks) }

func keys[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
