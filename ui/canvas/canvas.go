// Package canvas lays a topology out for the eye and draws it in cells of
// the screen, live.
package canvas

import (
	"strings"

	"charm.land/lipgloss/v2"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

// Model is the canvas of one lab at a time. It does no I/O; it is used from
// one goroutine.
type Model struct {
	theme  *themes.Theme
	glyphs themes.Glyphs
	w, h   int

	lab     *api.Lab
	index   map[string]int
	links   map[string][]int // of each node
	shape   string           // what the layout depends on
	plan    *plan
	scenes  map[Level]*scene
	level   Level
	auto    bool // the level follows the size
	ox, oy  int  // what of the scene is at the top left
	sel     string
	selLink string

	seen map[string]look // how other labs were looked at

	near  map[string]bool // nodes joined to the selected one, while the overview is drawn
	named []rect          // names that were written in the overview, by node

	fresh bool // view is what is to be seen
	view  []string
	buf   []cell
	pens  map[themes.Role]pen
}

// pen is what a theme writes before and after text of a role: worked out once
// instead of for each run of cells.
type pen struct{ on, off string }

func (m *Model) pen(r themes.Role) pen {
	p, known := m.pens[r]
	if !known {
		p.on, p.off, _ = strings.Cut(m.styleOf(r).Render("x"), "x")
		if m.pens == nil {
			m.pens = map[themes.Role]pen{}
		}
		m.pens[r] = p
	}
	return p
}

// look is how a lab is looked at: it is so again when the user comes back.
type look struct {
	shape  string
	level  Level
	auto   bool
	ox, oy int
	sel    string
}

// New makes an empty canvas.
func New(t *themes.Theme, g themes.Glyphs) *Model {
	return &Model{theme: t, glyphs: g, auto: true, scenes: map[Level]*scene{}, seen: map[string]look{}}
}

// SetTheme changes the colours.
func (m *Model) SetTheme(t *themes.Theme) { m.theme, m.pens, m.fresh = t, nil, false }

// SetGlyphs changes the shapes.
func (m *Model) SetGlyphs(g themes.Glyphs) {
	m.glyphs, m.fresh = g, false
	delete(m.scenes, Overview) // where lines are finer, more of them are drawn
}

// SetLab shows a lab as it is now. Only when its nodes or links are others
// than before it is laid out anew.
func (m *Model) SetLab(l *api.Lab) {
	if l == m.lab {
		return
	}
	another := m.lab == nil || l == nil || m.lab.Name != l.Name
	if another && m.lab != nil {
		m.seen[m.lab.Name] = look{m.shape, m.level, m.auto, m.ox, m.oy, m.sel}
	}
	m.lab, m.fresh = l, false
	if l == nil {
		m.plan, m.shape = nil, ""
		return
	}
	shape := shapeOf(l)
	if shape == m.shape && !another {
		return
	}
	m.shape = shape
	m.plan = newPlan(l)
	m.scenes = map[Level]*scene{}
	m.index, m.links = map[string]int{}, map[string][]int{}
	for i, n := range l.Nodes {
		m.index[n.Name] = i
	}
	for i, k := range l.Links {
		a, b := nodeOf(k.A), nodeOf(k.B)
		m.links[a] = append(m.links[a], i)
		if b != a {
			m.links[b] = append(m.links[b], i)
		}
	}
	if _, ok := m.index[m.sel]; !ok {
		m.sel = ""
		if len(l.Nodes) > 0 {
			m.sel = l.Nodes[0].Name
		}
	}
	if another {
		m.auto, m.selLink = true, ""
		if was, ok := m.seen[l.Name]; ok && was.shape == shape {
			m.level, m.auto, m.ox, m.oy, m.sel = was.level, was.auto, was.ox, was.oy, was.sel
		}
	}
	if m.auto {
		m.Fit()
	}
	m.keepInside()
}

func shapeOf(l *api.Lab) string {
	var b strings.Builder
	for _, n := range l.Nodes {
		b.WriteString(n.Name + "\n")
	}
	for _, k := range l.Links {
		b.WriteString(k.A + " " + k.B + "\n")
	}
	return b.String()
}

// Resize sets the size of the view, in cells.
func (m *Model) Resize(w, h int) {
	if w == m.w && h == m.h {
		return
	}
	m.w, m.h, m.fresh = w, h, false
	delete(m.scenes, Overview) // it is made for the size
	if m.auto {
		m.Fit()
	} else if m.plan != nil { // what has room is in the middle, the rest stays
		s := m.scene(m.level)
		if s.w <= w {
			m.ox = -(w - s.w) / 2
		}
		if s.h <= h {
			m.oy = -(h - s.h) / 2
		}
	}
	m.keepInside()
}

// boxPadding is the frame, the glyph, spaces and room for the per cent.
const boxPadding = 10

func (m *Model) scene(level Level) *scene {
	if s := m.scenes[level]; s != nil {
		return s
	}
	if level == Overview {
		s := m.plan.overview(m.w, m.h)
		s.hidden = m.plan.patches(s, m.glyphs.ASCII)
		m.scenes[level] = s
		return s
	}
	alike := 0 // boxes of one width are easier on the eye
	for _, n := range m.lab.Nodes {
		alike = max(alike, min(len(n.Name), 14))
	}
	s := m.plan.scene(level, func(n int) int {
		w := len(m.lab.Nodes[n].Name)
		switch level {
		case Compact:
			return w + 2 // the glyph, and no frame
		case Detail:
			w = max(w, len(m.lab.Nodes[n].Kind)-2)
		}
		return (max(w, alike) + boxPadding) | 1
	}, func(link, node int) int {
		k := m.lab.Links[link]
		if nodeOf(k.A) == m.lab.Nodes[node].Name {
			return len(interfaceOf(k.A))
		}
		return len(interfaceOf(k.B))
	})
	m.scenes[level] = s
	return s
}

// Fit chooses the nearest level at which all is seen, and centres the view.
func (m *Model) Fit() {
	m.auto, m.fresh = true, false
	if m.plan == nil || m.w <= 0 {
		return
	}
	m.level = Overview
	for _, l := range []Level{Detail, Normal, Compact} {
		if len(m.lab.Nodes) > 400 {
			break // far too many to be worth trying
		}
		if s := m.scene(l); s.w <= m.w && s.h <= m.h {
			m.level = l
			break
		}
	}
	m.centre()
}

func (m *Model) centre() {
	s := m.scene(m.level)
	m.ox, m.oy = -(m.w-s.w)/2, -(m.h-s.h)/2
	if s.w > m.w {
		m.ox = 0
	}
	if s.h > m.h {
		m.oy = 0
	}
}

// Level is how closely the scene is looked at.
func (m *Model) Level() Level { return m.level }

// Zoom goes nearer or farther by one level, keeping the selection in sight.
func (m *Model) Zoom(by int) {
	to := Level(max(int(Overview), min(int(Detail), int(m.level)+by)))
	if m.plan == nil || to == m.level {
		return
	}
	m.level, m.auto, m.fresh = to, false, false
	m.centre()
	m.reveal()
}

// Pan moves the view over the scene, in cells.
func (m *Model) Pan(dx, dy int) {
	m.ox, m.oy, m.auto, m.fresh = m.ox+dx, m.oy+dy, false, false
	m.keepInside()
}

// keepInside keeps some of the scene in sight.
func (m *Model) keepInside() {
	if m.plan == nil || m.w <= 0 {
		return
	}
	s := m.scene(m.level)
	bound := func(o, size, view int) int {
		if size <= view {
			return max(size-view, min(0, o))
		}
		return max(0, min(size-view, o))
	}
	m.ox, m.oy = bound(m.ox, s.w, m.w), bound(m.oy, s.h, m.h)
}

// Selected is the selected node.
func (m *Model) Selected() string { return m.sel }

// Select selects a node and brings it into sight.
func (m *Model) Select(node string) {
	if node == m.sel && m.selLink == "" {
		return
	}
	m.sel, m.selLink, m.fresh = node, "", false
	m.reveal()
}

// SelectLink highlights one link, by its identity; "" is none.
func (m *Model) SelectLink(id string) {
	if id != m.selLink {
		m.selLink, m.fresh = id, false
	}
}

func (m *Model) reveal() {
	i, ok := m.index[m.sel]
	if !ok || m.plan == nil || m.w <= 0 {
		return
	}
	b := m.scene(m.level).boxes[i]
	into := func(o, at, size, view int) int {
		if at < o {
			return at - 1
		}
		if at+size > o+view {
			return at + size - view + 1
		}
		return o
	}
	m.ox, m.oy = into(m.ox, b.x, b.w, m.w), into(m.oy, b.y, b.h, m.h)
	m.keepInside()
}

// Direction is where Move goes.
type Direction int

// The four directions.
const (
	Left Direction = iota
	Right
	Up
	Down
)

// Move selects the nearest node in a direction.
func (m *Model) Move(d Direction) {
	i, ok := m.index[m.sel]
	if !ok || m.plan == nil {
		return
	}
	s := m.scene(m.level)
	at := s.boxes[i]
	cx, cy := at.x+at.w/2, at.y+at.h/2
	best, bestCost := -1, 0
	for j, b := range s.boxes {
		if j == i {
			continue
		}
		dx, dy := b.x+b.w/2-cx, b.y+b.h/2-cy
		var along, across int
		switch d {
		case Left:
			along, across = -dx, abs(dy)*6
		case Right:
			along, across = dx, abs(dy)*6
		case Up:
			along, across = -dy*2, abs(dx)
		case Down:
			along, across = dy*2, abs(dx)
		}
		if along <= 0 {
			continue
		}
		if cost := along + 2*across; best < 0 || cost < bestCost {
			best, bestCost = j, cost
		}
	}
	if best >= 0 {
		m.Select(m.lab.Nodes[best].Name)
	}
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}

// Hit returns what is at a cell of the view: a node, a link's identity, or
// neither.
func (m *Model) Hit(x, y int) (node, link string) {
	if m.plan == nil || x < 0 || y < 0 || x >= m.w || y >= m.h {
		return "", ""
	}
	s := m.scene(m.level)
	x, y = x+m.ox, y+m.oy
	for i, b := range s.boxes {
		if b.has(x, y) || (m.level == Overview && i < len(m.named) && m.named[i].has(x, y)) {
			return m.lab.Nodes[i].Name, ""
		}
	}
	for i, path := range s.paths {
		for j := 1; j < len(path); j++ {
			a, b := path[j-1], path[j]
			if x >= min(a.x, b.x) && x <= max(a.x, b.x) && y >= min(a.y, b.y) && y <= max(a.y, b.y) {
				return "", m.lab.Links[i].ID()
			}
		}
	}
	return "", ""
}

// Lines is the view, one string per row, each of the view's width.
func (m *Model) Lines() []string {
	if !m.fresh {
		m.draw()
		m.fresh = true
	}
	return m.view
}

func (m *Model) nodeRole(n *api.Node) themes.Role { return themes.Node(n.Actual) }

func (m *Model) linkRole(k *api.Link) themes.Role {
	if k.Actual == lab.LinkUp && k.Carrier == lab.CarrierOff {
		return themes.LinkDown
	}
	return themes.Link(k.Actual)
}

func (m *Model) styleOf(r themes.Role) lipgloss.Style { return m.theme.Style(r) }

// SelectedLink is the link that is highlighted, "" for none.
func (m *Model) SelectedLink() string { return m.selLink }

// Nearest and Farthest report whether Zoom goes no further.
func (m *Model) Nearest() bool { return m.level == Detail }

// Farthest reports whether Zoom goes no farther away.
func (m *Model) Farthest() bool { return m.level == Overview }

// First selects the first node of the file.
func (m *Model) First() { m.selectAt(0) }

// Last selects the last node of the file.
func (m *Model) Last() { m.selectAt(len(m.index) - 1) }

func (m *Model) selectAt(i int) {
	if m.lab != nil && i >= 0 && i < len(m.lab.Nodes) {
		m.Select(m.lab.Nodes[i].Name)
	}
}
