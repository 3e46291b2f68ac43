package ui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/internal/plain"
	"archetype/themes"
	"archetype/ui/canvas"
)

// The smallest terminal that is drawn on, and the smallest that shows all
// panes at once; in cells.
const (
	leastW, leastH = 60, 16
	wideW, wideH   = 100, 28
)

// View is the screen. It is drawn anew only when something happened. Whatever
// the panes and the consoles put on it, the terminal gets words and colours
// alone.
func (m *Model) View() tea.View {
	if m.dirty || m.view == "" {
		m.curs = nil
		m.dirty = false
		guarded(func(c tea.Msg) { go m.send(c) }, func() { m.view = plain.Screen(strings.Join(m.screenLines(), "\n")) })
	}
	v := tea.NewView(m.view)
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	v.WindowTitle = "archetype"
	if m.labName != "" {
		v.WindowTitle = "archetype: " + clean(m.labName)
	}
	v.Cursor = m.curs
	return v
}

func (m *Model) screenLines() []string {
	if m.w == 0 {
		return []string{"archetype"}
	}
	if m.w < leastW || m.h < leastH {
		return m.center([]string{fmt.Sprintf("%dx%d is too small:", m.w, m.h), fmt.Sprintf("archetype needs %dx%d.", leastW, leastH), "", "Labs go on running. q leaves."}, m.w, m.h)
	}
	m.areas, m.tabAt = [paneCount]area{}, [paneCount]area{}
	h := m.h - 2
	var body []string
	view := m.fullView()
	switch {
	case m.screen == screenConsole && len(m.consoles) > 0:
		body = m.consoleLines(m.w, h)
	case view != nil:
		body = view.lines(m, m.w, h)
	case m.screen == screenMain:
		body = m.mainLines(m.w, h)
	default:
		body = m.labsLines(m.w, h)
	}
	lines := append([]string{m.header()}, body...)
	foot := m.footer()
	lines = append(lines[:min(len(lines), m.h-len(foot))], foot...)
	if len(m.dialogs) > 0 {
		m.curs = nil
		lines = m.overlay(lines, m.dialogs[len(m.dialogs)-1])
	}
	return lines
}

func (m *Model) center(lines []string, w, h int) []string {
	out := make([]string, 0, h)
	for range max(0, (h-len(lines))/2) {
		out = append(out, strings.Repeat(" ", w))
	}
	for _, l := range lines {
		if len(out) < h {
			out = append(out, m.fit(strings.Repeat(" ", max(0, (w-ansi.StringWidth(l))/2))+l, w))
		}
	}
	for len(out) < h {
		out = append(out, strings.Repeat(" ", w))
	}
	return out
}

