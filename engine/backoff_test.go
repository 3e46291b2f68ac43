package engine

import (
	"testing"
	"time"
)

func TestBackoffDoublesUpToAMinute(t *testing.T) {
	want := []time.Duration{1, 1, 2, 4, 8, 16, 32, 60, 60}
	for n, w := range want {
		if got := backoff(n); got != w*time.Second {
			t.Errorf("after try %d: %s, want %s", n, got, w*time.Second)
		}
	}
	for _, n := range []int{-5, 63, 64, 1 << 40} {
		if got := backoff(n); got < time.Second || got > time.Minute {
			t.Errorf("after try %d: %s", n, got)
		}
	}
}
