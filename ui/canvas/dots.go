package canvas

import "archetype/themes"

// drawOverview shows a node as one cell, and links as fine lines of dots:
// eight of them to a cell or, where the terminal cannot, one.
func (m *Model) drawOverview(s *scene) {
	m.drawDots(s)
	near := make(map[string]bool, len(m.links[m.sel]))
	for _, i := range m.links[m.sel] {
		near[nodeOf(m.lab.Links[i].A)] = true
		near[nodeOf(m.lab.Links[i].B)] = true
	}
	m.near = near
	for i, b := range s.boxes {
		m.text(b.x, b.y, m.glyphs.Node(m.lab.Nodes[i].Actual), m.overviewRole(i))
	}
	m.nameOverview(s)
}

// overviewRole is a node's colour in the overview: what the selected one is
// joined to stands out.
func (m *Model) overviewRole(node int) themes.Role {
	n := m.lab.Nodes[node]
	role := m.nodeRole(n)
	switch {
	case n.Name == m.sel:
		return themes.Selection
	case m.near[n.Name] && role == themes.Good:
		return themes.Accent
	}
	return role
}

// brailleBits are the dots of U+2800, by column and row.
var brailleBits = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

// asciiDot is a dot of a line that is drawn with one to a cell.
const asciiDot = '.'

func (m *Model) drawDots(s *scene) {
	for pass := range 2 {
		for i, e := range m.plan.ends {
			if e[0] < 0 || e[0] == e[1] {
				continue
			}
			k := m.lab.Links[i]
			role := m.linkRole(k)
			if m.chosen(k) != (pass == 1) || (pass == 0 && role == themes.LinkUp && s.hidden[s.across(e)]) {
				continue
			}
			if pass == 1 && role == themes.LinkUp {
				role = themes.LinkSelected
			} else if role == themes.LinkUp {
				role = themes.Border
			}
			a, b := s.boxes[e[0]], s.boxes[e[1]]
			m.dots(2*a.x+1, 4*a.y+2, 2*b.x+1, 4*b.y+2, role)
		}
	}
}

// across is which rows of the overview a link joins.
func (s *scene) across(e [2]int) [2]int {
	a, b := s.boxes[e[0]].y, s.boxes[e[1]].y
	return [2]int{min(a, b), max(a, b)}
}

// dotsPerCell is how many lines may pass a cell, on the average, before they
// are one grey patch.
const dotsPerCell = 2

// patches finds the rows between which all links together would be one grey
// patch: of these only the selection's are drawn, and those that are not up.
func (p *plan) patches(s *scene, ascii bool) map[[2]int]bool {
	if p.track {
		return nil
	}
	limit := dotsPerCell * 8
	if ascii {
		limit = 2
	}
	cells := map[[2]int]int{}
	all := 0
	for _, e := range p.ends {
		if e[0] >= 0 && e[0] != e[1] {
			a, b := s.boxes[e[0]], s.boxes[e[1]]
			n := max(abs(a.x-b.x), abs(a.y-b.y))
			all += n
			cells[s.across(e)] += n
		}
	}
	out := map[[2]int]bool{}
	for rows, n := range cells {
		room := s.w * max(1, rows[1]-rows[0])
		if s.circle {
			n, room = all, s.w*s.h
		}
		if 8*n > limit*room {
			out[rows] = true
		}
	}
	return out
}

// Hides reports whether there are links that are not drawn, since all
// together could not be told apart.
func (m *Model) Hides() bool {
	return m.plan != nil && m.level == Overview && len(m.scene(Overview).hidden) > 0
}

// dots draws a straight line after Bresenham.
func (m *Model) dots(x0, y0, x1, y1 int, role themes.Role) {
	dx, dy := abs(x1-x0), -abs(y1-y0)
	sx, sy := 1, 1
	if x0 > x1 {
		sx = -1
	}
	if y0 > y1 {
		sy = -1
	}
	for e := dx + dy; ; {
		if c := m.at(x0/2, y0/4); c != nil {
			c.role = role
			switch {
			case m.glyphs.ASCII:
				c.r = asciiDot
			case c.r < 0x2800 || c.r > 0x28ff:
				c.r = 0x2800
				fallthrough
			default:
				c.r |= brailleBits[x0&1][y0&3]
			}
		}
		if x0 == x1 && y0 == y1 {
			return
		}
		e2 := 2 * e
		if e2 >= dy {
			e += dy
			x0 += sx
		}
		if e2 <= dx {
			e += dx
			y0 += sy
		}
	}
}
