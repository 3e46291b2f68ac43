package nsnet

import (
	"slices"
	"sync"

	"archetype/backends"
)

// Locks keep calls apart that are about the same ends: what is asked for twice
// at the same time is done one after the other. The zero value is ready.
type Locks struct {
	mu   sync.Mutex
	held map[string]*endLock
}

// endLock is held by whoever works on an end.
type endLock struct {
	sync.Mutex
	users int
}

// Lock keeps others from the ends of some ports.
func (k *Locks) Lock(ports ...backends.Port) (unlock func()) {
	ends := make([]string, len(ports))
	for i, p := range ports {
		ends[i] = p.Lab + " " + p.End.String()
	}
	slices.Sort(ends) // one order, so that nobody waits in a circle
	ends = slices.Compact(ends)
	for _, e := range ends {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]*endLock{}
		}
		l := k.held[e]
		if l == nil {
			l = &endLock{}
			k.held[e] = l
		}
		l.users++
		k.mu.Unlock()
		l.Lock()
	}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, e := range ends {
			l := k.held[e]
			l.Unlock()
			if l.users--; l.users == 0 {
				delete(k.held, e)
			}
		}
	}
}