// header says what is shown and how it is.
func (m *Model) header() string {
	m.labAt = area{}
	left := m.paint(themes.Title, " archetype ")
	right := m.paint(themes.Key, m.keyOf("help")) + m.paint(themes.Dim, " help ")
	if m.w >= wideW {
		right = m.paint(themes.Key, m.keyOf("commands")) + m.paint(themes.Dim, " commands  ") + right
	}
	switch l := m.lab(); {
	case m.lost != nil:
		left += m.paint(themes.Bad, "  no engine: "+clean(m.lost.Error())+" (trying again)")
	case m.snap == nil:
		left += m.paint(themes.Dim, "  starting the engine")
	case l != nil && !m.amongLabs():
		t := l.Tally()
		role := themes.Lab(l.State)
		name := m.fitName(l.Name, min(ansi.StringWidth(l.Name), m.w/3)) + " " + m.glyphs.Down
		m.labAt = area{ansi.StringWidth(left) + 2, 0, ansi.StringWidth(name), 1}
		left += "  " + m.paint(themes.Accent, name) + "  " + m.paint(role, fmt.Sprintf("%d/%d running", t.Running, len(l.Nodes))) +
			"  " + fmt.Sprintf("%d/%d links up", t.Up, len(l.Links))
		if t.Dark > 0 {
			left += m.paint(themes.Busy, fmt.Sprintf(", %d without carrier", t.Dark))
		}
		if bad := m.failed(t); bad != "" {
			left += "  " + m.paint(themes.Bad, m.glyphs.Cross+" "+bad)
		}
		for _, s := range l.Silent {
			left += "  " + m.paint(themes.Bad, clean(s.Backend)+" does not answer")
		}
		if n := len(m.running()); n > 0 {
			left += "  " + m.paint(themes.Busy, plural(n, "job"))
		}
		with := m.paint(themes.Dim, l.Provider+" "+m.glyphs.Dot+" "+l.Network+"  ") + right
		if ansi.StringWidth(left)+2+ansi.StringWidth(with) <= m.w {
			right = with
		}
	default:
		left += "  " + plural(len(m.snap.Labs), "lab") + " on this machine"
	}
	return m.fit(left, m.w-ansi.StringWidth(right)-1) + " " + right
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// footer shows the keys that work here or, when there is one, a message: the
// whole of it, over as many lines as that takes.
func (m *Model) footer() []string {
	if m.flash != "" {
		role := themes.Bad
		if m.flashOK {
			role = themes.Good
		}
		var out []string
		for _, l := range wrapped(clean(m.flash), m.w-2) {
			if len(out) == m.h/2 {
				break
			}
			out = append(out, m.fit(" "+m.paint(role, l), m.w))
		}
		return out
	}
	if lines := m.driftLines(); lines != nil {
		return lines
	}
	if m.inConsole() && m.consoles[m.console].prefix {
		return m.hintLines(m.hints(), m.w)
	}
	return []string{m.fit(m.hintLine(m.hints(), m.w), m.w)}
}

// hintLine shows as many keys as there is room for; those that lead
// elsewhere and out are always among them.
func (m *Model) hintLine(hints []hint, room int) string {
	width := func(h hint) int { return ansi.StringWidth(h.key) + ansi.StringWidth(h.text) + 3 }
	always := func(h hint) bool {
		return h.text == "pane" || h.text == "quit" || h.text == "help" || h.text == "back"
	}
	shown := make([]hint, 0, len(hints))
	for _, h := range hints {
		if h.text == "help" && h.key == m.keyOf("help") && !m.inConsole() {
			continue // it is in the header
		}
		if always(h) {
			room -= width(h)
		}
		shown = append(shown, h)
	}
	var b strings.Builder
	for _, h := range shown {
		if !always(h) {
			if room -= width(h); room < 0 {
				room += width(h)
				continue
			}
		}
		role := themes.Key
		if h.off {
			role = themes.Dim
		}
		b.WriteString(" " + m.paint(role, h.key) + " " + m.paint(themes.Dim, h.text) + " ")
	}
	return b.String()
}

// hintLines shows all of them, over as many lines as that takes.
func (m *Model) hintLines(hints []hint, w int) []string {
	var out []string
	line, used := "", 0
	for _, h := range hints {
		text := " " + m.paint(themes.Key, h.key) + " " + m.paint(themes.Dim, h.text) + " "
		n := ansi.StringWidth(text)
		if used+n > w && used > 0 {
			out, line, used = append(out, m.fit(line, w)), "", 0
		}
		line, used = line+text, used+n
	}
	return append(out, m.fit(line, w))
}

// tips are the keys on the frame of the pane with the focus.
func (m *Model) tips(p pane) string {
	var out []string
	for _, a := range actions {
		if a.tips != "" && a.tip == p && a.where(m) && a.refusal(m) == "" {
			out = append(out, m.keysOf(a)[0]+" "+a.tips)
		}
	}
	return strings.Join(out, "  ")
}

// frame draws a pane around lines of its inner width.
func (m *Model) frame(title, foot string, lines []string, w, h int, focused bool) []string {
	role := themes.Border
	titleRole := themes.Dim
	if focused {
		role, titleRole = themes.BorderFocus, themes.Accent
	}
	g := &m.glyphs
	edge := func(l, text string, textRole themes.Role, r string) string {
		if text != "" {
			text = " " + ansi.Truncate(text, w-6, g.More) + " "
		}
		rest := w - 3 - ansi.StringWidth(text)
		return m.paint(role, l+g.Horizontal) + m.paint(textRole, text) + m.paint(role, strings.Repeat(g.Horizontal, max(0, rest))+r)
	}
	out := make([]string, 0, h)
	out = append(out, edge(g.TopLeft, title, titleRole, g.TopRight))
	// The sides are alike with the focus and without: terminals are sent rows
	// from the first change in them to the last, so that would be all there is.
	side := m.paint(themes.Border, g.Vertical)
	blank := strings.Repeat(" ", w-2)
	for i := range h - 2 {
		line := blank
		if i < len(lines) {
			line = lines[i]
		}
		out = append(out, side+line+side)
	}
	return append(out, edge(g.BottomLeft, foot, themes.Dim, g.BottomRight))
}

// place notes where a pane is, for the mouse, and draws it.
func (m *Model) place(p pane, x, y, w, h int) []string {
	m.areas[p] = area{x, y, w, h}
	focused := m.focus == p
	inW, inH := w-2, h-2
	title, foot := m.title(p), ""
	var lines []string
	switch p {
	case paneTopology:
		m.canvas.Resize(inW, inH)
		lines = m.canvas.Lines()
		foot = m.canvas.Level().String()
		if m.canvas.Level() == canvas.Overview { // there may be no other place for the name
			foot += " " + m.glyphs.Dot + " " + m.canvas.Selected()
			if m.canvas.Hides() {
				foot += ", some links only of the node selected"
			}
		}
	case paneNodes:
		if n := len(m.marks); n > 0 {
			foot = plural(n, "node") + " marked"
		}
		lines = m.nodeRows(inW, inH, focused)
	case paneLinks:
		lines = m.linkRows(inW, inH, focused)
	case paneEvents:
		lines = m.eventRows(inW, inH, focused)
	}
	if tips := m.tips(p); focused && tips != "" {
		if foot != "" {
			foot += "  "
		}
		foot += tips
	}
	if p != paneTopology && len(lines) == 0 {
		text := " none"
		if m.filterOf(p) != "" {
			text = " nothing matches; esc shows all"
		}
		lines = []string{m.fit(m.paint(themes.Dim, text), inW)}
	}
	out := m.frame(title, foot, lines, w, h, focused)
	if m.alone() {
		out[0] = m.tabLine(w)
	}
	return out
}

// title is a pane's name, with its key and how much there is.
func (m *Model) title(p pane) string {
	l := m.lab()
	switch {
	case p == paneTopology:
		return "1 topology"
	case p == paneNodes && l != nil:
		return fmt.Sprintf("2 nodes %d", len(l.Nodes)) + filtered(m.nodes.filter)
	case p == paneLinks && l != nil:
		return fmt.Sprintf("3 links %d", len(l.Links)) + filtered(m.links.filter)
	case p == paneEvents:
		return "4 events" + filtered(m.events.filter)
	case p == paneConsole:
		return "5 consoles"
	}
	return ""
}

// alone reports whether one pane has the whole screen.
func (m *Model) alone() bool { return m.full || !m.roomy() }

// tabLine is the upper edge of a pane that has the whole screen: the others
// are on it.
func (m *Model) tabLine(w int) string {
	g, edge := &m.glyphs, func(s string) string { return m.paint(themes.BorderFocus, s) }
	line, x := edge(g.TopLeft+g.Horizontal), 2
	for p := range m.panes() {
		title := " " + ansi.Truncate(m.title(p), w/2, g.More) + " "
		n := ansi.StringWidth(title)
		if x+n+2 > w {
			break
		}
		role := themes.Dim
		if p == m.focus {
			role = themes.Accent
		}
		m.tabAt[p] = area{x, 1, n, 1}
		line += m.paint(role, title) + edge(g.Horizontal)
		x += n + 1
	}
	return line + edge(strings.Repeat(g.Horizontal, max(0, w-x-1))+g.TopRight)
}

func (m *Model) filterOf(p pane) string {
	switch p {
	case paneNodes:
		return m.nodes.filter
	case paneLinks:
		return m.links.filter
	case paneEvents:
		return m.events.filter
	}
	return ""
}

func filtered(f string) string {
	if f == "" {
		return ""
	}
	return "  /" + f
}

// roomy reports whether all panes have room at once.
func (m *Model) roomy() bool { return m.w >= wideW && m.h >= wideH }

func (m *Model) mainLines(w, h int) []string {
	if m.lab() == nil {
		return m.center([]string{"The lab " + m.labName + " is not there yet."}, w, h)
	}
	if m.focus >= m.panes() {
		m.focus = paneTopology
	}
	if m.alone() {
		if m.focus == paneConsole {
			m.areas[paneConsole] = area{0, 1, w, h}
			return m.tileLines(area{0, 1, w, h}, true)
		}
		return m.place(m.focus, 0, 1, w, h)
	}
	docked := m.dock && len(m.consoles) > 0
	low := max(6, h/5)
	if docked {
		low = m.dockHeight()
	}
	high := h - low
	right := max(42, w*2/5)
	left := w - right
	nodesH := high * 3 / 5
	if n := len(m.lab().Nodes) + 2; n < nodesH {
		nodesH = max(n, 5)
	}
	if m.focus == paneEvents && docked { // there is no room for both
		docked = false
	}
	topo := m.place(paneTopology, 0, 1, left, high)
	side := append(m.place(paneNodes, left, 1, right, nodesH), m.place(paneLinks, left, 1+nodesH, right, high-nodesH)...)
	out := make([]string, 0, h)
	for i := range topo {
		out = append(out, topo[i]+side[i])
	}
	if docked {
		m.areas[paneConsole] = area{0, 1 + high, w, low}
		return append(out, m.tileLines(area{0, 1 + high, w, low}, m.focus == paneConsole)...)
	}
	return append(out, m.place(paneEvents, 0, 1+high, w, low)...)
}

func (m *Model) labsLines(w, h int) []string {
	m.areas[paneNodes] = area{0, 1, w, h}
	if m.snap != nil && len(m.shownLabs()) == 0 {
		text := []string{"No lab is deployed.", "", m.keyOf("import a file") + " imports a topology file and deploys it.",
			m.keyOf("new lab") + " makes a new lab, by its shape.", m.keyOf("help") + " explains the keys."}
		if m.labs.filter != "" {
			text = []string{"No lab matches /" + m.labs.filter, "", "esc shows all."}
		}
		return m.frame("labs", "", m.center(text, w-2, h-2), w, h, true)
	}
	return m.frame("labs"+filtered(m.labs.filter), "", m.labRows(w-2, h-2), w, h, true)
}
