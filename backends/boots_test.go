package backends_test

import (
	"testing"
	"time"

	"archetype/backends"
)

// A later boot has a greater number, whatever the clock says.
func TestBootsGrowWhateverTheClockSays(t *testing.T) {
	var b backends.Boots
	now := time.Now()
	b.Met(uint64(now.Add(24 * time.Hour).UnixNano())) // the clock was a day ahead
	last := uint64(now.Add(24 * time.Hour).UnixNano())
	for _, at := range []time.Time{now, now.Add(-time.Hour), now.Add(48 * time.Hour), now, time.Unix(-5, 0)} {
		n := b.Next(0, at)
		if n <= last {
			t.Errorf("at %s the number is %d, after %d", at, n, last)
		}
		last = n
	}
	if n := b.Next(last+10, now); n <= last+10 {
		t.Errorf("%d comes after %d", n, last+10)
	}
}
