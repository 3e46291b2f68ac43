package vendors

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Whatever a device says while it boots, in whatever pieces: no more than a
// line of it is kept, the lines are the same wherever the pieces end, and
// progress is a per cent that never falls.
func FuzzTalk(f *testing.F) {
	var kinds []*Kind
	files, _ := filepath.Glob("kinds/*.yaml")
	for i, name := range files {
		data, _ := os.ReadFile(name)
		k, _ := Parse(name, data)
		if k == nil {
			f.Fatal(name)
		}
		kinds = append(kinds, k)
		for _, p := range k.Progress {
			f.Add(uint8(i), uint16(3), []byte(p.Text+"\r\n\x1b[1mlogin: "))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, cut uint16, data []byte) {
		k := kinds[int(which)%len(kinds)]
		facts := Facts{Hostname: "n", Username: "admin", Password: "marker-of-a-password", Config: "hostname n\nend\n"}
		now := time.Unix(0, 0)
		whole, pieces, boot := NewTalk(k, facts, now), NewTalk(k, facts, now), NewBoot(k)
		at := min(int(cut), len(data))
		lines := whole.Hear(data, now)
		if got := append(pieces.Hear(data[:at], now), pieces.Hear(data[at:], now)...); !slices.Equal(got, lines) {
			t.Fatalf("cut at %d: %q and not %q", at, got, lines)
		}
		if len(whole.line) > maxLine || string(whole.line) != string(pieces.line) {
			t.Fatalf("%d bytes are kept, or %d", len(whole.line), len(pieces.line))
		}
		last := 0
		for _, line := range lines {
			boot.Line(line)
			if p := boot.Percent(); p < last || p > 100 {
				t.Fatalf("%d after %d per cent", p, last)
			}
			last = boot.Percent()
			if len(boot.Text()) > maxLine || len(boot.Earned()) > maxLine {
				t.Fatalf("a text of %d bytes", len(boot.Text()))
			}
		}
		for range 4 {
			now = now.Add(time.Hour)
			whole.Standing(now)
			if a, _ := whole.Next(now); a != nil {
				whole.Sent(a, now)
			}
		}
	})
}
