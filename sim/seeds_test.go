package sim_test

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"archetype/engine/api"
	"archetype/lab"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(garbage)
	os.Exit(m.Run())
}

// result is how a seed went.
type result struct {
	course []string
	steps  int
	counts map[string]int // how often it came to what
	found  *failure       // what is wrong, or nil
}

// run runs one seed to its end.
func run(t *testing.T, seed uint64, steps int, dir string, rule func(*api.Snapshot) string) (res result) {
	t.Helper()
	dir = filepath.Join(dir, strconv.FormatUint(seed, 10))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t, seed, dir)
		d.rule = rule
		defer func() {
			res.course, res.steps, res.counts = d.said, d.steps, d.counts
			if r := recover(); r != nil {
				var ok bool
				if res.found, ok = r.(*failure); !ok {
					panic(r)
				}
			}
		}()
		d.chaos(steps)
		d.settle()
		d.finish()
	})
	_ = os.RemoveAll(dir)
	return res
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
		if res := run(t, uint64(seed), steps, scratch(t), nil); res.found != nil {
			t.Fatal(res.found)
		}
		return
	}
	seeds, first := number("SIM_SEEDS", fewSeeds), number("SIM_FIRST", 1)
	begin, dir := time.Now(), scratch(t)
	var next atomic.Int64
	var mu sync.Mutex
	total, counts := 0, map[string]int{}
	t.Cleanup(func() {
		took := time.Since(begin)
		t.Logf("simulation: %d seeds, %d steps in %s: %.0f steps a second", seeds, total, took.Round(time.Second), float64(total)/took.Seconds())
		reachedAll(t, counts, total)
	})
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= int64(seeds) && !t.Failed(); seed = next.Add(1) {
				res := run(t, uint64(first)+uint64(seed)-1, steps, dir, nil)
				mu.Lock()
				total += res.steps
				for what, n := range res.counts {
					counts[what] += n
				}
				mu.Unlock()
				if res.found != nil {
					t.Fatal(res.found)
				}
			}
		})
	}
}

// A seed has one course: what fails once fails again, at the same step, for
// the same reason and after the same steps.
func TestSeedReplaysExactly(t *testing.T) {
	// A rule that no engine keeps, so that seeds fail, each at a moment of its own.
	noneRuns := func(s *api.Snapshot) string {
		for _, l := range s.Labs {
			for _, n := range l.Nodes {
				if n.Actual == lab.NodeRunning && len(l.Nodes) > 2 {
					return l.Name + "/" + n.Name + " runs"
				}
			}
		}
		return ""
	}
	dir, failed := scratch(t), 0
	for seed := uint64(1_000_001); seed <= 1_000_000+fewSeeds/10; seed++ {
		var rule func(*api.Snapshot) string
		if seed%2 == 0 {
			rule = noneRuns
		}
		once, again := run(t, seed, 500, dir, rule), run(t, seed, 500, dir, rule)
		a, b, foundA, foundB := once.course, again.course, once.found, again.found
		if rule == nil && foundA != nil {
			t.Fatal(foundA)
		}
		if (foundA == nil) != (foundB == nil) || foundA != nil && (foundA.step != foundB.step || foundA.what != foundB.what) {
			t.Errorf("seed %d fails in two ways:\n%v\n%v", seed, foundA, foundB)
		}
		if foundA != nil {
			failed++
		}
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Errorf("seed %d takes two courses from step %d on:\n%s\n%s\nafter\n%s", seed, i, at(a, i), at(b, i), strings.Join(a[max(0, i-number("SIM_TAIL", 15)):i], "\n"))
				break
			}
		}
	}
	if failed == 0 {
		t.Error("no seed has failed: nothing was replayed")
	}
}

func at(course []string, i int) string {
	if i < len(course) {
		return course[i]
	}
	return "(it has ended)"
}
