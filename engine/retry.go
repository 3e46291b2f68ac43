package engine

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// jitter is by how much of itself a pause is longer or shorter, at most: what
// failed together is not tried together again and again.
const jitter = 0.2

// pauseAfter is how long to wait after the n-th failure in a row of what has
// that name. The same failure at the same moment has the same answer, so that a
// simulation takes the same course twice.
func (c *controller) pauseAfter(n int, name string, now time.Time) time.Duration {
	r := c.e.defaults().Retry
	if n > 0 && n%r.Tries == 0 {
		return r.Rest
	}
	d := r.First
	for range (max(n, 1) - 1) % r.Tries {
		if d *= 2; d >= r.Cap || d <= 0 {
			d = r.Cap
			break
		}
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, name, n)
	by := 2*rand.New(rand.NewPCG(h.Sum64(), uint64(now.UnixNano()))).Float64() - 1 //nolint:gosec // no secret: it spreads tries
	return min(time.Duration(float64(d)*(1+jitter*by)), r.Cap)
}

// nextTry counts one more failure of the node and plans when it is tried again.
func (c *controller) nextTry(n *node) {
	now := c.e.now()
	n.retries++
	n.retryAt = now.Add(c.pauseAfter(n.retries, c.m.info.Name+"/"+n.spec.Name, now))
}

// nextLinkTry does the same for a link.
func (c *controller) nextLinkTry(l *link) {
	now := c.e.now()
	l.retries++
	l.retryAt = now.Add(c.pauseAfter(l.retries, c.m.info.Name+"/"+l.id, now))
}

// linkHeld reports whether the link was as wanted for longer than it would have to
// wait now: what is done to it that seldom need not be put off.
func (c *controller) linkHeld(l *link) bool {
	now := c.e.now()
	return now.Sub(l.upSince) > c.pauseAfter(l.retries+1, c.m.info.Name+"/"+l.id, now)
}

// whenAgain says in words when the next try is, and which it will be.
func (c *controller) whenAgain(at time.Time, tries int) string {
	return fmt.Sprintf("in %s, time %d", max(0, at.Sub(c.e.now())).Round(time.Second), tries)
}

// recovered forgets the tries of a node that has been well for long enough.
func (c *controller) recovered(n *node) {
	if n.amiss != "" {
		return // its tries are for that, and go on
	}
	if n.retries > 0 && !c.wait(n.since.Add(c.e.defaults().Retry.Healthy)) {
		n.retries, n.retryAt = 0, time.Time{}
		n.news()
		c.saveNode(n)
	}
}

// linkRecovered does the same for a link.
func (c *controller) linkRecovered(l *link) {
	if l.retries > 0 && !c.wait(l.upSince.Add(c.e.defaults().Retry.Healthy)) {
		l.retries, l.retryAt = 0, time.Time{}
		l.news()
	}
}
