package canvas

import (
	"slices"

	"archetype/themes"
)

// The sides of a node that a name can stand at.
type side int

const (
	right side = iota
	left
	below
	above
)

// beside is where a name of a width stands at a side of a node.
func beside(b rect, at side, width int) rect {
	switch at {
	case right:
		return rect{b.x + 2, b.y, width, 1}
	case left:
		return rect{b.x - 1 - width, b.y, width, 1}
	case above:
		return rect{b.x - width/2, b.y - 1, width, 1}
	}
	return rect{b.x - width/2, b.y + 1, width, 1}
}

// nameOverview writes the names of nodes where they hide no node and no other
// name: the selected one first, then those that need attention, then row by
// row, all of a row or, where that is too much, each second or third, or as many
// as find room: by them the others are known.
func (m *Model) nameOverview(s *scene) {
	m.named = append(m.named[:0], make([]rect, len(s.boxes))...)
	if s.track { // whatever is selected, the names of the others stay where they are
		m.nameTrack(s)
	}
	if i, ok := m.index[m.sel]; ok {
		m.nameAt(s, i, right, left, below, above)
	}
	for i, n := range m.lab.Nodes {
		if role := m.nodeRole(n); role == themes.Bad || role == themes.Busy {
			m.nameAt(s, i, right, below, above, left)
		}
	}
	if s.circle {
		for i, b := range s.boxes {
			outside, inside := right, left
			if 2*b.x < s.w-2 {
				outside, inside = left, right
			}
			m.nameAt(s, i, outside, above, below, inside)
		}
		return
	}
	if s.track {
		return
	}
	for i, row := range s.lines {
		tries := [][2]side{{right, right}, {below, below}, {above, above}, {above, below}}
		switch {
		case i == len(s.lines)-1:
			tries = [][2]side{{below, below}, {right, right}, {above, above}, {above, below}}
		case i == 0:
			tries = [][2]side{{above, above}, {right, right}, {below, below}, {above, below}}
		}
		named := false
		for apart := 1; apart <= len(row) && !named; apart++ {
			some := each(row, apart)
			named = slices.ContainsFunc(tries, func(by [2]side) bool { return m.nameRow(s, some, by) })
		}
	}
}

// each is every so manyth of a row, from its first on.
func each(row []int, apart int) []int {
	var out []int
	for i := 0; i < len(row); i += apart {
		out = append(out, row[i])
	}
	return out
}

// nameTrack names the nodes of a line or ring: above and below by turns, those
// at the ends of a row outside. What finds no room beside the lines stands on them.
func (m *Model) nameTrack(s *scene) {
	for _, over := range []bool{false, true} {
		s.track = !over
		for _, row := range s.lines {
			for i, n := range row {
				sides := []side{above, below}
				if i%2 == 1 {
					sides = []side{below, above}
				}
				switch {
				case i == len(row)-1:
					sides = append([]side{right}, sides...)
				case i == 0:
					sides = append([]side{left}, sides...)
				}
				m.nameAt(s, n, sides...)
			}
		}
	}
	s.track = true
}

// free reports whether there is nothing at all in cells.
func (m *Model) free(x, y, n int) bool {
	for i := range n {
		if c := m.at(x+i, y); c == nil || (c.r != 0 && c.r != ' ') {
			return false
		}
	}
	return true
}

// nameRow names all nodes of a row, on two sides by turns, if it can.
func (m *Model) nameRow(s *scene, row []int, by [2]side) bool {
	var last [4]int // where the last name of each side ends
	for i, n := range row {
		at := by[i%2]
		r := beside(s.boxes[n], at, len(m.lab.Nodes[n].Name))
		if m.named[n].w > 0 {
			continue
		}
		if !m.noNode(r.x-1, r.y, r.w+2) || (last[at] > 0 && r.x <= last[at]) {
			return false
		}
		last[at] = r.x + r.w
	}
	for i, n := range row {
		if m.named[n].w == 0 {
			m.nameAt(s, n, by[i%2])
		}
	}
	return true
}

// nameAt names a node at the first of the sides that has room.
func (m *Model) nameAt(s *scene, node int, sides ...side) {
	if m.named[node].w > 0 {
		return
	}
	name := m.lab.Nodes[node].Name
	for _, at := range sides {
		r := beside(s.boxes[node], at, len(name))
		if !m.noNode(r.x, r.y, r.w) || !m.apart(r.x-1, r.y) && at != right || !m.apart(r.x+r.w, r.y) && at != left {
			continue
		}
		if s.track && !m.free(r.x, r.y, r.w) {
			continue
		}
		if !s.track {
			m.text(r.x-1, r.y, " ", "")
			m.text(r.x+r.w, r.y, " ", "")
		}
		m.text(r.x, r.y, name, m.overviewRole(node))
		m.named[node] = r
		return
	}
}

// noNode reports whether cells hold nothing but lines, and are in sight.
func (m *Model) noNode(x, y, n int) bool {
	for i := range n {
		if c := m.at(x+i, y); c == nil || !c.bare() {
			return false
		}
	}
	return true
}

// apart reports whether a cell does not hold the letter of a name.
func (m *Model) apart(x, y int) bool {
	c := m.at(x, y)
	return c == nil || c.bare()
}

// bare reports whether there is nothing in a cell but perhaps a line.
func (c *cell) bare() bool {
	return c.r == 0 || c.r == ' ' || c.r == asciiDot || c.r >= 0x2800 && c.r <= 0x28ff
}
