package keys

import "testing"

func TestParse(t *testing.T) {
	for name, want := range map[string]byte{"ctrl+]": 0x1d, "Ctrl+A": 1, "ctrl+\\": 0x1c} {
		if got, err := Parse(name); err != nil || got != want {
			t.Errorf("%s: %d %v", name, got, err)
		}
	}
	for _, name := range []string{"", "x", "ctrl+", "ctrl+ab", "ctrl+[", "ctrl+m", "alt+x", "ctrl+é"} {
		if got, err := Parse(name); err == nil {
			t.Errorf("%q is taken as %d", name, got)
		}
	}
}
