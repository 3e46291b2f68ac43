package saved

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Versions are kept in their order, once each, and the oldest go.
func TestVersionsAreKept(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keep := func(text string, at time.Time, fresh bool) {
		t.Helper()
		if _, got, err := Keep(dir, "lab", "r1", text, at); err != nil || got != fresh {
			t.Fatalf("%q: kept %v: %v", text, got, err)
		}
	}
	keep("a\n", now, true)
	keep("a\n", now.Add(time.Hour), false)
	keep("b\n", now.Add(-time.Hour), true) // the clock was set back
	list, err := List(dir, "lab", "r1")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v: %v", list, err)
	}
	if text, err := list[0].Text(); err != nil || text != "b\n" {
		t.Errorf("the latest is %q: %v", text, err)
	}
	if st, err := os.Stat(list[0].Path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", st.Mode(), err)
	}
	for i := range Most + 5 {
		keep(fmt.Sprintf("c%d\n", i), now.Add(time.Duration(i)*time.Second), true)
	}
	if list, err = List(dir, "lab", "r1"); err != nil || len(list) != Most {
		t.Errorf("%d are kept: %v", len(list), err)
	}
	if other, err := List(dir, "lab", "r2"); err != nil || other != nil {
		t.Errorf("%v of another node: %v", other, err)
	}
}

func TestDiff(t *testing.T) {
	if d := Diff("a\nb\nc\n", "a\nB\nc\n"); !strings.Contains(strings.Join(d, "|"), " a|-b|+B| c") {
		t.Errorf("%q", d)
	}
	if d := Diff("a\n", "a\n"); d != nil {
		t.Errorf("%q", d)
	}
}
