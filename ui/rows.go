package ui

import (
	"fmt"
	"strings"
	"time"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

func (m *Model) chosen(line string, w int, focused bool) string {
	if !focused {
		return m.fit(m.paint(themes.Accent, m.glyphs.Cursor)+line, w)
	}
	return m.paint(themes.Selection, m.fit(m.glyphs.Cursor+clean(line), w))
}

// row adds the first line of an item and notes what it is.
func (m *Model) row(out []string, p pane, i int, line string, w int, at, focused bool) []string {
	m.rowsOf[p] = append(m.rowsOf[p], i)
	if at {
		return append(out, m.chosen(line, w, focused))
	}
	return append(out, m.fit(" "+line, w))
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

func nameWidth[T any](items []T, name func(T) string, most int) int {
	w := 4
	for _, v := range items {
		w = max(w, len(name(v)))
	}
	return min(w, most)
}

// linkState is a link's state in words.
func (m *Model) linkState(k *api.Link) string {
	state := string(k.Actual)
	if k.Actual == lab.LinkUp && k.Carrier == lab.CarrierOff {
		state += ", no carrier"
	}
	if !k.Actual.Matches(k.Desired) {
		state += " " + m.glyphs.Arrow + " " + string(k.Desired)
	}
	return state
}

func (m *Model) linkRows(w, h int, focused bool) []string {
	links := m.shownLinks()
	head := w >= wideRow && h >= headRoom && len(links) > 0
	if head {
		h--
	}
	m.links.fit(len(links), h)
	m.rowsOf[paneLinks] = m.rowsOf[paneLinks][:0]
	watched := m.watchingLinks()
	most := w - 12
	if watched {
		most = w - 7 - stateW - 2*rateW
	}
	most = max(10, most/2)
	ends := max(nameWidth(links, func(k *api.Link) string { return k.A }, most), nameWidth(links, func(k *api.Link) string { return k.B }, most))
	var out []string
	if head {
		line := "   " + m.fit("a", ends) + " " + m.fit("b", ends) + " " + m.fit("state", stateW)
		if watched {
			line += " " + m.fit("a to b", rateW) + m.fit("b to a", rateW)
		}
		out, h = append(out, m.fit(m.paint(themes.Dim, line), w)), h+1
		m.rowsOf[paneLinks] = append(m.rowsOf[paneLinks], -1)
	}
	for i := m.links.top; i < len(links) && len(out) < h; i++ {
		k := links[i]
		role := themes.Link(k.Actual)
		if k.Actual == lab.LinkUp && k.Carrier == lab.CarrierOff {
			role = themes.LinkBusy
		}
		line := m.paint(role, m.glyphs.Link(k.Actual)) + " " + m.fitEnd(k.A, ends) + " " + m.fitEnd(k.B, ends) + " " + m.paint(role, m.linkState(k))
		why := k.About(time.Now())
		if watched && why == "" {
			line = m.fit(line, 2*ends+stateW+4) + " " + m.passing(k)
		}
		if k.ImpairA != (lab.Impairment{}) || k.ImpairB != (lab.Impairment{}) {
			line += " " + m.paint(themes.LinkBusy, impairText(k))
		}
		if k.VLAN != 0 && w >= 2*ends+30 {
			line += m.paint(themes.Dim, fmt.Sprintf(" vlan %d", k.VLAN))
		}
		if why != "" {
			line += " " + m.paint(themes.Bad, clean(why))
		}
		out = m.row(out, paneLinks, i, line, w, i == m.links.at, focused)
	}
	return out
}

// subject is the node or link that an event is about.
func subject(e *api.Event) string {
	if e.Node != "" {
		return e.Node
	}
	return e.Link
}

// eventRows shows running jobs and, below, what happened.
func (m *Model) eventRows(w, h int, focused bool) []string {
	var out []string
	m.rowsOf[paneEvents] = m.rowsOf[paneEvents][:0]
	for _, j := range m.running() {
		if len(out) >= h-1 {
			break
		}
		bar := ""
		if j.Total > 0 {
			full := 20 * min(j.Done, j.Total) / j.Total
			bar = strings.Repeat(m.glyphs.BarFull, full) + strings.Repeat(m.glyphs.BarEmpty, 20-full) + fmt.Sprintf(" %d/%d ", j.Done, j.Total)
		}
		out = append(out, m.fit(" "+m.paint(themes.Busy, what(j)+" "+bar)+m.paint(themes.Dim, clean(j.Text)), w))
		m.rowsOf[paneEvents] = append(m.rowsOf[paneEvents], -1)
	}
	events := m.shownEvents()
	m.events.fit(len(events), h-len(out))
	aboutW := 0
	for _, e := range events {
		aboutW = max(aboutW, min(len(subject(e)), w/4))
	}
	for i := m.events.top; i < len(events) && len(out) < h; i++ {
		e := events[i]
		role := themes.Text
		switch e.Level {
		case api.LevelWarn:
			role = themes.Busy
		case api.LevelError:
			role = themes.Bad
		}
		line := m.paint(themes.Dim, e.Time.Local().Format("15:04:05")) + "  "
		if aboutW > 0 {
			line += m.paint(role, m.fitName(clean(subject(e)), aboutW)) + "  "
		}
		line += m.paint(role, clean(strings.TrimLeft(strings.TrimPrefix(e.Text, subject(e)), ": ")))
		out = m.row(out, paneEvents, i, line, w, i == m.events.at && focused, focused)
	}
	return out
}

// failed counts what is in error or has drifted, in words; empty when nothing is.
func (m *Model) failed(t api.Tally) string {
	var out []string
	if t.FailedNodes > 0 {
		out = append(out, plural(t.FailedNodes, "node"))
	}
	if t.FailedLinks > 0 {
		out = append(out, plural(t.FailedLinks, "link"))
	}
	if n := len(m.drifts()); n > 0 {
		out = append(out, fmt.Sprintf("%d drifted", n))
	}
	return strings.Join(out, ", ")
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

func (m *Model) labRows(w, h int) []string {
	if m.snap == nil {
		return nil
	}
	labs := m.shownLabs()
	m.labs.fit(len(labs), h-1)
	nameW := nameWidth(labs, func(l *api.Lab) string { return l.Name }, max(10, w/3))
	column := func(a, b, c, d, e string) string {
		return m.fitName(a, nameW) + "  " + b + "  " + m.fit(c, 9) + "  " + m.fit(d, 9) + "  " + e
	}
	out := []string{m.fit(m.paint(themes.Dim, "  "+column("lab", m.fit("state", 9), "running", "links up", "file")), w)}
	for i := m.labs.top; i < len(labs) && len(out) < h; i++ {
		l := labs[i]
		t := l.Tally()
		line := " " + column(l.Name, m.paint(themes.Lab(l.State), m.fit(string(l.State), 9)), fmt.Sprintf("%d/%d", t.Running, len(l.Nodes)),
			fmt.Sprintf("%d/%d", t.Up, len(l.Links)), m.paint(themes.Dim, tilde(l.File)))
		if i == m.labs.at {
			out = append(out, m.chosen(line, w, true))
		} else {
			out = append(out, m.fit(" "+line, w))
		}
	}
	return out
}
