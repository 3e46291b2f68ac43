package ui

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/themes"
)

// settingsView is the screen on which the user chooses how labs are made and
// what the screen looks like.
type settingsView struct {
	from     screen // to go back to
	lab      string // the lab that was chosen when it was opened; may be none
	at, top  int
	backends []api.BackendInfo // nil until they are known
}

// setting is one row: what it is set to, and what else it can be.
type setting struct {
	head  string // of the rows from here on; empty: as before
	name  string
	value func(m *Model) string
	about string
	// choices are what it can be, each with what is there; nil: a text.
	choices func(m *Model) []choice
	set     func(m *Model, value string) tea.Cmd
	open    func(m *Model) tea.Cmd       // in place of asking for a value; may be nil
	moved   func(m *Model, value string) // shows one beforehand; may be nil
	cancel  func(m *Model)               // takes that back
}

// choice is one value of a setting.
type choice struct {
	value, about string
	why          string // it cannot be chosen, and why
	fix          string // what would make it available
}

var settingKeys = []viewKey{
	{"esc", "back", "back to where you were"},
	{"enter", "change", "change the setting; it is saved at once"},
	{"j k", "choose", "from setting to setting"},
	{"i", "info", "all that a provider or a network needs, and what of it is there"},
	{"q", "", "back, too"},
	{"?", "help", "these keys"},
}

func (v *settingsView) keys() []viewKey { return settingKeys }

func (v *settingsView) off(string) bool { return false }

func (m *Model) openSettings() tea.Cmd {
	m.settings = &settingsView{from: m.screen, lab: m.target()}
	m.screen = screenSettings
	return m.lookAtBackends()
}

// lookAtBackends asks what is available here.
func (m *Model) lookAtBackends() tea.Cmd {
	v := m.settings
	return m.ask("look at what is available", func(ctx context.Context, e api.Engine) resultMsg {
		list, err := e.Backends(ctx)
		return resultMsg{err: err, pick: func(*Model) { v.backends = list }}
	})
}

func (m *Model) closeSettings() {
	m.screen = m.settings.from
	if m.screen == screenMain && m.lab() == nil {
		m.screen = screenLabs
	}
}

func (v *settingsView) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	rows := m.settingRows()
	l := list{at: v.at}
	if l.key(k.String(), len(rows), len(rows)) {
		v.at = l.at
		return nil
	}
	switch k.String() {
	case "esc", "q", "ctrl+c", ",":
		m.closeSettings()
	case "enter", "space", "l", "right":
		return m.change(rows[v.at])
	case "i":
		m.needsInfo(rows[v.at])
	case "?":
		return m.help()
	}
	return nil
}

// lines draws the rows and, below, what the chosen one can be.
func (v *settingsView) lines(m *Model, w, h int) []string {
	rows := m.settingRows()
	v.at = max(0, min(v.at, len(rows)-1))
	inW := w - 2
	var out []string
	at := 0 // the line of the chosen row
	for i, r := range rows {
		if r.head != "" {
			out = append(out, m.fit(" "+m.paint(themes.Title, r.head), inW))
		}
		line := "   " + m.fit(r.name, 14) + " " + r.value(m)
		if i == v.at {
			at = len(out)
			line = m.paint(themes.Selection, m.fit(" "+m.glyphs.Cursor+" "+m.fit(r.name, 14)+" "+r.value(m), inW))
		}
		out = append(out, m.fit(line, inW))
	}
	room := h - 2
	detail := v.detail(m, rows[v.at], inW-2)
	high := min(len(out), max(room-len(detail)-1, room/2))
	v.top = max(0, min(v.top, at, len(out)-high))
	if at >= v.top+high {
		v.top = at - high + 1
	}
	if v.top == 1 {
		v.top = 0 // the head of the first row comes with it
	}
	out = append(out[v.top:min(len(out), v.top+high)], m.fit(m.paint(themes.Border, strings.Repeat(m.glyphs.Horizontal, inW)), inW))
	for _, l := range detail {
		if len(out) < room {
			out = append(out, m.fit(" "+l, inW))
		}
	}
	return m.frame("settings", m.opt.SettingsFile, out, w, h, true)
}

