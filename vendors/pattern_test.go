package vendors

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPatterns: a pattern matches what its expression matches, and nothing
// else, whatever words it looks for first.
func TestPatterns(t *testing.T) {
	exprs := []string{`abc`, `(?i)abc`, `a?bc`, `a*`, `(?:ab|cd)+e`, `(?:ab|c*)d`, `x{2,}y`, `x{0,2}y`, `^\s*$`, `[abc]d`, `(?:new|old) (?i:pass)word`, `a.c|bcd`, ``}
	lines := []string{"", "abc", "ABC", "bc", "abce", "cde", "ababe", "d", "ad", "xxy", "xy", "y", "new PASSword", "old password", "a\u00fcc", "bcd", "unrelated"}
	kinds, diags, err := Load("")
	if err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	for _, k := range kinds.Kinds() {
		k = k.AsVM()
		for _, p := range k.Progress {
			exprs = append(exprs, p.Regexp)
		}
		for _, s := range k.Dialogue {
			exprs = append(exprs, standing(s.Expect))
		}
		exprs = append(exprs, k.Readiness.Pattern)
	}
	talks, _ := filepath.Glob("../internal/replay/testdata/*.talk")
	for _, f := range talks {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(text), "\n")...)
	}
	matched := 0
	for _, e := range exprs {
		re, p := regexp.MustCompile(e), compile(e)
		for _, l := range lines {
			if re.MatchString(l) != p.match(l) {
				t.Errorf("%q on %q: %v, looking for %q first", e, l, p.match(l), p.words)
			}
			if p.match(l) {
				matched++
			}
		}
	}
	if matched < 100 || len(talks) == 0 {
		t.Errorf("%d matches in %d dialogues: that tells nothing", matched, len(talks))
	}
	if p := compile(`(?:ab|cd)+e`); len(p.words) != 2 {
		t.Errorf("no words of %v are known: %q", p.re, p.words)
	}
}
