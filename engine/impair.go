package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// impaired is what a link's two directions suffer, A's first.
type impaired [2]lab.Impairment

func impairedOf(l lab.Link) impaired { return impaired{l.A.Impair, l.B.Impair} }

// impairing is how far the impairments of a link are what they should be.
type impairing struct {
	applied impaired
	unsure  bool // what is applied is not known: an earlier engine or wiring did it
	refused *impaired
	tries   int
	again   time.Time
}

// rewired notes that the link was connected anew, which may have taken its
// impairments away.
func (i *impairing) rewired(want impaired) {
	i.unsure = i.unsure || i.applied != impaired{} || want != impaired{}
}

// decideImpairment returns the effect that gives a link that is up its
// impairments, or nil when there is nothing to do or to wait for.
func (c *controller) decideImpairment(l *link) *effect {
	want := impairedOf(l.spec)
	i := &l.impair
	if !i.unsure && i.applied == want || i.refused != nil && *i.refused == want || c.wait(i.again) {
		return nil
	}
	return &effect{verb: doImpair, link: l}
}

func (c *controller) impairEnded(l *link, want impaired, err error) {
	i := &l.impair
	// It tells nothing of the wiring, but for that there is none.
	if missed := l.missed; missed || errors.Is(err, backends.ErrNotFound) {
		l.missed = false
		defer c.verify(l, nil)
	}
	if err == nil {
		*i = impairing{applied: want}
		c.setLinkError(l, "")
		return
	}
	if errors.Is(err, context.Canceled) {
		i.unsure = true
		return
	}
	if errors.Is(err, backends.ErrUnsupported) {
		i.refused, i.unsure = &want, false
	} else {
		i.tries++
		i.again = c.e.now().Add(c.pauseAfter(i.tries, l.id, c.e.now()))
	}
	c.setLinkError(l, "impairment: "+l.reason(err))
	c.event(api.Event{Level: api.LevelError, Link: l.name(), Text: fmt.Sprintf("%s: %s", l.name(), l.err)})
}

// Impair implements api.Engine.
func (e *Engine) Impair(ctx context.Context, req api.ImpairRequest) (*api.Job, error) {
	for _, i := range []*lab.Impairment{req.FromA, req.FromB} {
		if i == nil {
			continue
		}
		if err := i.Check(); err != nil {
			return nil, api.Errorf(api.CodeUsage, "%v", err)
		}
	}
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) { return c.setImpairment(req) })
}

func (c *controller) setImpairment(req api.ImpairRequest) (*job, error) {
	if c.m.destroying {
		return nil, api.Errorf(api.CodeConflict, "lab %s is being destroyed", c.m.info.Name)
	}
	l, err := c.linkBetween(req.A, req.B)
	if err != nil {
		return nil, err
	}
	n, _ := c.networkOf(l, l.network(c))
	if _, ok := n.(backends.Impairer); !ok {
		return nil, api.Errorf(api.CodeUnavailable, "network %s cannot impair links", l.network(c))
	}
	spec := l.spec
	fromA, fromB := req.FromA, req.FromB
	if spec.A.Endpoint != req.A {
		fromA, fromB = fromB, fromA
	}
	if fromA != nil {
		spec.A.Impair = *fromA
	}
	if fromB != nil {
		spec.B.Impair = *fromB
	}
	j := c.newJob(lab.JobImpair, l.name())
	if impairedOf(spec) != impairedOf(l.spec) || l.impair.refused != nil {
		l.impair.refused, l.impair.tries, l.impair.again = nil, 0, time.Time{}
		l.spec = spec
		c.setTopologyLink(spec)
		l.touch()
	}
	if l.actual == lab.LinkUp { // else it suffers once it is joined
		j.waitImpair[l] = impairedOf(spec)
	}
	return j, nil
}

// setTopologyLink makes a link's statement part of what is stored.
func (c *controller) setTopologyLink(spec lab.Link) {
	links := append([]lab.Link(nil), c.m.topology.Links...)
	for i := range links {
		if links[i].ID() == spec.ID() {
			links[i] = spec
		}
	}
	c.m.topology.Links = links
	outside := append([]lab.Link(nil), c.m.topology.Outside...)
	for i := range outside {
		if outside[i].ID() == spec.ID() {
			outside[i] = spec
		}
	}
	c.m.topology.Outside = outside
	c.saveLab()
}

// reason is why something about the link failed, without its name before it.
func (l *link) reason(err error) string {
	return strings.TrimPrefix(reason(err), "link "+l.name()+": ")
}

func (c *controller) checkImpairments(j *job) {
	for l, want := range j.waitImpair {
		switch {
		case l.remove || impairedOf(l.spec) != want || l.actual != lab.LinkUp && l.desired == lab.WishDown:
			delete(j.waitImpair, l)
		case l.impair.applied == want && !l.impair.unsure:
			delete(j.waitImpair, l)
		case l.impair.refused != nil || l.impair.tries >= settleTries:
			delete(j.waitImpair, l)
			j.failed = append(j.failed, "link "+l.name()+": "+l.err)
		}
	}
}