// detail says what the chosen setting is for, and what it can be.
func (v *settingsView) detail(m *Model, r setting, w int) []string {
	out := wrapped(r.about, w)
	if r.choices == nil {
		return out
	}
	for _, c := range r.choices(m) {
		mark, role, text := m.glyphs.Dot, themes.Good, c.about
		if c.why != "" {
			mark, role, text = m.glyphs.Cross, themes.Bad, c.why
			if c.fix != "" {
				text += ": " + c.fix
			}
		}
		for i, l := range wrapped(text, w-16) {
			lead := strings.Repeat(" ", 16)
			if i == 0 {
				lead = m.paint(role, mark) + " " + m.fit(c.value, 13) + " "
			}
			out = append(out, lead+m.paint(themes.Dim, l))
		}
	}
	return out
}

// change asks for another value.
func (m *Model) change(r setting) tea.Cmd {
	if r.open != nil {
		return r.open(m)
	}
	if r.choices == nil {
		m.push(&prompt{title: r.name, text: r.about, in: newInput(r.value(m)),
			done: func(m *Model, v string) tea.Cmd { return r.set(m, strings.TrimSpace(v)) }})
		return nil
	}
	choices := r.choices(m)
	var items []pickItem
	for _, c := range choices {
		it := pickItem{name: c.value, about: c.about}
		if c.why != "" {
			it.about, it.off = c.why, true
		}
		items = append(items, it)
	}
	p := newPicker(r.name, items, func(m *Model, i int) tea.Cmd {
		if c := choices[i]; c.why != "" {
			text := []string{c.value + ": " + c.why}
			if c.fix != "" {
				text = append(text, "", "To do: "+c.fix)
			}
			if r.cancel != nil {
				r.cancel(m)
			}
			m.push(&message{title: r.name, text: text, bad: true})
			return nil
		}
		if choices[i].value == "" { // nothing is known yet
			return nil
		}
		return r.set(m, choices[i].value)
	})
	if r.moved != nil {
		p.moved = func(m *Model, i int) { r.moved(m, choices[i].value) }
		p.cancel = r.cancel
	}
	m.push(p)
	return nil
}

// needsInfo lists what a provider or a network needs.
func (m *Model) needsInfo(r setting) {
	var text []string
	for _, b := range m.settings.backends {
		if b.Name != r.value(m) || (b.Type != api.TypeProvider && b.Type != api.TypeNetwork) || b.Type != r.name {
			continue
		}
		for _, n := range b.Needs {
			mark := m.paint(themes.Good, m.glyphs.Dot)
			if !n.OK {
				mark = m.paint(themes.Bad, m.glyphs.Cross)
			}
			line := mark + " " + string(n.Sort) + " " + n.Name + ": " + n.Why
			if string(n.Sort) == n.Name {
				line = mark + " " + n.Name + ": " + n.Why
			}
			if n.Optional {
				line += " (optional)"
			}
			text = append(text, line)
			if !n.OK {
				text = append(text, "  "+n.Reason+": "+n.Fix)
			}
		}
	}
	if text == nil {
		m.say(false, r.name+" needs nothing of the machine")
		return
	}
	m.push(&message{title: r.value(m) + " needs", text: text})
}

func (v *settingsView) mouse(m *Model, e tea.Mouse, clicked, turned bool) tea.Cmd {
	switch {
	case turned:
		v.at = max(0, min(v.at+wheelBy(e)/wheelRows, len(m.settingRows())-1))
	case clicked:
		line := v.top + e.Y - 2
		for i, r := range m.settingRows() {
			if r.head != "" {
				line--
			}
			if line < 0 {
				return nil
			}
			if line == 0 {
				if v.at == i {
					return m.change(r)
				}
				v.at = i
				return nil
			}
			line--
		}
	}
	return nil
}
