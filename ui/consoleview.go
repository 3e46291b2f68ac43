package ui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/themes"
)

// leastTile is how wide a tile must be for a console to be of use.
const leastTile = 36

// dockHeight is how high the consoles beside the lab are.
func (m *Model) dockHeight() int { return max(8, (m.h-2)*2/5) }

// consoleRoom is where consoles are drawn, and whether each has a frame.
func (m *Model) consoleRoom() (room area, framed bool) {
	h := m.h - 2
	switch {
	case m.screen == screenMain && m.dock && m.alone():
		return area{0, 1, m.w, h}, true
	case m.screen == screenMain && m.dock:
		d := m.dockHeight()
		return area{0, 1 + h - d, m.w, d}, true
	case m.tiled && len(m.consoles) > 1:
		return area{0, 1, m.w, h}, true
	}
	return area{0, 2, m.w, h - 1}, false // below the tabs
}

// tiles gives every console that is shown its place, frame and all.
func (m *Model) tiles() map[int]area {
	room, _ := m.consoleRoom()
	n := len(m.consoles)
	if !m.tiled || n < 2 || room.w/2 < leastTile {
		return map[int]area{m.console: room}
	}
	cols, best := 1, 0
	for c := 1; c <= min(n, room.w/leastTile); c++ { // as near to 80x24 as can be
		if fit := min(room.w/c*24, room.h/((n+c-1)/c)*80); fit > best {
			cols, best = c, fit
		}
	}
	rows := (n + cols - 1) / cols
	out := map[int]area{}
	for i := range n {
		r, c := i/cols, i%cols
		inRow := cols
		if r == rows-1 {
			inRow = n - r*cols
		}
		x, y := room.w*c/inRow, room.h*r/rows
		out[i] = area{room.x + x, room.y + y, room.w*(c+1)/inRow - x, room.h*(r+1)/rows - y}
	}
	return out
}

// layoutConsoles tells the nodes how large their consoles are now.
func (m *Model) layoutConsoles() {
	if len(m.consoles) == 0 || m.w == 0 {
		return
	}
	room, framed := m.consoleRoom()
	tiles := m.tiles()
	for i, c := range m.consoles {
		a, ok := tiles[i]
		if !ok {
			a = room
		}
		if framed {
			a.w, a.h = a.w-2, a.h-2
		}
		c.resize(max(a.w, 20), max(a.h, 3))
	}
}

func (c *console) title(m *Model) string {
	switch {
	case c.ended != "":
		return c.node + " " + m.glyphs.Dot + " " + clean(c.ended)
	case c.up > 0:
		return fmt.Sprintf("%s %s %d lines back", c.node, m.glyphs.Dot, c.up)
	case c.recorded() != "":
		return c.node + " " + m.glyphs.Dot + " recording"
	}
	return c.node
}

// tabs names the consoles that are open.
func (m *Model) tabs() string {
	var b strings.Builder
	for i, c := range m.consoles {
		role := themes.Dim
		if i == m.console {
			role = themes.Selection
		}
		b.WriteString(m.paint(role, " "+c.node+" ") + " ")
	}
	c := m.consoles[m.console]
	if c.ended != "" {
		b.WriteString(m.paint(themes.Bad, " "+clean(c.ended)))
	} else if c.up > 0 {
		b.WriteString(m.paint(themes.Busy, fmt.Sprintf(" %d lines back", c.up)))
	}
	if c.recorded() != "" {
		b.WriteString(m.paint(themes.Bad, "  recording"))
	}
	if m.typeAll {
		b.WriteString(m.paint(themes.Bad, "  typing into all "+fmt.Sprint(len(m.consoles))))
	}
	return b.String()
}

// consoleLines fills the screen with consoles: one below its tabs, or tiles.
func (m *Model) consoleLines(w, h int) []string {
	if _, framed := m.consoleRoom(); framed {
		return m.tileLines(area{0, 1, w, h}, true)
	}
	return append([]string{m.fit(m.tabs(), w)}, m.terminal(m.consoles[m.console], 0, 2, w, h-1, true)...)
}

// tileLines draws framed consoles into their room.
func (m *Model) tileLines(room area, focused bool) []string {
	out := make([]string, room.h)
	tiles := m.tiles()
	for i := range m.consoles { // from left to right, row by row
		a, ok := tiles[i]
		if !ok {
			continue
		}
		c := m.consoles[i]
		here := focused && i == m.console
		title, foot := c.title(m), ""
		if len(tiles) == 1 && len(m.consoles) > 1 {
			title += fmt.Sprintf("  (%d of %d)", i+1, len(m.consoles))
		}
		if m.typeAll {
			foot = fmt.Sprintf("typing into all %d", len(m.consoles))
		}
		if m.dock {
			title = "5 console " + title
		}
		box := m.frame(title, foot, m.terminal(c, a.x+1, a.y+1, a.w-2, a.h-2, here), a.w, a.h, here)
		for j, l := range box {
			if y := a.y - room.y + j; y < len(out) {
				out[y] += l
			}
		}
	}
	for i := range out {
		out[i] = m.fit(out[i], room.w)
	}
	return out
}

// terminal is what a console shows, w by h, from column x and row y.
func (m *Model) terminal(c *console, x, y, w, h int, cursor bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	screen := strings.Split(c.em.Render(), "\n")
	if c.up > 0 {
		n := c.em.ScrollbackLen()
		back := make([]string, 0, c.up)
		for i := max(0, n-c.up); i < n && len(back) < h; i++ {
			line := c.em.Scrollback().Line(i).Render()
			if c.find != "" {
				line = m.highlight(line, c.find)
			}
			back = append(back, line)
		}
		screen = append(back, screen...)
	}
	out := make([]string, 0, h)
	for i := range h {
		line := ""
		if i < len(screen) {
			line = strings.TrimSuffix(screen[i], "\r")
		}
		if m.colourless {
			line = uncolour(line)
		}
		out = append(out, m.chosenLine(c, c.em.ScrollbackLen()-c.up+i, m.fit(line, w), w))
	}
	if pos := c.em.CursorPosition(); cursor && c.up == 0 && c.copy == nil && c.ended == "" && pos.Y < h && !c.em.CursorHidden() {
		m.curs = tea.NewCursor(x+min(pos.X, w-1), y+pos.Y)
	}
	return out
}
