package ui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

// order is how the list of nodes is sorted.
type order int

const (
	orderFile order = iota
	orderName
	orderState
	orderKind
	orders
)

func (o order) String() string {
	return [...]string{"in the order of the file", "by name", "by state, errors first", "by kind"}[o]
}

// young is how exact the age of a node of less than a minute is.
const young = 10 * time.Second

func age(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := time.Since(since)
	switch {
	case d < young:
		return "new"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Truncate(young).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func (m *Model) shownNodes() []*api.Node {
	l := m.lab()
	if l == nil {
		return nil
	}
	out := l.Nodes
	if m.nodes.filter != "" {
		out = nil
		for _, n := range l.Nodes {
			if matches(m.nodes.filter, n.Name, n.Kind, string(n.Actual), n.Group, n.Error) {
				out = append(out, n)
			}
		}
	}
	if m.order != orderFile {
		out = slices.Clone(out)
		slices.SortStableFunc(out, m.order.compare)
	}
	return out
}

func (o order) compare(a, b *api.Node) int {
	switch o {
	case orderName:
		return natural(a.Name, b.Name)
	case orderKind:
		return cmp.Or(strings.Compare(a.Kind, b.Kind), natural(a.Name, b.Name))
	}
	rank := func(n *api.Node) int {
		switch themes.Node(n.Actual) {
		case themes.Bad:
			return 0
		case themes.Busy:
			return 1
		case themes.Idle:
			return 2
		}
		return 3
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), natural(a.Name, b.Name))
}

// natural puts leaf2 before leaf10.
func natural(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			if c := cmp.Or(cmp.Compare(na, nb), strings.Compare(a[:na], b[:nb])); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// nodeLine is a node's line in the list.
func (m *Model) nodeLine(n *api.Node, w, nameW int, kinds bool) string {
	role := themes.Node(n.Actual)
	mark := " "
	if m.marks[n.Name] {
		mark = m.paint(themes.Key, m.glyphs.Mark)
	}
	state := m.paint(role, m.fit(string(n.Actual), 10))
	switch n.Actual {
	case lab.NodeStarting:
		full := n.Progress * 10 / 100
		state = m.paint(themes.Busy, strings.Repeat(m.glyphs.BarFull, full)+strings.Repeat(m.glyphs.BarEmpty, 10-full)) +
			fmt.Sprintf(" %3d%%", n.Progress)
	case lab.NodeRunning:
		state += m.paint(themes.Dim, fmt.Sprintf("%5s", age(n.Since)))
	}
	if !n.Actual.Matches(n.Desired) && n.Actual != lab.NodeStarting {
		state += m.paint(themes.Dim, " "+m.glyphs.Arrow+" "+string(n.Desired))
	}
	kind := ""
	if kinds {
		kind = m.paint(themes.Dim, m.fit(n.Kind, 8)) + " "
	}
	line := mark + m.paint(role, m.glyphs.Node(n.Actual)) + " " + m.fitName(n.Name, nameW) + " " + kind + state
	if w >= wideRow {
		line = m.fit(line, nameW+38) + m.paint(themes.Dim, m.consumed(n)+m.fit(n.Provider, 9)+n.Image)
	}
	return line
}

// wideRow is from how wide on a list says what it has in columns with heads,
// and headRoom how many rows it needs to have one for them.
const wideRow, headRoom = 70, 8

// stateRoom is what a node's state takes in a narrow list, mark and all.
const stateRoom = 24

// nodeHead is what the columns of nodeLine are.
func (m *Model) nodeHead(nameW int) string {
	head := m.fit("   "+m.fit("node", nameW)+" "+m.fit("kind", 9)+m.fit("state", 12)+"for", nameW+38)
	if m.watching() {
		head += fmt.Sprintf("%5s %9s   ", "CPU", "memory")
	}
	return m.paint(themes.Dim, head+m.fit("provider", 9)+"image")
}

// nodeMore explains a node that is not simply running.
func (m *Model) nodeMore(n *api.Node) string {
	now := time.Now()
	if text := n.About(now); text != "" {
		if n.NoImage {
			text = "i picks another image: " + text
		}
		return m.paint(themes.Bad, clean(text))
	}
	switch left := n.Left(now); {
	case left != "":
		return m.paint(themes.Dim, clean(left+"  "+n.ProgressText))
	case n.Actual != lab.NodeRunning && n.ProgressText != "":
		return m.paint(themes.Dim, clean(n.ProgressText))
	}
	return ""
}

// nodeRows lists nodes. What explains one has a line of its own below it:
// for all where there is room, or else for the one chosen.
func (m *Model) nodeRows(w, h int, focused bool) []string {
	nodes := m.shownNodes()
	sel := m.canvas.Selected()
	for i, n := range nodes { // the list and the topology go together
		if n.Name == sel && (m.focus != paneNodes || n.Name == m.nodes.name || m.nodes.name == "") {
			m.nodes.at = i
		}
	}
	head := w >= wideRow && h >= headRoom && len(nodes) > 0
	if head {
		h--
	}
	more := 0
	for _, n := range nodes {
		if m.nodeMore(n) == "" {
			continue
		}
		if more++; len(nodes)+more > h { // there is no room for all
			break
		}
	}
	all := len(nodes)+more <= h
	room := h
	if !all && more > 0 {
		room = h - 1
	}
	m.nodes.fit(len(nodes), room)
	m.rowsOf[paneNodes] = m.rowsOf[paneNodes][:0]
	name := func(n *api.Node) string { return n.Name }
	nameW, kinds := nameWidth(nodes, name, max(8, w/3)), w >= 34
	if full := nameWidth(nodes, name, w); full > nameW && !head { // names come before kinds
		kinds, nameW = false, min(full, max(8, w-stateRoom))
	}
	var out []string
	if head {
		out, h = append(out, m.fit(" "+m.nodeHead(nameW), w)), h+1
		m.rowsOf[paneNodes] = append(m.rowsOf[paneNodes], -1)
	}
	for i := m.nodes.top; i < len(nodes) && len(out) < h; i++ {
		out = m.row(out, paneNodes, i, m.nodeLine(nodes[i], w, nameW, kinds), w, i == m.nodes.at, focused)
		if text := m.nodeMore(nodes[i]); text != "" && (all || i == m.nodes.at) && len(out) < h {
			out = append(out, m.fit("    "+text, w))
			m.rowsOf[paneNodes] = append(m.rowsOf[paneNodes], i)
		}
	}
	return out
}

// usage is what a node consumed between two looks.
type usage struct {
	cpu    time.Duration
	memory uint64
	at     time.Time
	share  float64 // of a CPU, negative while unknown
}

type (
	usageMsg struct {
		lab   string
		stats []api.NodeStats
		at    time.Time
	}
	lookMsg struct{}
)

const lookEvery = 2 * time.Second

// watching reports whether the screen shows what nodes consume: it costs
// something, so it is looked at only when the list of nodes fills the screen.
func (m *Model) watching() bool {
	return m.screen == screenMain && m.focus == paneNodes && m.areas[paneNodes].w >= 90
}

func (m *Model) look() tea.Cmd {
	if m.looking || m.engine == nil || (!m.watching() && !m.watchingLinks()) {
		return nil
	}
	m.looking = true
	if m.watchingLinks() {
		return m.lookLinks()
	}
	e, ctx, name := m.engine, m.ctx, m.labName
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, 5*lookEvery)
		defer cancel()
		stats, err := e.Stats(ctx, name)
		if err != nil {
			stats = nil
		}
		return usageMsg{name, stats, time.Now()}
	}
}

func (m *Model) usageEvent(msg usageMsg) tea.Cmd {
	if m.usage == nil || msg.lab != m.labName {
		m.usage = map[string]usage{}
	}
	for _, s := range msg.stats {
		u := usage{s.CPU, s.Memory, msg.at, -1}
		if old, ok := m.usage[s.Node]; ok && s.CPU >= old.cpu {
			if d := msg.at.Sub(old.at); d > 0 {
				u.share = float64(s.CPU-old.cpu) / float64(d)
			}
		}
		m.usage[s.Node] = u
	}
	return tea.Tick(lookEvery, func(time.Time) tea.Msg { return lookMsg{} })
}

func (m *Model) consumed(n *api.Node) string {
	u, ok := m.usage[n.Name]
	if !ok || !m.watching() || n.Actual != lab.NodeRunning {
		if m.watching() {
			return m.fit("", 18)
		}
		return ""
	}
	cpu := ""
	if u.share >= 0 {
		cpu = fmt.Sprintf("%.0f%%", 100*u.share)
	}
	return m.fit(fmt.Sprintf("%5s %9s", cpu, bytes(u.memory)), 18)
}
