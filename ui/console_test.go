package ui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// Whatever the size becomes, what was on a console is still there: on it or
// above it.
func TestReflowLosesNothing(t *testing.T) {
	c := &console{em: newEmulator(200, 60)}
	for i := range 40 {
		_, _ = fmt.Fprintf(c.em, "line-%d.\r\n", i)
	}
	_, _ = c.em.WriteString(strings.Repeat("x", 150) + "end\r\nroot@a:~# ")
	for _, size := range [][2]int{{80, 20}, {200, 60}, {100, 5}, {40, 30}, {120, 34}} {
		c.reflow(size[0], size[1])
		var all strings.Builder
		for i := range c.em.ScrollbackLen() {
			all.WriteString(ansi.Strip(c.em.Scrollback().Line(i).Render()) + "\n")
		}
		text := all.String() + c.em.String()
		for i := range 40 {
			if !strings.Contains(text, fmt.Sprintf("line-%d.", i)) {
				t.Errorf("%v: line %d is lost:\n%s", size, i, text)
				break
			}
		}
		if !strings.Contains(text, "xend") {
			t.Errorf("%v: the long line is lost", size)
		}
		pos := c.em.CursorPosition()
		rows := strings.Split(c.em.String(), "\n")
		if pos.Y >= len(rows) || !strings.HasPrefix(rows[pos.Y], "root@a") || pos.X != len("root@a:~# ") {
			t.Errorf("%v: the cursor is at %v:\n%s", size, pos, c.em.String())
		}
	}
}
