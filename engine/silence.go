package engine

import (
	"maps"
	"slices"

	"archetype/engine/api"
)

// silence is who knows that a backend cannot be asked: each lab is told once,
// however often it is tried.
type silence struct {
	backend string
	told    map[*controller]bool
}

// note tells the labs that the backend cannot be asked (err), so that what is
// shown of what it makes may be old, or that it can again.
func (s *silence) note(e *Engine, err error) {
	if err == nil && s.told == nil || e.ctx.Err() != nil {
		return
	}
	why, told := "", map[*controller]bool(nil)
	if err != nil {
		why, told = reason(err), map[*controller]bool{}
	}
	for _, c := range e.all() {
		if s.told[c] == (err == nil) {
			c.post(func(c *controller) { c.noteSilence(s.backend, why) })
		}
		if err != nil {
			told[c] = true // of those that are there now
		}
	}
	s.told = told
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
