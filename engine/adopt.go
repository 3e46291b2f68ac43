package engine

import (
	"maps"
	"time"

	"archetype/backends"
)

// byLab sorts what a provider has by lab and node.
func byLab(list []backends.NodeStatus) map[string]map[string]backends.NodeStatus {
	out := map[string]map[string]backends.NodeStatus{}
	for _, st := range list {
		if out[st.Ref.Lab] == nil {
			out[st.Ref.Lab] = map[string]backends.NodeStatus{}
		}
		out[st.Ref.Lab][st.Ref.Node] = st
	}
	return out
}

// adopt takes up labs that run without a record of them at a provider that
// could not be asked when the engine started. What it has was asked for at
// the moment given.
func (e *Engine) adopt(p backends.Provider, list []backends.NodeStatus, asked time.Time) {
	e.mu.Lock()
	known := maps.Clone(e.labs)
	for name, at := range e.ended {
		if !at.Before(asked) { // it went while the provider was asked
			known[name] = &controller{}
		}
	}
	e.mu.Unlock()
	all := maps.Clone(known)
	e.rebuild(all, list)
	found := byLab(list)
	for name, c := range all {
		if known[name] != nil {
			continue
		}
		c.observeAll(p, found[name], asked)
		c.endLost(p.Name(), found[name])
		e.mu.Lock()
		taken := e.labs[name] != nil // somebody has deployed one of that name since
		if !taken {
			e.labs[name] = c
		}
		e.mu.Unlock()
		if taken {
			continue
		}
		e.spawn(func() {
			c.observeLinks()
			c.markAll()
			e.serve(c)
		})
	}
}
