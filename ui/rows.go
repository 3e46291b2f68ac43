package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

func (m *Model) paint(r themes.Role, s string) string { return m.theme.Style(r).Render(s) }

// fit makes a line exactly w cells wide.
func (m *Model) fit(s string, w int) string {
	if w <= 0 {
		return ""
	}
	n := ansi.StringWidth(s)
	if n > w {
		return ansi.Truncate(s, w, m.glyphs.More)
	}
	return s + strings.Repeat(" ", w-n)
}

// clean keeps what a node says from doing anything to the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return -1
		}
		return r
	}, ansi.Strip(s))
}

func (m *Model) chosen(line string, w int, focused bool) string {
	if !focused {
		return m.fit(m.paint(themes.Accent, m.glyphs.Cursor)+line, w)
	}
	return m.paint(themes.Selection, m.fit(m.glyphs.Cursor+ansi.Strip(line), w))
}

func age(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := time.Since(since)
	switch {
	case d < time.Minute:
		return "<1m"
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
	if m.nodes.filter == "" {
		return l.Nodes
	}
	var out []*api.Node
	for _, n := range l.Nodes {
		if matches(m.nodes.filter, n.Name, n.Kind, string(n.Actual), n.Group, n.Error) {
			out = append(out, n)
		}
	}
	return out
}

func (m *Model) shownLinks() []*api.Link {
	l := m.lab()
	if l == nil {
		return nil
	}
	if m.links.filter == "" {
		return l.Links
	}
	var out []*api.Link
	for _, k := range l.Links {
		if matches(m.links.filter, k.A, k.B, string(k.Actual), string(k.Carrier), k.Error) {
			out = append(out, k)
		}
	}
	return out
}

func (m *Model) shownEvents() []*api.Event {
	if m.snap == nil {
		return nil
	}
	var out []*api.Event
	for i := len(m.snap.Events) - 1; i >= 0; i-- { // the latest first
		e := m.snap.Events[i]
		if (m.labName == "" || e.Lab == "" || e.Lab == m.labName) && matches(m.events.filter, e.Node, e.Link, string(e.Level), e.Text) {
			out = append(out, e)
		}
	}
	return out
}

// nodeLines are a node's lines in the list: one, and another that explains.
func (m *Model) nodeLine(n *api.Node, w, nameW int) string {
	role := themes.Node(n.Actual)
	mark := " "
	if m.marks[n.Name] {
		mark = m.paint(themes.Key, m.glyphs.Mark)
	}
	state := m.paint(role, m.fit(string(n.Actual), 10))
	switch {
	case n.Actual == lab.NodeStarting:
		full := n.Progress * 10 / 100
		state = m.paint(themes.Busy, strings.Repeat(m.glyphs.BarFull, full)+strings.Repeat(m.glyphs.BarEmpty, 10-full)) +
			fmt.Sprintf(" %3d%% ", n.Progress)
	case !n.Actual.Matches(n.Desired):
		state += m.paint(themes.Dim, " "+m.glyphs.Arrow+" "+string(n.Desired))
	}
	kind := ""
	if w >= 34 {
		kind = m.paint(themes.Dim, m.fit(n.Kind, 8)) + " "
	}
	line := mark + m.paint(role, m.glyphs.Node(n.Actual)) + " " + m.fit(n.Name, nameW) + " " + kind + state
	about := clean(n.Error)
	aboutRole := themes.Bad
	if about == "" {
		about, aboutRole = clean(n.ProgressText), themes.Dim
		if n.Actual == lab.NodeRunning {
			about = ""
			if age := age(n.Since); age != "" {
				about = m.fit(age, 4)
			}
			if w >= 70 && n.Image != "" {
				about += " " + n.Image
			}
		}
	}
	if about != "" {
		line += " " + m.paint(aboutRole, about)
	}
	return line
}

func nameWidth[T any](items []T, name func(T) string, most int) int {
	w := 4
	for _, v := range items {
		w = max(w, len(name(v)))
	}
	return min(w, most)
}

func (m *Model) nodeRows(w, h int, focused bool) []string {
	nodes := m.shownNodes()
	if sel := m.canvas.Selected(); m.focus != paneNodes || m.nodes.name == "" {
		for i, n := range nodes { // the list follows the topology
			if n.Name == sel {
				m.nodes.at = i
			}
		}
	}
	// Errors of nodes get a line of their own where there is room.
	m.nodes.fit(len(nodes), h)
	nameW := nameWidth(nodes, func(n *api.Node) string { return n.Name }, max(8, w/3))
	var out []string
	for i := m.nodes.top; i < len(nodes) && len(out) < h; i++ {
		line := m.nodeLine(nodes[i], w, nameW)
		if i == m.nodes.at {
			out = append(out, m.chosen(line, w, focused))
		} else {
			out = append(out, m.fit(" "+line, w))
		}
	}
	return out
}

func (m *Model) linkRows(w, h int, focused bool) []string {
	links := m.shownLinks()
	m.links.fit(len(links), h)
	ends := nameWidth(links, func(k *api.Link) string { return k.A }, max(10, (w-12)/2))
	ends = max(ends, nameWidth(links, func(k *api.Link) string { return k.B }, max(10, (w-12)/2)))
	var out []string
	for i := m.links.top; i < len(links) && len(out) < h; i++ {
		k := links[i]
		role := themes.Link(k.Actual)
		if k.Actual == lab.LinkUp && k.Carrier == lab.CarrierOff {
			role = themes.LinkBusy
		}
		state := string(k.Actual)
		if k.Actual == lab.LinkUp && k.Carrier == lab.CarrierOff {
			state += ", no carrier"
		}
		if !k.Actual.Matches(k.Desired) {
			state += " " + m.glyphs.Arrow + " " + string(k.Desired)
		}
		line := m.paint(role, m.glyphs.Link(k.Actual)) + " " + m.fit(k.A, ends) + " " + m.fit(k.B, ends) + " " + m.paint(role, state)
		if k.Error != "" {
			line += " " + m.paint(themes.Bad, clean(k.Error))
		}
		if i == m.links.at {
			out = append(out, m.chosen(line, w, focused))
		} else {
			out = append(out, m.fit(" "+line, w))
		}
	}
	return out
}

// eventRows shows running jobs and, below, what happened.
func (m *Model) eventRows(w, h int, focused bool) []string {
	var out []string
	for _, j := range m.running() {
		if len(out) >= h-1 {
			break
		}
		bar := ""
		if j.Total > 0 {
			full := 20 * j.Done / j.Total
			bar = strings.Repeat(m.glyphs.BarFull, full) + strings.Repeat(m.glyphs.BarEmpty, 20-full) + fmt.Sprintf(" %d/%d ", j.Done, j.Total)
		}
		out = append(out, m.fit(" "+m.paint(themes.Busy, string(j.Verb)+" "+j.Target+" "+bar)+m.paint(themes.Dim, clean(j.Text)), w))
	}
	events := m.shownEvents()
	room := h - len(out)
	m.events.fit(len(events), room)
	for i := m.events.top; i < len(events) && room > 0; i++ {
		e := events[i]
		role := themes.Text
		switch e.Level {
		case api.LevelWarn:
			role = themes.Busy
		case api.LevelError:
			role = themes.Bad
		}
		about := e.Node
		if about == "" {
			about = e.Link
		}
		line := m.paint(themes.Dim, e.Time.Local().Format("15:04:05")) + " " + m.paint(role, clean(strings.TrimSpace(about+"  "+e.Text)))
		if i == m.events.at && focused {
			out = append(out, m.chosen(line, w, true))
		} else {
			out = append(out, m.fit(" "+line, w))
		}
		room--
	}
	return out
}

// running are the jobs at work on what is shown.
func (m *Model) running() []*api.Job {
	var out []*api.Job
	if m.snap != nil {
		for _, j := range m.snap.Jobs {
			if !j.State.Ended() && (m.labName == "" || j.Lab == m.labName) {
				out = append(out, j)
			}
		}
	}
	return out
}

func (m *Model) labRows(w, h int) []string {
	if m.snap == nil {
		return nil
	}
	labs := m.shownLabs()
	m.labs.fit(len(labs), h)
	nameW := nameWidth(labs, func(l *api.Lab) string { return l.Name }, max(10, w/3))
	var out []string
	for i := m.labs.top; i < len(labs) && len(out) < h; i++ {
		l := labs[i]
		running, up := counts(l)
		line := m.fit(l.Name, nameW) + " " + m.paint(themes.Lab(l.State), m.fit(string(l.State), 9)) +
			fmt.Sprintf(" %4d/%-4d nodes %4d/%-4d links  ", running, len(l.Nodes), up, len(l.Links)) + m.paint(themes.Dim, l.File)
		if i == m.labs.at {
			out = append(out, m.chosen(line, w, true))
		} else {
			out = append(out, m.fit(" "+line, w))
		}
	}
	return out
}

func (m *Model) shownLabs() []*api.Lab {
	var out []*api.Lab
	if m.snap == nil {
		return nil
	}
	for _, l := range m.snap.Labs {
		if matches(m.labs.filter, l.Name, string(l.State), l.File) {
			out = append(out, l)
		}
	}
	return out
}

func counts(l *api.Lab) (running, up int) {
	for _, n := range l.Nodes {
		if n.Actual == lab.NodeRunning {
			running++
		}
	}
	for _, k := range l.Links {
		if k.Actual == lab.LinkUp {
			up++
		}
	}
	return running, up
}
