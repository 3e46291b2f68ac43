package canvas

import "archetype/themes"

// overview places every node in a cell of its own, layer by layer, within
// the width of the view where that is possible.
func (p *plan) overview(w, h int) *scene {
	s := &scene{level: Overview, boxes: make([]rect, p.nodes), paths: make([][]point, len(p.ends)), flip: make([]bool, len(p.ends))}
	if p.track {
		return p.overviewTrack(s, w, h)
	}
	w = max(w-2, 20)
	var layers [][]int
	for i, row := range p.rows {
		if i == 0 || p.layer[i] != p.layer[i-1] {
			layers = append(layers, nil)
		}
		for _, sp := range row {
			if n := p.spots[sp].node; n >= 0 {
				layers[len(layers)-1] = append(layers[len(layers)-1], n)
			}
		}
	}
	perRow := w / 2
	rows, widest := 0, 0
	for _, l := range layers {
		rows += (len(l) + perRow - 1) / perRow
		widest = max(widest, min(perRow, len(l)))
	}
	between := 4
	for between > 1 && rows+between*(len(layers)-1) > h {
		between--
	}
	span := min(w, max(2*widest, min(6*widest, w)))
	for _, l := range layers {
		parts := max(1, (len(l)+perRow-1)/perRow)
		for i := range parts {
			lo, hi := i*len(l)/parts, (i+1)*len(l)/parts
			for j, n := range l[lo:hi] {
				s.boxes[n] = rect{1 + (2*j+1)*span/(2*(hi-lo)), s.h, 1, 1}
			}
			s.h++
		}
		s.h += between - 1
	}
	s.h -= between - 1
	s.w = span + 2
	return s
}

func (p *plan) overviewTrack(s *scene, w, h int) *scene {
	pitch := 2
	if 2*len(p.rows)-1 > h {
		pitch = 1
	}
	last := 0.0
	for _, sp := range p.spots {
		last = max(last, sp.col)
	}
	step := 4
	for step > 2 && int(last)*step+3 > w {
		step--
	}
	for r, row := range p.rows {
		for i, sp := range row {
			spot := p.spots[sp]
			if spot.node < 0 {
				continue
			}
			x := int(spot.col*float64(step) + 0.5)
			if p.layer[r] == 1<<20 { // without links
				x = step * i
			}
			s.boxes[spot.node] = rect{1 + x, spot.row * pitch, 1, 1}
			s.w = max(s.w, x+3)
		}
	}
	s.h = (len(p.rows)-1)*pitch + 1
	return s
}

// drawOverview shows a node as one cell, and links as fine lines of dots
// where the terminal can: eight dots to a cell.
func (m *Model) drawOverview(s *scene) {
	if !m.glyphs.ASCII {
		m.drawDots(s)
	}
	near := map[string]bool{}
	for _, i := range m.links[m.sel] {
		near[nodeOf(m.lab.Links[i].A)] = true
		near[nodeOf(m.lab.Links[i].B)] = true
	}
	for i, b := range s.boxes {
		n := m.lab.Nodes[i]
		role := m.nodeRole(n)
		if n.Name == m.sel {
			role = themes.Selection
		} else if near[n.Name] && role == themes.Good {
			role = themes.Accent
		}
		m.text(b.x, b.y, m.glyphs.Node(n.Actual), role)
	}
	if i, ok := m.index[m.sel]; ok { // the only name there is room for, and only where it hides no node
		b := s.boxes[i]
		name := " " + m.sel + " "
		for _, x := range []int{b.x + 1, b.x - len(name)} {
			if m.noNode(x, b.y, len(name)) {
				m.text(x, b.y, name, themes.Selection)
				break
			}
		}
	}
}

func (m *Model) noNode(x, y, n int) bool {
	for i := range n {
		c := m.at(x+i, y)
		if c == nil || (c.r != 0 && (c.r < 0x2800 || c.r > 0x28ff)) {
			return false
		}
	}
	return true
}

// brailleBits are the dots of U+2800, by column and row.
var brailleBits = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

func (m *Model) drawDots(s *scene) {
	dense := m.dense(s)
	for pass := range 2 {
		for i, e := range m.plan.ends {
			if e[0] < 0 || e[0] == e[1] {
				continue
			}
			k := m.lab.Links[i]
			if m.chosen(k) != (pass == 1) || (pass == 0 && dense) {
				continue
			}
			role := m.linkRole(k)
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

// dense reports whether all links together would be one grey patch; then
// only those of the selection are drawn.
func (m *Model) dense(s *scene) bool {
	if m.plan.track {
		return false
	}
	cells := 0
	for _, e := range m.plan.ends {
		if e[0] >= 0 {
			a, b := s.boxes[e[0]], s.boxes[e[1]]
			cells += max(abs(a.x-b.x), abs(a.y-b.y))
		}
	}
	return cells > m.w*m.h/2
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
			if c.r < 0x2800 || c.r > 0x28ff {
				c.r = 0x2800
			}
			c.r |= brailleBits[x0&1][y0&3]
			c.role = role
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
