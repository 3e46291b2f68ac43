package ui

import (
	tea "charm.land/bubbletea/v2"

	"archetype/ui/canvas"
)

// move answers the keys that go somewhere.
func (m *Model) move(k string) bool {
	if m.screen == screenLabs {
		return m.labs.key(k, len(m.shownLabs()), m.h-5)
	}
	inside := m.areas[m.focus].h - 2
	switch m.focus {
	case paneNodes:
		if m.nodes.key(k, len(m.shownNodes()), inside) {
			m.follow()
			return true
		}
	case paneLinks:
		if m.links.key(k, len(m.shownLinks()), inside) {
			m.follow()
			return true
		}
	case paneEvents:
		return m.events.key(k, len(m.shownEvents()), inside)
	case paneTopology:
		return m.moveTopology(k)
	}
	return false
}

// follow lets the topology show what the list with the focus has chosen.
func (m *Model) follow() {
	switch m.focus {
	case paneNodes:
		if nodes := m.shownNodes(); m.screen == screenMain && m.nodes.at < len(nodes) {
			m.nodes.name = nodes[m.nodes.at].Name
			m.canvas.Select(m.nodes.name)
		}
	case paneLinks:
		if k := m.link(); k != nil && m.screen == screenMain {
			m.canvas.SelectLink(k.ID())
		}
	}
}

func (m *Model) moveTopology(k string) bool {
	switch k {
	case "h", "left":
		m.canvas.Move(canvas.Left)
	case "l", "right":
		m.canvas.Move(canvas.Right)
	case "k", "up":
		m.canvas.Move(canvas.Up)
	case "j", "down":
		m.canvas.Move(canvas.Down)
	case "shift+left":
		m.canvas.Pan(-8, 0)
	case "shift+right":
		m.canvas.Pan(8, 0)
	case "shift+up":
		m.canvas.Pan(0, -4)
	case "shift+down":
		m.canvas.Pan(0, 4)
	case "g", "home":
		m.canvas.First()
	case "G", "end":
		m.canvas.Last()
	default:
		return false
	}
	m.canvas.SelectLink("")
	return true
}

func (m *Model) currentList() *list {
	switch {
	case m.screen == screenLabs:
		return &m.labs
	case m.focus == paneLinks:
		return &m.links
	case m.focus == paneEvents:
		return &m.events
	}
	return &m.nodes
}

func (m *Model) clearFilter() bool {
	if l := m.currentList(); l.filter != "" {
		l.filter = ""
		return true
	}
	return false
}

func (m *Model) filterPrompt() tea.Cmd {
	if m.focus == paneTopology && m.screen == screenMain {
		m.focus = paneNodes
	}
	l := m.currentList()
	before := l.filter
	m.push(&prompt{title: "filter", text: "Words that must be in a row; ! in front: that must not.", in: newInput(l.filter), low: true,
		change: func(m *Model, v string) { l.filter, l.at, l.name = v, 0, ""; m.follow() },
		done:   func(m *Model, v string) tea.Cmd { l.filter = v; m.follow(); return nil },
		cancel: func(*Model) { l.filter = before }})
	return nil
}
