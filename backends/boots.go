package backends

import (
	"sync/atomic"
	"time"
)

// Boots numbers the boots of a provider's nodes: each has a greater number than
// all that came before it, also where the clock went back in between.
type Boots struct{ last atomic.Uint64 }

// Next is the number of a boot that began at the moment given, and comes after
// another.
func (b *Boots) Next(after uint64, began time.Time) uint64 {
	for {
		last := b.last.Load()
		n := max(last+1, after+1, uint64(max(0, began.UnixNano())))
		if b.last.CompareAndSwap(last, n) {
			return n
		}
	}
}

// Met notes the number of a boot that an earlier program has given.
func (b *Boots) Met(n uint64) {
	for last := b.last.Load(); n > last && !b.last.CompareAndSwap(last, n); last = b.last.Load() {
	}
}
