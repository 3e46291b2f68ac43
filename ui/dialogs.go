package ui

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/sahilm/fuzzy"

	"archetype/themes"
)

// dialog is something that takes all keys until it is answered.
type dialog interface {
	key(m *Model, k tea.KeyPressMsg) tea.Cmd
	other(m *Model, msg tea.Msg) tea.Cmd
	// lines are at most w wide and h high; cursor is where the user types,
	// y below 0 for nowhere.
	lines(m *Model, w, h int) (title string, lines []string, cx, cy int)
}

// overlay draws a dialog in the middle of the screen.
func (m *Model) overlay(screen []string, d dialog) []string {
	w := min(m.w-4, 84)
	title, lines, cx, cy := d.lines(m, w-4, m.h-6)
	for i, l := range lines {
		lines[i] = " " + m.fit(l, w-4) + " "
	}
	box := m.frame(title, "", lines, w, len(lines)+2, true)
	x, y := (m.w-w)/2, max(0, (m.h-len(box))/3)
	for i, l := range box {
		if y+i >= len(screen) {
			break
		}
		under := screen[y+i]
		screen[y+i] = ansi.Truncate(under, x, "") + l + ansi.TruncateLeft(under, x+w, "")
	}
	if cy >= 0 {
		m.curs = tea.NewCursor(x+2+cx, y+1+cy)
	}
	return screen
}

func newInput(value string) textinput.Model {
	in := textinput.New()
	in.Prompt = ""
	in.SetVirtualCursor(false)
	in.CharLimit = 4096
	in.SetValue(value)
	in.CursorEnd()
	in.Focus()
	return in
}

// prompt asks for a line of text.
type prompt struct {
	title, text string
	in          textinput.Model
	change      func(m *Model, value string) // at every key; may be nil
	done        func(m *Model, value string) tea.Cmd
	cancel      func(m *Model)
	complete    func(value string) string // for tab; may be nil
}

func (p *prompt) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+c":
		m.pop()
		if p.cancel != nil {
			p.cancel(m)
		}
		return nil
	case "enter":
		m.pop()
		return p.done(m, p.in.Value())
	case "tab":
		if p.complete != nil {
			p.in.SetValue(p.complete(p.in.Value()))
			p.in.CursorEnd()
		}
		return nil
	}
	return p.other(m, k)
}

func (p *prompt) other(m *Model, msg tea.Msg) tea.Cmd {
	var cmd tea.Cmd
	p.in, cmd = p.in.Update(msg)
	if p.change != nil {
		p.change(m, p.in.Value())
	}
	return cmd
}

func (p *prompt) lines(_ *Model, w, _ int) (string, []string, int, int) {
	var out []string
	for _, l := range strings.Split(ansi.Wordwrap(p.text, w, ""), "\n") {
		if p.text != "" {
			out = append(out, l)
		}
	}
	p.in.SetWidth(w - 1)
	x := 0
	if c := p.in.Cursor(); c != nil {
		x = c.X
	}
	return p.title, append(out, p.in.View()), x, len(out)
}

// picker offers a list to choose from, narrowed by what is typed.
type picker struct {
	title string
	in    textinput.Model
	items []pickItem
	at    int
	done  func(m *Model, i int) tea.Cmd
	shown []int
}

type pickItem struct{ name, about string }

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

func (p *picker) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+c":
		m.pop()
	case "down", "ctrl+n", "tab":
		p.at = min(p.at+1, max(0, len(p.shown)-1))
	case "up", "ctrl+p", "shift+tab":
		p.at = max(0, p.at-1)
	case "enter":
		m.pop()
		if p.at < len(p.shown) {
			return p.done(m, p.shown[p.at])
		}
	default:
		return p.other(m, k)
	}
	return nil
}

func (p *picker) other(_ *Model, msg tea.Msg) tea.Cmd {
	before := p.in.Value()
	var cmd tea.Cmd
	p.in, cmd = p.in.Update(msg)
	if p.in.Value() != before {
		p.narrow()
	}
	return cmd
}

func (p *picker) lines(m *Model, w, h int) (string, []string, int, int) {
	p.in.SetWidth(w - 3)
	x := 2
	if c := p.in.Cursor(); c != nil {
		x += c.X
	}
	out := []string{m.paint(themes.Key, m.glyphs.Cursor) + " " + p.in.View(), ""}
	room := min(h-2, 16)
	top := max(0, p.at-room+1)
	nameW := 10
	for _, it := range p.items {
		nameW = max(nameW, ansi.StringWidth(it.name))
	}
	nameW = min(nameW, w*2/3)
	for i := top; i < len(p.shown) && i < top+room; i++ {
		it := p.items[p.shown[i]]
		if i == p.at {
			out = append(out, m.paint(themes.Selection, m.fit(" "+m.fit(it.name, nameW)+"  "+it.about, w)))
			continue
		}
		out = append(out, " "+m.fit(it.name, nameW)+"  "+m.paint(themes.Dim, it.about))
	}
	if len(p.shown) == 0 {
		out = append(out, m.paint(themes.Dim, " nothing of that name"))
	}
	return p.title, out, x, 0
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

func (t *message) lines(m *Model, w, h int) (string, []string, int, int) {
	var all []string
	for _, l := range t.text {
		all = append(all, strings.Split(ansi.Hardwrap(ansi.Wordwrap(l, w, ""), w, true), "\n")...)
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
