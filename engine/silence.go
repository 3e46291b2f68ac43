package engine

import (
	"maps"
	"slices"

	"archetype/engine/api"
)

// silent tells the labs that something is made by a backend that it cannot be
// asked (err), so that what is shown of it may be old, or that it can again.
func (e *Engine) silent(backend string, err error) {
	why := ""
	if err != nil {
		if e.ctx.Err() != nil {
			return
		}
		why = reason(err)
	}
	for _, c := range e.all() {
		c.post(func(c *controller) { c.noteSilence(backend, why) })
	}
}

func (c *controller) noteSilence(backend, why string) {
	_, before := c.m.silent[backend]
	switch {
	case why != "" && !before && c.uses(backend):
		if c.m.silent == nil {
			c.m.silent = map[string]string{}
		}
		c.m.silent[backend] = why
		c.event(api.Event{Level: api.LevelWarn, Text: backend + " does not answer, and what it makes is shown as it was: " + why})
	case why == "" && before:
		delete(c.m.silent, backend)
		c.event(api.Event{Text: backend + " answers again"})
	default:
		return
	}
	c.relist = true
}

// uses reports whether anything of the lab is made by a backend.
func (c *controller) uses(backend string) bool {
	return slices.ContainsFunc(c.m.nodeOrder, func(n *node) bool { return n.provider == backend && n.believed() }) ||
		slices.ContainsFunc(c.m.linkOrder, func(l *link) bool { return l.net == backend && l.made })
}

// silences is what the view says of it.
func (c *controller) silences() (out []api.Silence) {
	for _, name := range slices.Sorted(maps.Keys(c.m.silent)) {
		out = append(out, api.Silence{Backend: name, Why: c.m.silent[name]})
	}
	return out
}
