package engine

import (
	"maps"
	"slices"
	"time"

	"archetype/engine/api"
)

// silence is who knows that a backend cannot be asked: each lab is told once,
// however often it is tried.
type silence struct {
	backend string
	since   time.Time
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
		if s.told == nil {
			s.since = e.now()
		}
	}
	since := s.since
	for _, c := range e.all() {
		if s.told[c] == (err == nil) {
			c.post(func(c *controller) { c.noteSilence(s.backend, why, since) })
		}
		if err != nil {
			told[c] = true // of those that are there now
		}
	}
	s.told = told
}

func (c *controller) noteSilence(backend, why string, since time.Time) {
	before := c.m.silent[backend]
	switch {
	case why != "" && before == nil:
		if c.m.silent == nil {
			c.m.silent = map[string]*silent{}
		}
		c.m.silent[backend] = &silent{why: why, since: since, said: c.uses(backend)}
		if c.m.silent[backend].said {
			c.event(api.Event{Level: api.LevelWarn, Text: backend + " does not answer, and what it makes is shown as it was: " + why})
		}
	case why == "" && before != nil:
		delete(c.m.silent, backend)
		if before.said {
			c.event(api.Event{Text: backend + " answers again"})
		}
		c.tryAnew(backend)
	default:
		return
	}
	c.relist = true
}

// silent is a backend that cannot be asked at present.
type silent struct {
	why   string
	since time.Time
	said  bool // the lab has something of it
}

// tryAnew has all that failed while a backend was silent tried at once: that it
// could not be asked says nothing of the next try.
func (c *controller) tryAnew(backend string) {
	for _, n := range c.m.nodeOrder {
		if n.provider == backend && n.retries > 0 && !n.permanent {
			n.retries, n.retryAt = 0, time.Time{}
			n.touch()
		}
	}
	for _, l := range c.m.linkOrder {
		if l.network(c) == backend && l.retries > 0 {
			l.retries, l.retryAt = 0, time.Time{}
			l.touch()
		}
	}
	for _, j := range c.jobs {
		j.all = true // what was not held against them meanwhile is
	}
}

// outlasts reports whether a backend has fallen silent while the job ran: what
// fails meanwhile is done when that answers again, as far as there is time.
func (c *controller) outlasts(j *job) bool {
	for name, s := range c.m.silent {
		if j.Created.Before(s.since) && (c.m.info.Network == name ||
			slices.ContainsFunc(c.m.nodeOrder, func(n *node) bool { return n.provider == name })) {
			return true
		}
	}
	return false
}

// uses reports whether anything of the lab is made by a backend.
func (c *controller) uses(backend string) bool {
	return slices.ContainsFunc(c.m.nodeOrder, func(n *node) bool { return n.provider == backend && n.believed() }) ||
		slices.ContainsFunc(c.m.linkOrder, func(l *link) bool { return l.net == backend && l.made })
}

// silences is what the view says of it.
func (c *controller) silences() (out []api.Silence) {
	for _, name := range slices.Sorted(maps.Keys(c.m.silent)) {
		if s := c.m.silent[name]; s.said {
			out = append(out, api.Silence{Backend: name, Why: s.why})
		}
	}
	return out
}
