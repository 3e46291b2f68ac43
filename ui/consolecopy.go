package ui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/themes"
)

// copying is the choice of lines of a console: at is where the cursor is and
// from where the choice begins, as lines from the first that is kept.
type copying struct{ at, from int }

func (c *copying) has(line int) bool {
	return line >= min(c.at, c.from) && line <= max(c.at, c.from)
}

// kept are all lines of a console, the oldest first, as they look.
func (c *console) kept() []string {
	var out []string
	for i := range c.em.ScrollbackLen() {
		out = append(out, c.em.Scrollback().Line(i).Render())
	}
	for _, l := range strings.Split(c.em.Render(), "\n") {
		out = append(out, strings.TrimSuffix(l, "\r"))
	}
	for len(out) > 0 && strings.TrimSpace(ansi.Strip(out[len(out)-1])) == "" {
		out = out[:len(out)-1]
	}
	return out
}

// beginCopy puts the cursor on the last line in sight.
func (m *Model) beginCopy(c *console) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.kept())
	if n == 0 {
		m.say(false, "there is nothing to copy yet")
		return
	}
	at := max(0, min(n-1, c.em.ScrollbackLen()-c.up+c.h-1))
	c.copy = &copying{at, at}
}

// copyKey moves the cursor and takes the lines chosen.
func (m *Model) copyKey(c *console, name string) tea.Cmd {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.kept()
	l := list{at: c.copy.at}
	switch {
	case l.key(name, len(lines), c.h):
		c.copy.at = l.at
		if !c.choosing {
			c.copy.from = l.at
		}
	case name == "v" || name == "space":
		c.choosing, c.copy.from = !c.choosing, c.copy.at
	case name == "y" || name == "enter":
		text := ""
		for i, line := range lines {
			if c.copy.has(i) {
				text += strings.TrimRight(clean(line), " ") + "\n"
			}
		}
		m.say(true, plural(strings.Count(text, "\n"), "line")+" copied, where the terminal lets programs do that")
		c.copy, c.choosing, c.up = nil, false, 0
		return tea.SetClipboard(strings.TrimSuffix(text, "\n"))
	case name == "esc" || name == "q" || name == "ctrl+c":
		c.copy, c.choosing, c.up = nil, false, 0
		return nil
	}
	// What the cursor is on stays in sight.
	top := c.em.ScrollbackLen() - c.up
	top = max(min(top, c.copy.at), c.copy.at-c.h+1)
	c.up = max(0, min(c.em.ScrollbackLen()-top, c.em.ScrollbackLen()))
	return nil
}

// chosenLine is a line of a console as it looks while lines are chosen.
func (m *Model) chosenLine(c *console, line int, text string, w int) string {
	if c.copy == nil || !c.copy.has(line) {
		return text
	}
	return m.paint(themes.Selection, m.fit(clean(text), w))
}
