package settings

import (
	"os"
	"testing"
)

// Whatever is in the user's file, and whatever a choice is set to: an error
// leaves the file as it was, and what was written can be read again.
func FuzzSet(f *testing.F) {
	f.Add([]byte("network: veth # fast\novs: {mode: shared}\n"), "ovs.mode", "dedicated")
	f.Add([]byte("a: &a [*a]"), "theme", "dark")
	f.Add([]byte(""), "engine.socket", "x: y\n- [")
	f.Add([]byte("theme: {\n"), "", ".")
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		s := &Settings{Choices: Defaults(), Config: t.TempDir()}
		if err := os.WriteFile(s.File(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		err := s.Set(key, value)
		now, rerr := os.ReadFile(s.File())
		if rerr != nil {
			t.Fatal(rerr)
		}
		c := Defaults()
		switch {
		case err != nil && string(now) != string(text):
			t.Fatalf("an error (%v) has changed the file to %q", err, now)
		case err == nil && decode(now, &c) != nil:
			t.Fatalf("%q cannot be read again", now)
		}
	})
}
