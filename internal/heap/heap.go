// Package heap has a process that is started to do much at once collect its garbage later.
package heap

import (
	"runtime/debug"
	"time"
)

const (
	burst   = 3 * time.Second
	percent = 800      // 32 MiB before the first collection
	most    = 96 << 20 // bytes from which on it is collected all the same
)

// Burst is called at a process's start. What it does first, such as a deploy,
// is more garbage than its heap is ever large, and collecting that while all
// processors are busy takes a tenth of their time. Afterwards everything is as
// usual, and what was taken is given back.
func Burst() {
	p, m := debug.SetGCPercent(percent), debug.SetMemoryLimit(most)
	time.AfterFunc(burst, func() {
		debug.SetGCPercent(p)
		debug.SetMemoryLimit(m)
		debug.FreeOSMemory()
	})
}
