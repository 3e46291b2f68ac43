package lab_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"archetype/lab"
)

func TestImpairmentsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := lab.Impairment{
			Delay:      time.Duration(rapid.IntRange(0, 60_000).Draw(t, "delay")) * time.Millisecond,
			Loss:       float64(rapid.IntRange(0, 1000).Draw(t, "loss")) / 10,
			Corruption: float64(rapid.IntRange(0, 1000).Draw(t, "corruption")) / 10,
		}
		i.Jitter = time.Duration(rapid.Int64Range(0, int64(i.Delay)).Draw(t, "jitter"))
		if r := rapid.Uint64Range(0, 1_000_000_000).Draw(t, "rate"); r >= 8 {
			i.Rate = r * 1000
		}
		got, err := lab.ParseImpairment(i.Words())
		if err != nil || got != i {
			t.Fatalf("%+v is written %q and read %+v, %v", i, i.Words(), got, err)
		}
	})
	for _, bad := range []string{"delay", "delay 1", "lag 1ms", "loss 101%", "loss NaN", "rate x", "jitter 1ms", "rate 1bit", "delay -1s"} {
		if i, err := lab.ParseImpairment(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, i)
		}
	}
}
