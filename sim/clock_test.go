package sim_test

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// clock is the machine's: its hands can be set, while what measures the passing
// of time goes on, as the kernel's do. Under a simulated clock time.Now tells
// no more than the hands, so that here both are put together, in the way in
// which a time.Time has been laid out since Go 1.9.
type clock struct {
	begin time.Time
	off   atomic.Int64 // by how much the hands have been set, in nanoseconds: whole seconds
}

const (
	hasMonotonic = 1 << 63
	since1885    = 2682288000 // seconds to 1970
)

func (c *clock) now() time.Time {
	t := time.Now()
	hands := t.Add(time.Duration(c.off.Load()))
	parts := (*[2]uint64)(unsafe.Pointer(&hands))
	parts[0] = hasMonotonic | uint64(hands.Unix()+since1885)<<30 | uint64(hands.Nanosecond())
	parts[1] = uint64(t.Sub(c.begin) + 1)
	return hands
}

// The hands are set: what is read says so, and what is measured does not.
func TestClockIsAsTheKernels(t *testing.T) {
	c := &clock{begin: time.Now()}
	before := c.now()
	for _, by := range []time.Duration{6 * time.Hour, -12 * time.Hour, 0} {
		c.off.Store(int64(by))
		after := c.now()
		if d := after.Sub(before); d < 0 || d > time.Minute {
			t.Errorf("set by %s, %s have passed", by, d)
		}
		if d := after.Round(0).Sub(before.Round(0)); d < by || d > by+time.Minute {
			t.Errorf("set by %s, the hands differ by %s", by, d)
		}
		if back := time.Until(after.Add(-by).Round(0)); back > 0 || back < -time.Minute {
			t.Errorf("set by %s, it tells %s", by, after)
		}
	}
}
