package ui

import tea "charm.land/bubbletea/v2"

const wheelRows = 3

// mouse answers clicks, the wheel and dragging.
func (m *Model) mouse(msg tea.MouseMsg) tea.Cmd {
	e := msg.Mouse()
	_, turned := msg.(tea.MouseWheelMsg)
	_, clicked := msg.(tea.MouseClickMsg)
	if clicked {
		m.flash = ""
	}
	switch {
	case !clicked && !turned && m.drag == nil:
		m.dirty = false
		return nil
	case len(m.dialogs) > 0:
		return m.mouseDialog(e, clicked, turned)
	case m.screen == screenConsole && len(m.consoles) > 0:
		m.mouseConsole(e, clicked, turned)
		return nil
	case m.screen == screenLogs:
		if turned {
			m.logs.scroll(wheelBy(e))
		}
		return nil
	case m.screen == screenConfigs:
		if turned {
			m.configs.top += wheelBy(e)
		} else if i := m.configs.list.top + e.Y - 2; e.Y >= 2 && e.Y < m.h-m.configs.h-4 && i <= len(m.configs.kept) {
			m.configs.list.at, m.configs.top = i, 0
		}
		return nil
	case m.screen == screenCapture:
		m.capture.mouse(e, clicked, turned)
		return nil
	case m.screen == screenSettings:
		return m.settings.mouse(m, e, clicked, turned)
	case m.screen == screenLabs:
		m.mouseLabs(e, clicked, turned)
		return nil
	}
	if clicked && m.labAt.has(e.X, e.Y) {
		return m.switchLab()
	}
	m.mouseMain(msg, e)
	return nil
}

func (m *Model) mouseDialog(e tea.Mouse, clicked, turned bool) tea.Cmd {
	d := m.dialogs[len(m.dialogs)-1]
	switch {
	case turned:
		d.wheel(wheelBy(e))
	case clicked && !m.dialogArea.has(e.X, e.Y):
		return d.key(m, tea.KeyPressMsg(tea.Key{Code: tea.KeyEscape}))
	case clicked:
		return d.click(m, e.Y-m.dialogArea.y-1)
	}
	return nil
}

// mouseConsole chooses a console, by its tab or its tile, and scrolls back.
func (m *Model) mouseConsole(e tea.Mouse, clicked, turned bool) {
	at := m.console
	for i, a := range m.tiles() {
		if a.has(e.X, e.Y) {
			at = i
		}
	}
	if e.Y == 1 && m.screen == screenConsole && !m.tiled {
		x := 0
		for i, c := range m.consoles {
			if x += len(c.node) + 3; e.X < x {
				at = i
				break
			}
		}
	}
	if turned {
		m.consoles[at].wheel(wheelBy(e))
	} else if clicked {
		m.console = at
	}
}

func (m *Model) mouseMain(msg tea.MouseMsg, e tea.Mouse) {
	p, at := m.paneAt(e.X, e.Y)
	switch msg.(type) {
	case tea.MouseClickMsg:
		if p < 0 || e.Button != tea.MouseLeft {
			return
		}
		m.focus = p
		if p == paneConsole {
			m.mouseConsole(e, true, false)
			return
		}
		m.click(p, e.X-at.x-1, e.Y-at.y-1)
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
		switch p {
		case paneTopology:
			m.canvas.Pan(0, wheelBy(e))
		case paneNodes:
			m.nodes.move(wheelBy(e), len(m.shownNodes()))
			m.focus = p
			m.follow()
		case paneLinks:
			m.links.move(wheelBy(e), len(m.shownLinks()))
		case paneEvents:
			m.events.move(wheelBy(e), len(m.shownEvents()))
		case paneConsole:
			m.mouseConsole(e, false, true)
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
	for p, a := range m.tabAt {
		if a.w > 0 && a.has(x, y) {
			return pane(p), a
		}
	}
	for p, a := range m.areas {
		if a.w > 0 && a.has(x, y) {
			return pane(p), a
		}
	}
	return -1, area{}
}

// click chooses what is in a row or at a place of a pane.
func (m *Model) click(p pane, x, y int) {
	if p == paneTopology {
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
		return
	}
	if y < 0 || y >= len(m.rowsOf[p]) {
		return
	}
	i := m.rowsOf[p][y]
	if i < 0 {
		return
	}
	switch p {
	case paneNodes:
		if nodes := m.shownNodes(); i < len(nodes) {
			m.nodes.at, m.nodes.name = i, nodes[i].Name
			m.canvas.Select(nodes[i].Name)
		}
	case paneLinks:
		if links := m.shownLinks(); i < len(links) {
			m.links.at = i
			m.canvas.SelectLink(links[i].ID())
		}
	case paneEvents:
		m.events.at = i
	}
}

func (m *Model) mouseLabs(e tea.Mouse, clicked, turned bool) {
	labs := m.shownLabs()
	switch {
	case clicked:
		i := m.labs.top + e.Y - 3
		if e.Y < 3 || i >= len(labs) {
			return
		}
		if i == m.labs.at {
			m.open(labs[i].Name)
		}
		m.labs.at = i
	case turned:
		m.labs.move(wheelBy(e), len(labs))
	}
}
