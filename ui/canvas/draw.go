package canvas

import (
	"strconv"
	"strings"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

// cell is one cell of the screen while it is drawn.
type cell struct {
	r      rune
	role   themes.Role
	arms   uint8
	stroke uint8
	under  uint8 // where lines cross: the stroke of the one below, plus one
}

const (
	vertical   = themes.ArmUp | themes.ArmDown
	horizontal = themes.ArmLeft | themes.ArmRight
)

// lay draws a piece of a line over what is there: beside what goes the same
// way, across what goes the other.
func (c *cell) lay(arms, stroke uint8, role themes.Role) {
	across := (c.arms == vertical && arms == horizontal) || (c.arms == horizontal && arms == vertical)
	if across {
		if c.stroke != themes.StrokeDotted && stroke == themes.StrokeDotted {
			return // a whole line is not broken by a dotted one
		}
		if c.stroke == themes.StrokeDotted && stroke != themes.StrokeDotted {
			c.arms = 0 // and passes over it
		} else {
			c.under = c.stroke + 1
			if arms == vertical {
				c.under |= underHorizontal
			}
		}
	} else {
		c.under = 0
	}
	c.arms |= arms
	c.stroke, c.role = stroke, role
}

const underHorizontal = 0x80

// strokes of a crossing.
func (c *cell) strokes() (v, h int) {
	under := int(c.under&^underHorizontal) - 1
	if c.under&underHorizontal != 0 {
		return int(c.stroke), under
	}
	return under, int(c.stroke)
}

func (m *Model) draw() {
	m.buf = append(m.buf[:0], make([]cell, max(0, m.w*m.h))...)
	if m.plan != nil && m.w > 0 && m.h > 0 {
		s := m.scene(m.level)
		if m.level == Overview {
			m.drawOverview(s)
		} else {
			m.drawLinks(s)
			m.drawBoxes(s)
			m.drawNames(s)
		}
		m.drawEdges(s)
	}
	m.view = m.view[:0]
	for y := range m.h {
		m.view = append(m.view, m.line(m.buf[y*m.w:(y+1)*m.w]))
	}
}

// line turns cells into text, with one change of style per run.
func (m *Model) line(cells []cell) string {
	var out, run strings.Builder
	var role themes.Role
	flush := func() {
		if run.Len() > 0 {
			if role == "" {
				out.WriteString(run.String())
			} else {
				p := m.pen(role)
				out.WriteString(p.on)
				out.WriteString(run.String())
				out.WriteString(p.off)
			}
			run.Reset()
		}
	}
	for _, c := range cells {
		r := c.r
		if c.arms != 0 {
			r = m.glyphs.Lines[c.stroke][c.arms]
			if c.under != 0 {
				r = m.glyphs.Crossing(c.strokes())
			}
		}
		if r == 0 {
			r = ' '
			c.role = ""
		}
		if c.role != role {
			flush()
			role = c.role
		}
		run.WriteRune(r)
	}
	flush()
	return out.String()
}

// at returns the cell at a place of the scene, nil where it is out of sight.
func (m *Model) at(x, y int) *cell {
	x, y = x-m.ox, y-m.oy
	if x < 0 || y < 0 || x >= m.w || y >= m.h {
		return nil
	}
	return &m.buf[y*m.w+x]
}

func (m *Model) text(x, y int, s string, role themes.Role) {
	for _, r := range s {
		if c := m.at(x, y); c != nil {
			*c = cell{r: r, role: role}
		}
		x++
	}
}

// chosen reports whether a link belongs to the selection.
func (m *Model) chosen(k *api.Link) bool {
	if m.selLink != "" {
		return k.ID() == m.selLink
	}
	return m.sel != "" && (nodeOf(k.A) == m.sel || nodeOf(k.B) == m.sel)
}

func (m *Model) drawLinks(s *scene) {
	for pass := range 2 { // what is selected lies on top
		for i, path := range s.paths {
			k := m.lab.Links[i]
			chosen := m.chosen(k)
			if chosen != (pass == 1) || len(path) < 2 || !m.inSight(path) {
				continue
			}
			stroke, role := uint8(themes.StrokeSolid), m.linkRole(k)
			if role != themes.LinkUp && role != themes.LinkBad {
				stroke = themes.StrokeDotted
			}
			if chosen {
				if stroke == themes.StrokeSolid {
					stroke = themes.StrokeHeavy
				}
				if role == themes.LinkUp {
					role = themes.LinkSelected
				}
			}
			for j := 1; j < len(path); j++ {
				m.segment(path[j-1], path[j], stroke, role)
			}
			if k.Actual == lab.LinkError {
				mid := path[len(path)/2]
				if len(path) == 2 {
					mid = point{(path[0].x + path[1].x) / 2, (path[0].y + path[1].y) / 2}
				}
				m.text(mid.x, mid.y, m.glyphs.Cross, role)
			}
		}
	}
}

func (m *Model) inSight(path []point) bool {
	lo, hi := path[0], path[0]
	for _, p := range path[1:] {
		lo = point{min(lo.x, p.x), min(lo.y, p.y)}
		hi = point{max(hi.x, p.x), max(hi.y, p.y)}
	}
	return hi.x >= m.ox && lo.x < m.ox+m.w && hi.y >= m.oy && lo.y < m.oy+m.h
}

// segment adds a straight piece to what is drawn already.
func (m *Model) segment(a, b point, stroke uint8, role themes.Role) {
	put := func(x, y int, arms uint8) {
		if c := m.at(x, y); c != nil {
			c.lay(arms, stroke, role)
		}
	}
	if a.y == b.y {
		lo, hi := min(a.x, b.x), max(a.x, b.x)
		for x := max(lo, m.ox); x <= min(hi, m.ox+m.w); x++ {
			var arms uint8
			if x > lo {
				arms |= themes.ArmLeft
			}
			if x < hi {
				arms |= themes.ArmRight
			}
			put(x, a.y, arms)
		}
		return
	}
	lo, hi := min(a.y, b.y), max(a.y, b.y)
	for y := max(lo, m.oy); y <= min(hi, m.oy+m.h); y++ {
		var arms uint8
		if y > lo {
			arms |= themes.ArmUp
		}
		if y < hi {
			arms |= themes.ArmDown
		}
		put(a.x, y, arms)
	}
}

func (m *Model) drawBoxes(s *scene) {
	for i, b := range s.boxes {
		if b.x+b.w <= m.ox || b.y+b.h <= m.oy || b.x >= m.ox+m.w || b.y >= m.oy+m.h {
			continue
		}
		n := m.lab.Nodes[i]
		frame := themes.Border
		switch {
		case n.Name == m.sel:
			frame = themes.BorderFocus
		case n.Actual == lab.NodeError:
			frame = themes.Bad
		}
		label := m.glyphs.Node(n.Actual) + " " + n.Name
		role := m.nodeRole(n)
		if n.Name == m.sel {
			role = themes.Selection
		}
		if s.level == Compact {
			m.text(b.x, b.y, strings.Repeat(" ", b.w), "")
			m.text(b.x+(b.w-len([]rune(label)))/2, b.y, label, role)
			continue
		}
		m.frame(b, frame)
		if n.Actual == lab.NodeStarting {
			label += " " + strconv.Itoa(n.Progress) + "%"
		}
		m.inside(b, 1, label, role)
		if role, ok := m.roleOf(n.Name, func(k *api.Link) bool { return k.Outside != "" }); ok {
			m.text(b.x+b.w-2, b.y+b.h-2, m.glyphs.Outside, role)
		}
		if role, ok := m.roleOf(n.Name, func(k *api.Link) bool { return nodeOf(k.A) == nodeOf(k.B) }); ok {
			m.text(b.x+1, b.y+b.h-2, m.glyphs.Loop, role)
		}
		if s.level == Detail {
			about := n.Kind
			if n.Actual != lab.NodeRunning {
				about = string(n.Actual)
			}
			m.inside(b, 2, about, themes.Dim)
		}
	}
}

// roleOf reports whether a node has links that have no line, since they leave
// the lab or come back to the node, and how they are.
func (m *Model) roleOf(node string, without func(*api.Link) bool) (role themes.Role, ok bool) {
	role = themes.Good
	for _, i := range m.links[node] {
		k := m.lab.Links[i]
		if !without(k) {
			continue
		}
		ok = true
		switch {
		case k.Actual == lab.LinkError:
			return themes.Bad, true
		case k.Actual != lab.LinkUp || k.Carrier == lab.CarrierOff:
			role = themes.Dim
		}
	}
	return role, ok
}

// frame draws a box's frame over the ends of links, which become part of it.
func (m *Model) frame(b rect, role themes.Role) {
	put := func(x, y int, arms uint8) {
		c := m.at(x, y)
		if c == nil {
			return
		}
		arms |= c.arms & (themes.ArmUp | themes.ArmDown | themes.ArmLeft | themes.ArmRight)
		*c = cell{arms: arms, role: role, stroke: themes.StrokeSolid}
	}
	for x := b.x + 1; x < b.x+b.w-1; x++ {
		put(x, b.y, themes.ArmLeft|themes.ArmRight)
		put(x, b.y+b.h-1, themes.ArmLeft|themes.ArmRight)
	}
	for y := b.y + 1; y < b.y+b.h-1; y++ {
		put(b.x, y, themes.ArmUp|themes.ArmDown)
		put(b.x+b.w-1, y, themes.ArmUp|themes.ArmDown)
		for x := b.x + 1; x < b.x+b.w-1; x++ {
			if c := m.at(x, y); c != nil {
				*c = cell{}
			}
		}
	}
	put(b.x, b.y, themes.ArmDown|themes.ArmRight)
	put(b.x+b.w-1, b.y, themes.ArmDown|themes.ArmLeft)
	put(b.x, b.y+b.h-1, themes.ArmUp|themes.ArmRight)
	put(b.x+b.w-1, b.y+b.h-1, themes.ArmUp|themes.ArmLeft)
}

// inside writes a line into a box, in its middle.
func (m *Model) inside(b rect, row int, s string, role themes.Role) {
	runes := []rune(s)
	if room := b.w - 2; len(runes) > room {
		runes = runes[:room]
	}
	left := b.x + (b.w-len(runes))/2
	if role == themes.Selection { // a bar, not a patch
		m.text(b.x+1, b.y+row, strings.Repeat(" ", b.w-2), role)
	}
	m.text(left, b.y+row, string(runes), role)
}

// drawNames puts the interfaces' names beside the ends of links: of all in
// detail, of those selected otherwise.
func (m *Model) drawNames(s *scene) {
	for i, path := range s.paths {
		k := m.lab.Links[i]
		if len(path) < 2 || (s.level != Detail && !m.chosen(k)) {
			continue
		}
		first, last := k.A, k.B
		if s.flip[i] {
			first, last = last, first
		}
		role := themes.Dim
		if m.chosen(k) {
			role = themes.Accent
		}
		m.name(path[0], path[1], interfaceOf(first), role)
		m.name(path[len(path)-1], path[len(path)-2], interfaceOf(last), role)
	}
}

// name writes where nothing else is: beside a line that leaves a box
// upwards or downwards, above one that leaves it sideways.
func (m *Model) name(end, next point, text string, role themes.Role) {
	var tries []point
	switch {
	case next.y > end.y:
		tries = []point{{end.x + 1, end.y + 1}, {end.x - len(text), end.y + 1}}
	case next.y < end.y:
		tries = []point{{end.x + 1, end.y - 1}, {end.x - len(text), end.y - 1}}
	case next.x > end.x:
		tries = []point{{end.x + 1, end.y - 1}, {end.x + 1, end.y + 1}}
	default:
		tries = []point{{end.x - len(text), end.y - 1}, {end.x - len(text), end.y + 1}}
	}
	for _, p := range tries {
		if m.empty(p.x, p.y, len(text)) {
			m.text(p.x, p.y, text, role)
			return
		}
	}
}

func (m *Model) empty(x, y, n int) bool {
	for i := -1; i <= n; i++ {
		c := m.at(x+i, y)
		if i >= 0 && i < n && c == nil {
			return false
		}
		if c != nil && (c.r != 0 || (c.arms != 0 && i >= 0 && i < n)) {
			return false
		}
	}
	return true
}

// drawEdges shows where the scene goes on out of sight.
func (m *Model) drawEdges(s *scene) {
	arrows := []string{"◀", "▶", "▲", "▼"}
	if m.glyphs.ASCII {
		arrows = []string{"<", ">", "^", "v"}
	}
	mark := func(x, y int, s string) { m.text(x+m.ox, y+m.oy, s, themes.Key) }
	if m.ox > 0 {
		mark(0, m.h/2, arrows[0])
	}
	if s.w-m.ox > m.w {
		mark(m.w-1, m.h/2, arrows[1])
	}
	if m.oy > 0 {
		mark(m.w/2, 0, arrows[2])
	}
	if s.h-m.oy > m.h {
		mark(m.w/2, m.h-1, arrows[3])
	}
}
