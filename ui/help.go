package ui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/lab"
	"archetype/themes"
)

// palette offers every action by name: those that work here, and below them
// those that do elsewhere, with where that is.
func (m *Model) palette() tea.Cmd {
	var all []*action
	var items []pickItem
	listed := map[string]bool{"commands": true}
	offer := func(a *action, why string) {
		if listed[a.name] {
			return
		}
		listed[a.name] = true
		it := pickItem{name: a.name, key: m.keysOf(a)[0], about: a.about}
		if why != "" {
			it.about, it.off = why, true
		}
		all = append(all, a)
		items = append(items, it)
	}
	for _, a := range actions {
		if a.where(m) && !m.inConsole() && (onLists(m) || m.screen == screenSettings) {
			offer(a, a.refusal(m))
		}
	}
	for _, a := range actions {
		if a.in != "" && !a.where(m) {
			offer(a, "works in "+a.in)
		}
	}
	m.push(newPicker("commands", items, func(m *Model, i int) tea.Cmd { return m.do(all[i]) }))
	return nil
}

// keyWidth is the column of keys in the help.
const keyWidth = 12

// help says what the keys do where the user is.
func (m *Model) help() tea.Cmd {
	key := func(k, about string) string {
		lines := wrapped(about, m.dialogRoom()-keyWidth-1)
		return m.paint(themes.Key, m.fit(k, keyWidth)) + " " + strings.Join(lines, "\n"+strings.Repeat(" ", keyWidth+1))
	}
	var text []string
	view := m.fullView()
	switch {
	case m.inConsole():
		text = append(text, "All keys go to the node, but for "+m.opt.ConsoleKey+" and the one after it:", "")
		for _, c := range consoleKeys {
			text = append(text, key(m.opt.ConsoleKey+" "+c.key, c.about))
		}
		text = append(text, key(m.opt.ConsoleKey+" twice", "sends it to the node"), "",
			key("shift+pgup", "goes back in what was on the screen"), "", "The setting console_key chooses another key.")
	case view != nil:
		for _, k := range view.keys() {
			text = append(text, key(k.key, k.about))
		}
	default:
		if onMain(m) {
			text = append(text, key("h j k l", "and the arrows: from node to node, and through lists"), key("g G", "to the first and the last"),
				key("shift+arrow", "pan the topology"), key("1 2 3 4 5", "to a pane; 5 is the console beside the lab"),
				key("mouse", "selects, scrolls and drags; with shift it marks text"))
		}
		group := ""
		for _, a := range actions {
			if a.where(m) {
				if a.group != group {
					if group = a.group; len(text) > 0 && text[len(text)-1] != "" {
						text = append(text, "")
					}
					text = append(text, m.paint(themes.Accent, group))
				}
				about := a.about
				if why := a.refusal(m); why != "" {
					about += m.paint(themes.Dim, " ("+why+")")
				}
				text = append(text, key(strings.Join(m.keysOf(a), " "), about))
			}
		}
		text = append(text, "", key(m.opt.ConsoleKey, "in a console: leave it, or go to another one"), "", "Shapes")
		for _, s := range lab.NodeStates() {
			text = append(text, "  "+m.paint(themes.Node(s), m.glyphs.Node(s))+" "+string(s))
		}
		for _, s := range lab.LinkStates() {
			text = append(text, "  "+m.paint(themes.Link(s), m.glyphs.Link(s))+" link "+string(s))
		}
		text = append(text, "  "+m.glyphs.Outside+" a link that leaves the lab", "  "+m.glyphs.Loop+" a link from a node to itself")
	}
	m.push(&message{title: "help", text: text})
	return nil
}

// themePicker shows the themes; the choice is kept.
func (m *Model) themePicker() tea.Cmd {
	for _, s := range m.screenSettings(m.opt.Choices) {
		if s.name == "theme" {
			return m.change(s)
		}
	}
	return nil
}
