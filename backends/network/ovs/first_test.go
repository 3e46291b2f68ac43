package ovs_test

import (
	"fmt"
	"testing"
	"time"

	"archetype/backends/network/ovs"
)

// A cable that is joined carries the very first frame, although the switch
// remembers that it had none to carry it by.
func TestFirstFrame(t *testing.T) {
	const turns = 20
	b := newBench(t, ovs.Config{})
	l := b.cable("a:eth1", "b:eth1")
	b.must(b.Connect(t.Context(), l))
	x, y := b.socket(l.A), b.socket(l.B)
	lost := 0
	for i := range turns {
		b.must(b.Disconnect(t.Context(), l))
		b.must(b.Connect(t.Context(), l))
		if _, ok := crosses(x, y, frame("02:00:00:00:00:01", nil, fmt.Sprint("hello", i), 0), 300*time.Millisecond); !ok {
			lost++
		}
		x, y = y, x
	}
	// Half of them were, before that was waited for. That a switch which gets
	// no processor is not waited for without end may cost one.
	if lost > turns/10 {
		t.Errorf("%d of %d first frames were lost", lost, turns)
	}
}
