package ui

import (
	"io"
	"strings"
	"testing"

	"archetype/internal/plain"
)

// Whatever a device sends to its console, in whatever pieces and at whatever
// size: the emulator goes on, what it has to draw is a screen of no more than
// its lines, and none of it acts on the user's terminal.
func FuzzConsole(f *testing.F) {
	for _, s := range []string{"\x1b[2J\x1b[HHello\r\n", "\x1b[?1049h\x1b[5;5H\x1b[31mred\x1b[0m\x1b[?1049l", "\x1b]0;title\x07\x1b]52;c;aGk=\x07",
		"\x1b[999999999L\x1b[999999999@", "x\x1b[2147483647b\x1b[2147483647I\x1b[2147483647X\x1b[2147483647Z", "\x1b[3;1r\x1b[99999999999999999999S", "\x1bP+q544e\x1b\\\x1b[c\x1b[6n", "\xff\xfe\u202e\t\t\t\v\f\x1b#8\x1b(0qqq\x1b(B"} {
		f.Add([]byte(s), uint8(80), uint8(24))
	}
	f.Fuzz(func(t *testing.T, data []byte, w, h uint8) {
		cols, rows := int(w)%200+20, int(h)%60+5
		c := &console{em: newEmulator(cols, rows), w: cols, h: rows}
		done := make(chan struct{})
		go func() { // replies to the device's questions
			defer close(done)
			_, _ = io.Copy(io.Discard, c.em)
		}()
		half := len(data) / 2
		for _, part := range [][]byte{data[:half], data[half:]} {
			if err := c.feed(part); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			c.reflow(rows+20, cols/4+5)
		}
		drawn := c.em.Render()
		if n := strings.Count(drawn, "\n"); n > cols/4+5 {
			t.Fatalf("%q: %d lines", data, n)
		}
		if s := plain.Screen(drawn); plain.Screen(s) != s {
			t.Fatalf("%q draws %q", data, s)
		}
		hangUp(c.em)
		<-done
	})
}
