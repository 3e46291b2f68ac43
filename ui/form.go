package ui

import (
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"archetype/themes"
)

// form asks for several things at once. It stays until what it asks for could
// be done or is given up.
type form struct {
	title  string
	fields []field
	at     int
	err    string
	follow func(f *form) // after each key; may be nil
	done   func(m *Model, f *form) tea.Cmd
}

type field struct {
	name, about string
	in          textinput.Model
}

func newField(name, value, about string) field { return field{name, about, newInput(value)} }

func (f *form) value(i int) string { return strings.TrimSpace(f.fields[i].in.Value()) }

func (f *form) set(i int, v string) {
	f.fields[i].in.SetValue(v)
	f.fields[i].in.CursorEnd()
}

// close takes the form away, whatever has come over it since.
func (f *form) close(m *Model) {
	for i, d := range m.dialogs {
		if d == dialog(f) {
			m.dialogs = append(m.dialogs[:i], m.dialogs[i+1:]...)
			return
		}
	}
}

func (f *form) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+c":
		m.pop()
	case "enter":
		f.err = ""
		return f.done(m, f)
	case "tab", "down":
		f.at = (f.at + 1) % len(f.fields)
	case "shift+tab", "up":
		f.at = (f.at + len(f.fields) - 1) % len(f.fields)
	default:
		return f.other(m, k)
	}
	return nil
}

func (f *form) other(_ *Model, msg tea.Msg) tea.Cmd {
	was := f.value(f.at)
	var cmd tea.Cmd
	f.fields[f.at].in, cmd = f.fields[f.at].in.Update(msg)
	if f.value(f.at) != was {
		f.err = ""
	}
	if f.follow != nil {
		f.follow(f)
	}
	return cmd
}

func (f *form) click(_ *Model, line int) tea.Cmd {
	if line >= 0 && line < len(f.fields) {
		f.at = line
	}
	return nil
}

func (f *form) wheel(int)      {}
func (f *form) atBottom() bool { return false }

// formLabel is the column of names.
const formLabel = 14

func (f *form) lines(m *Model, w, _ int) (string, []string, int, int) {
	var out []string
	x := 0
	for i := range f.fields {
		d := &f.fields[i]
		d.in.SetWidth(w - formLabel - 3)
		role := themes.Dim
		if i == f.at {
			role = themes.Key
			if c := d.in.Cursor(); c != nil {
				x = formLabel + c.X
			}
		}
		out = append(out, m.paint(role, m.fit(d.name, formLabel))+d.in.View())
	}
	out = append(out, "")
	for _, l := range wrapped(f.fields[f.at].about, w) {
		out = append(out, m.paint(themes.Dim, l))
	}
	for _, l := range wrapped(clean(f.err), w) {
		if f.err != "" {
			out = append(out, m.paint(themes.Bad, l))
		}
	}
	return f.title, append(out, m.paint(themes.Dim, "tab goes on, enter makes it, esc leaves")), x, f.at
}
