package sim_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// run runs one seed to its end and returns its course.
func run(t *testing.T, seed uint64, steps int, dir string) (course []string, total int) {
	t.Helper()
	dir = filepath.Join(dir, strconv.FormatUint(seed, 10))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t, seed, dir)
		d.chaos(steps)
		d.settle()
		d.finish()
		course, total = d.said, d.steps
	})
	_ = os.RemoveAll(dir)
	return course, total
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestSeeds is the simulation: SIM_SEEDS seeds of SIM_STEPS steps each, from
// SIM_FIRST on, or SIM_SEED alone. A seed that fails says how to run it again.
func TestSeeds(t *testing.T) {
	steps := number("SIM_STEPS", 1000)
	if seed := number("SIM_SEED", 0); seed != 0 {
		run(t, uint64(seed), steps, scratch(t))
		return
	}
	seeds, first := number("SIM_SEEDS", fewSeeds), number("SIM_FIRST", 1)
	begin, dir := time.Now(), scratch(t)
	var next, total atomic.Int64
	t.Cleanup(func() {
		took := time.Since(begin)
		t.Logf("simulation: %d seeds, %d steps in %s: %.0f steps a second", seeds, total.Load(), took.Round(time.Second), float64(total.Load())/took.Seconds())
	})
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= int64(seeds) && !t.Failed(); seed = next.Add(1) {
				_, n := run(t, uint64(first)+uint64(seed)-1, steps, dir)
				total.Add(int64(n))
			}
		})
	}
}

// A seed has one course: what fails once fails again.
func TestSeedReplaysExactly(t *testing.T) {
	dir := scratch(t)
	for seed := uint64(1_000_001); seed <= 1_000_000+fewSeeds/10; seed++ {
		a, _ := run(t, seed, 500, dir)
		b, _ := run(t, seed, 500, dir)
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Errorf("seed %d takes two courses from step %d on:\n%s\n%s\nafter\n%s", seed, i, at(a, i), at(b, i), strings.Join(a[max(0, i-number("SIM_TAIL", 15)):i], "\n"))
				break
			}
		}
	}
}

func at(course []string, i int) string {
	if i < len(course) {
		return course[i]
	}
	return "(it has ended)"
}
