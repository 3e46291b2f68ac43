package ui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/themes"
)

// moving are the keys that go from one thing to another, in whatever list.
var moving = []string{"h", "j", "k", "l", "g", "G", "up", "down", "left", "right", "home", "end", "pgup", "pgdown", "ctrl+d", "ctrl+u",
	"enter", "esc", "tab", "shift+tab", "1", "2", "3", "4", "5"}

// slug is what the settings call an action.
func (a *action) slug() string {
	return strings.ReplaceAll(strings.ReplaceAll(a.name, ",", ""), " ", "_")
}

// keysOf are the keys of an action: the user's own or, without one, the usual.
func (m *Model) keysOf(a *action) []string {
	if own := m.opt.Choices.Keys[a.slug()]; own != "" && a.changeable() {
		return []string{own}
	}
	return a.keys
}

// keyOf is the key of an action of that name, where the user is or else
// elsewhere, for texts that name it.
func (m *Model) keyOf(name string) string {
	key := ""
	for _, a := range actions {
		if a.name != name {
			continue
		}
		if a.where(m) {
			return m.keysOf(a)[0]
		}
		key = cmp.Or(key, m.keysOf(a)[0])
	}
	return key
}

// changeable reports whether an action can have another key: what enter and esc
// do depends on where they are pressed.
func (a *action) changeable() bool { return !slices.Contains(moving, a.keys[0]) }

// ownKeys are the actions that have another key than usual.
func (m *Model) ownKeys() []*action {
	var out []*action
	for _, a := range distinct() {
		if m.opt.Choices.Keys[a.slug()] != "" {
			out = append(out, a)
		}
	}
	return out
}

// distinct are the actions whose key can be changed, each once.
func distinct() []*action {
	var out []*action
	seen := map[string]bool{}
	for _, a := range actions {
		if a.changeable() && !seen[a.name] {
			seen[a.name] = true
			out = append(out, a)
		}
	}
	return out
}

func (m *Model) keySet() string {
	if n := len(m.ownKeys()); n > 0 {
		return fmt.Sprintf("the usual, %d changed", n)
	}
	return "the usual"
}

// keySetPicker lists all actions with their keys, to change one.
func (m *Model) keySetPicker() tea.Cmd {
	all := distinct()
	items := []pickItem{{name: "all as usual", about: "forget the keys that were changed"}}
	for _, a := range all {
		items = append(items, pickItem{name: a.name, key: strings.Join(m.keysOf(a), " "), about: a.about})
	}
	m.push(newPicker("the key of which action?", items, func(m *Model, i int) tea.Cmd {
		if i == 0 {
			return m.usualKeys()
		}
		m.push(&keyCatch{all[i-1]})
		return nil
	}))
	return nil
}

func (m *Model) usualKeys() tea.Cmd {
	own, save := m.ownKeys(), m.opt.Save
	if len(own) == 0 || save == nil {
		return nil
	}
	return func() tea.Msg {
		return command(func() resultMsg {
			r := resultMsg{what: "not saved", say: "all keys are as usual"}
			for _, a := range own {
				c, err := save("keys."+a.slug(), "")
				if err != nil {
					r.err = err
					return r
				}
				r.pick = func(m *Model) { m.opt.Choices = c }
			}
			return r
		})
	}
}

// keyCatch takes the next key for an action.
type keyCatch struct{ a *action }

func (c *keyCatch) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	m.pop()
	name := k.String()
	if name == "esc" {
		return nil
	}
	if slices.Contains(moving, name) {
		m.say(false, name+" is for moving about: "+c.a.name+" keeps its key")
		return nil
	}
	for _, b := range actions {
		if b.name != c.a.name && slices.Contains(m.keysOf(b), name) {
			m.say(false, fmt.Sprintf("%s is the key of %q: give that another one first", name, b.name))
			return nil
		}
	}
	return m.saver("keys."+c.a.slug(), c.a.name+" has the key %s")(m, name)
}

func (c *keyCatch) other(*Model, tea.Msg) tea.Cmd { return nil }
func (c *keyCatch) click(*Model, int) tea.Cmd     { return nil }
func (c *keyCatch) wheel(int)                     {}
func (c *keyCatch) atBottom() bool                { return false }

func (c *keyCatch) lines(m *Model, w, _ int) (string, []string, int, int) {
	out := wrapped("Press the key for it: "+c.a.about+".", w)
	return c.a.name, append(out, "", m.paint(themes.Dim, "esc leaves it as it is")), 0, -1
}
