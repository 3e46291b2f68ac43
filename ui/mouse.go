package ui

import tea "charm.land/bubbletea/v2"

const wheelRows = 3

// mouse answers clicks, the wheel and dragging.
func (m *Model) mouse(msg tea.MouseMsg) {
	e := msg.Mouse()
	if len(m.dialogs) > 0 {
		return
	}
	switch m.screen {
	case screenConsole:
		if _, wheel := msg.(tea.MouseWheelMsg); wheel && len(m.consoles) > 0 {
			m.consoles[m.console].wheel(e.Button == tea.MouseWheelUp)
		}
		return
	case screenLogs:
		if _, wheel := msg.(tea.MouseWheelMsg); wheel {
			m.logs.scroll(m, wheelBy(e))
		}
		return
	case screenLabs:
		m.mouseLabs(msg, e)
		return
	}
	p, at := m.paneAt(e.X, e.Y)
	switch msg.(type) {
	case tea.MouseClickMsg:
		m.flash = ""
		if p < 0 || e.Button != tea.MouseLeft {
			return
		}
		again := m.focus == p
		m.focus = p
		m.click(p, e.X-at.x-1, e.Y-at.y-1, again)
		if p == paneTopology {
			m.drag = &e
		}
	case tea.MouseMotionMsg:
		if m.drag != nil {
			m.canvas.Pan(m.drag.X-e.X, m.drag.Y-e.Y)
			m.drag = &e
		}
	case tea.MouseReleaseMsg:
		m.drag = nil
	case tea.MouseWheelMsg:
		if p < 0 {
			return
		}
		switch p {
		case paneTopology:
			m.canvas.Pan(0, wheelBy(e))
		case paneNodes:
			m.focus = p
			m.nodes.move(wheelBy(e), len(m.shownNodes()))
			m.nodes.name = "-"
		case paneLinks:
			m.links.move(wheelBy(e), len(m.shownLinks()))
		case paneEvents:
			m.events.move(wheelBy(e), len(m.shownEvents()))
		}
	}
}

func wheelBy(e tea.Mouse) int {
	if e.Button == tea.MouseWheelUp {
		return -wheelRows
	}
	return wheelRows
}

func (m *Model) paneAt(x, y int) (pane, area) {
	for p, a := range m.areas {
		if a.w > 0 && a.has(x, y) {
			return pane(p), a
		}
	}
	return -1, area{}
}

func (m *Model) click(p pane, x, y int, _ bool) {
	switch p {
	case paneTopology:
		node, link := m.canvas.Hit(x, y)
		switch {
		case node != "":
			m.canvas.Select(node)
		case link != "":
			m.canvas.SelectLink(link)
			for i, k := range m.shownLinks() {
				if k.ID() == link {
					m.links.at = i
				}
			}
		}
	case paneNodes:
		nodes := m.shownNodes()
		if i := m.nodes.top + y; y >= 0 && i < len(nodes) {
			m.nodes.at, m.nodes.name = i, nodes[i].Name
			m.canvas.Select(nodes[i].Name)
		}
	case paneLinks:
		links := m.shownLinks()
		if i := m.links.top + y; y >= 0 && i < len(links) {
			m.links.at = i
			m.canvas.SelectLink(links[i].ID())
		}
	case paneEvents:
		m.events.at = m.events.top + max(0, y-len(m.running()))
	}
}

func (m *Model) mouseLabs(msg tea.MouseMsg, e tea.Mouse) {
	labs := m.shownLabs()
	switch msg.(type) {
	case tea.MouseClickMsg:
		i := m.labs.top + e.Y - 2
		if e.Y < 2 || i >= len(labs) {
			return
		}
		if i == m.labs.at {
			m.open(labs[i].Name)
		}
		m.labs.at = i
	case tea.MouseWheelMsg:
		m.labs.move(wheelBy(e), len(labs))
	}
}
