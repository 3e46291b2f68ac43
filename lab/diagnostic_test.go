package lab

import (
	"slices"
	"testing"
)

func TestFewDiagnosticsAreShownAndTheRestIsCounted(t *testing.T) {
	for _, c := range []struct {
		errs, warns, shown int
		end                []string
	}{
		{0, 0, 0, nil},
		{10, 25, 35, nil},
		{11, 0, 10, []string{"error: and 1 more error (archetype check --json lists all)"}},
		{201, 26, 35, []string{"warning: and 1 more warning (archetype check --json lists all)", "error: and 191 more errors (archetype check --json lists all)"}},
	} {
		all := slices.Concat(slices.Repeat([]Diagnostic{{Severity: SeverityError, Message: "e"}}, c.errs),
			slices.Repeat([]Diagnostic{{Severity: SeverityWarning, Message: "w"}}, c.warns))
		got := Few(all)
		if len(got) != c.shown+len(c.end) {
			t.Errorf("%d errors and %d warnings: %d are shown, not %d", c.errs, c.warns, len(got), c.shown)
			continue
		}
		for i, want := range c.end {
			if s := got[c.shown+i].String(); s != want {
				t.Errorf("%d errors and %d warnings end with %q, not %q", c.errs, c.warns, s, want)
			}
		}
	}
}
