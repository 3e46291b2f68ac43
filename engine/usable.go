package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/vendors"
)

// examine says whether a backend can be used here, and what it needs. It asks
// for what it cannot do without; deep has all else looked at, too.
func (e *Engine) examine(ctx context.Context, role backends.Role, name string, deep bool) (backends.Availability, []backends.Need) {
	var found backends.Availability
	if role == backends.RoleProvider {
		p, _ := e.opt.Backends.Provider(name)
		found = p.Available(ctx)
	} else {
		n, _ := e.opt.Backends.Network(name)
		found = n.Available(ctx)
	}
	needs := e.opt.Backends.Needs(role, name, found, deep)
	return backends.Allowed(found, needs), needs
}

// providerFor picks the node's own wish, else what runs its image, else the lab's where the kind can
// run there, else the kind's favourite.
func (e *Engine) providerFor(spec lab.Node, labs string) string {
	kind := e.kind(spec.Kind)
	switch {
	case spec.Provider != "":
		return spec.Provider
	case kind != nil && kind.IsVM() && vendors.DiskFile(spec.Image) && slices.Contains(kind.Providers, vendors.VMProvider):
		return vendors.VMProvider
	case kind == nil || len(kind.Providers) == 0 || slices.Contains(kind.Providers, labs):
		return labs
	default:
		return kind.Providers[0]
	}
}

// checkBackends checks, before anything is touched, that all that is new in a
// file could be made here: each node's own provider, and the lab's network.
func (e *Engine) checkBackends(ctx context.Context, w *wanted) error {
	defaults := e.defaults()
	provider, network := either(w.provider, defaults.Provider), either(w.network, defaults.Network)
	plan := w.plan(nil)
	if c, err := e.controller(w.top.Name); err == nil {
		if err := c.call(ctx, func(c *controller) error {
			plan, provider, network = w.plan(c), c.m.info.Provider, c.m.info.Network
			return nil
		}); err != nil {
			return nil // it is going: what comes next will tell
		}
	}
	if plan.New {
		if _, ok := e.opt.Backends.Provider(provider); !ok {
			return unknownBackend("provider", provider, e.opt.Backends.Providers())
		}
	}
	var specs []lab.Node
	for _, n := range w.top.Nodes {
		changed := slices.ContainsFunc(plan.NodesChanged, func(c api.Change) bool { return c.Name == n.Name })
		if changed || slices.Contains(plan.NodesAdded, n.Name) {
			specs = append(specs, n)
		}
	}
	if err := e.usableProviders(ctx, specs, provider); err != nil {
		return err
	}
	w.warnings = append(w.warnings, e.withoutImage(specs, provider, w.top.File)...)
	if plan.New || len(plan.LinksAdded) > 0 {
		return e.usableNetwork(ctx, network)
	}
	return nil
}

// usableProviders checks that nodes can be made by what is to make them.
func (e *Engine) usableProviders(ctx context.Context, specs []lab.Node, labs string) error {
	nodes := map[string][]string{}
	var order []string
	for _, n := range specs {
		name := e.providerFor(n, labs)
		if nodes[name] == nil {
			order = append(order, name)
		}
		nodes[name] = append(nodes[name], n.Name)
	}
	for _, name := range order {
		who := ""
		if name != labs {
			who = ", which " + someOf("node", nodes[name]) + " is to run on,"
		}
		if _, ok := e.opt.Backends.Provider(name); !ok {
			err := unknownBackend("provider", name, e.opt.Backends.Providers())
			if who != "" {
				err.Message += ", on which " + someOf("node", nodes[name]) + " is to run"
			}
			return err
		}
		if a, _ := e.examine(ctx, backends.RoleProvider, name, false); !a.OK {
			return unusable("provider "+name+who, a)
		}
	}
	return nil
}

