package ui

import (
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/sahilm/fuzzy"

	"archetype/themes"
)

// picker offers a list to choose from, narrowed by what is typed.
type picker struct {
	title  string
	in     textinput.Model
	items  []pickItem
	at     int
	done   func(m *Model, i int) tea.Cmd
	moved  func(m *Model, i int) // onto another item; may be nil
	cancel func(m *Model)        // may be nil
	shown  []int
	top    int
}

type pickItem struct {
	name, key, about string
	off              bool // it would be refused; about says why
}

const pickRows = 16

func newPicker(title string, items []pickItem, done func(*Model, int) tea.Cmd) *picker {
	p := &picker{title: title, in: newInput(""), items: items, done: done}
	p.narrow()
	return p
}

func (p *picker) narrow() {
	p.shown, p.at = p.shown[:0], 0
	if p.in.Value() == "" {
		for i := range p.items {
			p.shown = append(p.shown, i)
		}
		return
	}
	names := make([]string, len(p.items))
	for i, it := range p.items {
		names[i] = it.name
	}
	for _, match := range fuzzy.Find(p.in.Value(), names) {
		p.shown = append(p.shown, match.Index)
	}
}

func (p *picker) step(m *Model, to int) {
	p.at = max(0, min(to, len(p.shown)-1))
	if p.moved != nil && p.at < len(p.shown) {
		p.moved(m, p.shown[p.at])
	}
}

func (p *picker) pick(m *Model) tea.Cmd {
	m.pop()
	if p.at < len(p.shown) {
		return p.done(m, p.shown[p.at])
	}
	return nil
}

func (p *picker) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+c":
		m.pop()
		if p.cancel != nil {
			p.cancel(m)
		}
	case "down", "ctrl+n", "tab", "ctrl+j":
		p.step(m, p.at+1)
	case "up", "ctrl+p", "shift+tab", "ctrl+k":
		p.step(m, p.at-1)
	case "pgdown", "ctrl+d":
		p.step(m, p.at+pickRows/2)
	case "pgup", "ctrl+u":
		p.step(m, p.at-pickRows/2)
	case "enter":
		return p.pick(m)
	default:
		return p.other(m, k)
	}
	return nil
}

func (p *picker) other(m *Model, msg tea.Msg) tea.Cmd {
	before := p.in.Value()
	var cmd tea.Cmd
	p.in, cmd = p.in.Update(msg)
	if p.in.Value() != before {
		p.narrow()
		p.step(m, 0)
	}
	return cmd
}

func (p *picker) click(m *Model, line int) tea.Cmd {
	if i := p.top + line - 2; line >= 2 && i < len(p.shown) {
		p.at = i
		return p.pick(m)
	}
	return nil
}

func (p *picker) wheel(by int)   { p.at = max(0, min(p.at+by, len(p.shown)-1)) }
func (p *picker) atBottom() bool { return false }

func (p *picker) lines(m *Model, w, h int) (string, []string, int, int) {
	p.in.SetWidth(w - 3)
	x := 2
	if c := p.in.Cursor(); c != nil {
		x += c.X
	}
	out := []string{m.paint(themes.Key, m.glyphs.Cursor) + " " + p.in.View(), ""}
	room := min(h-3, pickRows)
	p.top = max(0, min(p.top, p.at, len(p.shown)-room))
	if p.at >= p.top+room {
		p.top = p.at - room + 1
	}
	nameW, keyW := 10, 0
	for _, it := range p.items {
		nameW, keyW = max(nameW, ansi.StringWidth(it.name)), max(keyW, ansi.StringWidth(it.key))
	}
	nameW = min(nameW, w*2/3)
	for i := p.top; i < len(p.shown) && i < p.top+room; i++ {
		it := p.items[p.shown[i]]
		key := ""
		if keyW > 0 {
			key = m.fit(it.key, keyW) + "  "
		}
		if i == p.at {
			out = append(out, m.paint(themes.Selection, m.fit(m.glyphs.Cursor+m.fit(it.name, nameW)+"  "+key+it.about, w)))
			continue
		}
		name := m.fit(it.name, nameW)
		if it.off {
			name = m.paint(themes.Dim, name)
		}
		out = append(out, " "+name+"  "+m.paint(themes.Key, key)+m.paint(themes.Dim, it.about))
	}
	if len(p.shown) == 0 {
		out = append(out, m.paint(themes.Dim, " nothing of that name"))
	}
	return p.title, append(out, m.paint(themes.Dim, "enter chooses, esc leaves; typing narrows")), x, 0
}

// message shows text, to be scrolled and closed.
type message struct {
	title string
	text  []string
	bad   bool
	top   int
}

func (t *message) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "j", "down":
		t.top++
	case "k", "up":
		t.top--
	case "pgdown", "space", "ctrl+d":
		t.top += m.h / 2
	case "pgup", "ctrl+u":
		t.top -= m.h / 2
	case "g", "home":
		t.top = 0
	case "G", "end":
		t.top = len(t.text) * 10
	default:
		m.pop()
	}
	return nil
}

func (t *message) other(*Model, tea.Msg) tea.Cmd { return nil }
func (t *message) click(*Model, int) tea.Cmd     { return nil }
func (t *message) wheel(by int)                  { t.top += by }
func (t *message) atBottom() bool                { return false }

func (t *message) lines(m *Model, w, h int) (string, []string, int, int) {
	var all []string
	for _, l := range t.text {
		all = append(all, wrapped(l, w)...)
	}
	room := max(1, h-2)
	t.top = max(0, min(t.top, len(all)-room))
	more := len(all) > room
	all = all[t.top:min(len(all), t.top+room)]
	if t.bad && len(all) > 0 && t.top == 0 {
		all[0] = m.paint(themes.Bad, all[0])
	}
	hint := "any other key closes"
	if more {
		hint = "j k scroll, " + hint
	}
	return t.title, append(all, "", m.paint(themes.Dim, hint)), 0, -1
}
