package nsnet

import (
	"context"
	"sync"

	"archetype/backends"
)

// End is one of a lab's, by its name.
type End struct{ Lab, Name string }

// EndOf is a port's.
func EndOf(p backends.Port) End { return End{p.Lab, p.End.String()} }

type linkKey struct{ lab, id string }

// Watch knows the links whose changes are to be told.
type Watch struct {
	mu      sync.Mutex
	known   map[linkKey]backends.Link
	at      map[End]linkKey // the link that an end was last part of
	last    map[linkKey]backends.LinkStatus
	calls   map[linkKey]int // under way: what they cause is no news
	waiters map[*Pending[linkKey]]bool
	used    chan struct{} // closed once a link is known
	once    sync.Once
}

// NewWatch makes one that knows none.
func NewWatch() *Watch {
	return &Watch{known: map[linkKey]backends.Link{}, at: map[End]linkKey{}, last: map[linkKey]backends.LinkStatus{},
		calls: map[linkKey]int{}, waiters: map[*Pending[linkKey]]bool{}, used: make(chan struct{})}
}

// Add has a link's changes told from now on.
func (w *Watch) Add(l backends.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(l)
}

func (w *Watch) add(l backends.Link) linkKey {
	k := linkKey{l.Lab, l.ID()}
	w.known[k], w.at[EndOf(l.A)], w.at[EndOf(l.B)] = l, k, k
	w.once.Do(func() { close(w.used) })
	return k
}

// Used is closed once there is something to be watched.
func (w *Watch) Used() <-chan struct{} { return w.used }

// Calling marks a link as being worked on: what is seen meanwhile is no news,
// what is seen at the end may be.
func (w *Watch) Calling(l backends.Link) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.add(l)
	w.calls[k]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.calls[k]--; w.calls[k] == 0 {
			delete(w.calls, k)
			delete(w.last, k) // who called may think otherwise than was told last
			w.stir(k)
		}
	}
}

// Forget ends that for some links.
func (w *Watch) Forget(which func(backends.Link) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, l := range w.known {
		if !which(l) {
			continue
		}
		delete(w.known, k)
		delete(w.last, k)
		for _, p := range []backends.Port{l.A, l.B} {
			if w.at[EndOf(p)] == k { // it may be another link's by now
				delete(w.at, EndOf(p))
			}
		}
	}
}

// ForgetLink does so for one.
func (w *Watch) ForgetLink(l backends.Link) {
	w.Forget(func(k backends.Link) bool { return k.Lab == l.Lab && k.ID() == l.ID() })
}

// Knows reports whether a link's changes are told.
func (w *Watch) Knows(l backends.Link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.known[linkKey{l.Lab, l.ID()}]
	return known
}

func (w *Watch) stir(keys ...linkKey) {
	for p := range w.waiters {
		p.Add(keys...)
	}
}

// Stir has the links of some ends looked at.
func (w *Watch) Stir(ends ...End) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range ends {
		if k, ok := w.at[e]; ok {
			w.stir(k)
		}
	}
}

// StirAll has all links looked at.
func (w *Watch) StirAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.known {
		w.stir(k)
	}
}

// Tell sends what is new of the links that were stirred, once there is a reason
// to listen. Look says what a link is now, and nil when that cannot be told;
// sources are as of Relay.
func (w *Watch) Tell(ctx context.Context, reason <-chan struct{}, look func(backends.Link) *backends.LinkStatus,
	sources func(context.Context) ([]<-chan struct{}, error)) <-chan backends.LinkStatus {
	changed := NewPending[linkKey]()
	w.mu.Lock()
	w.waiters[changed] = true
	w.mu.Unlock()
	return Relay(ctx, reason, changed, func(k linkKey) (backends.LinkStatus, bool) { return w.news(k, look) },
		func(ctx context.Context) ([]<-chan struct{}, error) {
			all, err := sources(ctx)
			w.StirAll() // what changed before anybody listened
			return all, err
		}, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.waiters, changed)
		})
}

// news looks at a link, and reports whether it is another than last time.
func (w *Watch) news(k linkKey, look func(backends.Link) *backends.LinkStatus) (backends.LinkStatus, bool) {
	w.mu.Lock()
	l, known := w.known[k]
	known = known && w.calls[k] == 0
	w.mu.Unlock()
	if !known {
		return backends.LinkStatus{}, false
	}
	st := look(l)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known = w.known[k]; st == nil || !known || w.calls[k] > 0 || w.last[k] == *st {
		return backends.LinkStatus{}, false
	}
	w.last[k] = *st
	return *st, true
}
