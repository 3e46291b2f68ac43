package ui

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/themes"
)

// dialog is something that takes all keys until it is answered.
type dialog interface {
	key(m *Model, k tea.KeyPressMsg) tea.Cmd
	other(m *Model, msg tea.Msg) tea.Cmd
	// click is on a line of it, wheel turns by rows.
	click(m *Model, line int) tea.Cmd
	wheel(by int)
	// lines are at most w wide and h high; cursor is where the user types,
	// y below 0 for nowhere.
	lines(m *Model, w, h int) (title string, lines []string, cx, cy int)
	// atBottom keeps the screen above in sight.
	atBottom() bool
}

func (m *Model) push(d dialog) { m.dialogs = append(m.dialogs, d) }

func (m *Model) pop() { m.dialogs = m.dialogs[:len(m.dialogs)-1] }

// dialogRoom is how wide what is in a dialog can be.
func (m *Model) dialogRoom() int { return min(m.w-4, 84) - 4 }

// overlay draws a dialog over the screen.
func (m *Model) overlay(screen []string, d dialog) []string {
	w := m.dialogRoom() + 4
	if d.atBottom() {
		w = m.w
	}
	title, lines, cx, cy := d.lines(m, w-4, m.h-6)
	for i, l := range lines {
		lines[i] = " " + m.fit(l, w-4) + " "
	}
	box := m.frame(title, "", lines, w, len(lines)+2, true)
	x, y := (m.w-w)/2, max(0, (m.h-len(box))/3)
	if d.atBottom() {
		y = max(0, m.h-len(box))
	}
	m.dialogArea = area{x, y, w, len(box)}
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
	low         bool                         // at the bottom of the screen
	change      func(m *Model, value string) // at every key; may be nil
	done        func(m *Model, value string) tea.Cmd
	cancel      func(m *Model)
	suggest     func(value string) []string // completions of the whole line; may be nil

	offered []string // while tab goes through them
	at      int
	back    int // lines back in the history
}

const (
	suggestRows = 6
	keepHistory = 100
)

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
		v := p.in.Value()
		if p.suggest != nil && strings.TrimSpace(v) != "" {
			m.history = append(m.history, v)
			m.history = m.history[max(0, len(m.history)-keepHistory):]
		}
		return p.done(m, v)
	case "tab", "shift+tab":
		if p.suggest != nil {
			p.complete(k.String() == "tab")
		}
		return nil
	case "up", "down":
		if p.suggest != nil {
			p.recall(m, k.String() == "up")
		}
		return nil
	}
	return p.other(m, k)
}

// complete fills in what is clear and then, key by key, each that is
// possible.
func (p *prompt) complete(forward bool) {
	if p.offered == nil {
		all := p.suggest(p.in.Value())
		if len(all) == 0 {
			return
		}
		if common := commonPrefix(all); len(all) == 1 || len(common) > len(expand(p.in.Value())) {
			if len(all) == 1 && !strings.HasSuffix(common, "/") {
				common += " "
			}
			p.set(common)
			return
		}
		p.offered, p.at = all, -1
	}
	step := 1
	if !forward {
		step = len(p.offered) - 1
	}
	if p.at < 0 && !forward {
		p.at = 0
	}
	p.at = (p.at + step) % len(p.offered)
	p.set(p.offered[p.at])
}

func commonPrefix(all []string) string {
	common := all[0]
	for _, s := range all {
		for !strings.HasPrefix(s, common) {
			common = common[:len(common)-1]
		}
	}
	return common
}

func (p *prompt) set(v string) {
	p.in.SetValue(v)
	p.in.CursorEnd()
}

// recall goes through what was typed before.
func (p *prompt) recall(m *Model, back bool) {
	if back {
		p.back = min(p.back+1, len(m.history))
	} else {
		p.back = max(p.back-1, 0)
	}
	v := ""
	if p.back > 0 {
		v = m.history[len(m.history)-p.back]
	}
	p.set(v)
	p.offered = nil
}

func (p *prompt) other(m *Model, msg tea.Msg) tea.Cmd {
	before := p.in.Value()
	var cmd tea.Cmd
	p.in, cmd = p.in.Update(msg)
	if p.in.Value() != before {
		p.offered = nil
		if p.change != nil {
			p.change(m, p.in.Value())
		}
	}
	return cmd
}

func (p *prompt) click(*Model, int) tea.Cmd { return nil }
func (p *prompt) wheel(int)                 {}
func (p *prompt) atBottom() bool            { return p.low }

func (p *prompt) lines(m *Model, w, h int) (string, []string, int, int) {
	var out []string
	if p.text != "" {
		out = wrapped(p.text, w)
	}
	p.in.SetWidth(w - 3)
	x := 2
	if c := p.in.Cursor(); c != nil {
		x += c.X
	}
	y := len(out)
	out = append(out, m.paint(themes.Key, m.glyphs.Cursor)+" "+p.in.View())
	if p.suggest != nil {
		out = append(out, p.suggestions(m, min(suggestRows, h-len(out)))...)
	}
	return p.title, out, x, y
}

// suggestions shows what tab would fill in.
func (p *prompt) suggestions(m *Model, rows int) []string {
	all, at := p.offered, p.at
	if all == nil {
		all, at = p.suggest(p.in.Value()), -1
		if p.in.Value() == "" && !p.low {
			all = nil // a whole folder says nothing
		}
	}
	var out []string
	top := max(0, at-rows+2)
	for i := top; i < len(all) && len(out) < rows-1; i++ {
		role := themes.Dim
		if i == at {
			role = themes.Accent
		}
		out = append(out, "  "+m.paint(role, all[i]))
	}
	hint := "enter runs, esc leaves"
	if len(all) > 0 {
		hint = "tab completes, " + hint
	}
	return append(out, m.paint(themes.Dim, hint))
}