// withoutImage warns of nodes for which the file names an image and whose
// provider has none: they run as what they are elsewhere. A kind that only this
// provider makes, such as bridge, has one from the file's defaults at most.
func (e *Engine) withoutImage(specs []lab.Node, labs, file string) []lab.Diagnostic {
	var takers []string
	for _, name := range e.opt.Backends.Providers() {
		if p, _ := e.opt.Backends.Provider(name); isImageManager(p) {
			takers = append(takers, name)
		}
	}
	nodes := map[string][]string{}
	for _, n := range specs {
		name := e.providerFor(n, labs)
		if k := e.kind(n.Kind); k != nil && len(k.Providers) == 1 {
			continue
		}
		if p, _ := e.opt.Backends.Provider(name); n.Image != "" && name != vendors.VMProvider && !isImageManager(p) {
			nodes[name] = append(nodes[name], n.Name)
		}
	}
	var out []lab.Diagnostic
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		d := lab.Diagnostic{Severity: lab.SeverityWarning, File: file,
			Message: fmt.Sprintf("the image of %s is not used: provider %s has none", someOf("node", nodes[name]), name)}
		if len(takers) > 0 {
			d.Hint = "for containers of images: --provider " + strings.Join(takers, " or ")
		}
		out = append(out, d)
	}
	return out
}

func isImageManager(p backends.Provider) bool {
	_, ok := p.(backends.ImageManager)
	return ok
}

// usableNetwork checks that links can be made by a network.
func (e *Engine) usableNetwork(ctx context.Context, name string) error {
	if _, ok := e.opt.Backends.Network(name); !ok {
		return unknownBackend("network", name, e.opt.Backends.Networks())
	}
	if a, _ := e.examine(ctx, backends.RoleNetwork, name, false); !a.OK {
		return unusable("network "+name, a)
	}
	return nil
}

func unusable(what string, a backends.Availability) error {
	err := api.Errorf(api.CodeUnavailable, "%s cannot be used here: %s", what, a.Reason)
	err.Hint = a.Fix
	if err.Hint == "" {
		err.Hint = "archetype doctor says more"
	}
	return err
}

// someOf names the first of several things.
func someOf(what string, names []string) string {
	if len(names) == 1 {
		return what + " " + names[0]
	}
	return fmt.Sprintf("%s %s (one of %d)", what, names[0], len(names))
}

// Backends implements api.Engine.
func (e *Engine) Backends(ctx context.Context) ([]api.BackendInfo, error) {
	var out []api.BackendInfo
	for _, name := range e.opt.Backends.Providers() {
		out = append(out, api.BackendInfo{Name: name, Type: api.TypeProvider})
	}
	for _, name := range e.opt.Backends.Networks() {
		out = append(out, api.BackendInfo{Name: name, Type: api.TypeNetwork})
	}
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() {
			out[i].Availability, out[i].Needs = e.examine(ctx, backends.Role(out[i].Type), out[i].Name, true)
		})
	}
	wg.Wait()
	out = append(out, pairs(out)...)
	if o := e.opt.Backends.Outside(); o != nil {
		for _, offer := range o.Offers(ctx) {
			out = append(out, api.BackendInfo{Name: string(offer.Type), Type: api.TypeOutside, Availability: offer.Availability})
		}
	}
	return out, nil
}

// pairs puts every provider together with every network: neither knows the
// other, so what the pair needs is what both need.
func pairs(all []api.BackendInfo) []api.BackendInfo {
	var out []api.BackendInfo
	for _, p := range all {
		for _, n := range all {
			if p.Type != api.TypeProvider || n.Type != api.TypeNetwork {
				continue
			}
			pair := api.BackendInfo{Name: p.Name + "+" + n.Name, Type: api.TypePair}
			for _, need := range slices.Concat(p.Needs, n.Needs) {
				same := func(x backends.Need) bool { return x.Sort == need.Sort && x.Name == need.Name }
				if at := slices.IndexFunc(pair.Needs, same); at < 0 {
					pair.Needs = append(pair.Needs, need)
				} else if have := &pair.Needs[at]; !strings.Contains(have.Why, need.Why) {
					have.Why += "; " + need.Why
					have.Optional = have.Optional && need.Optional
				}
			}
			pair.Availability = p.Availability
			if p.OK && !n.OK {
				pair.Availability = n.Availability
			}
			if pair.OK {
				pair.Detail = ""
			}
			out = append(out, pair)
		}
	}
	return out
}
