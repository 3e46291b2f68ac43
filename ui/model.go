package ui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/themes"
	"archetype/ui/canvas"
)

// screen is what fills the terminal.
type screen int

const (
	screenLabs screen = iota
	screenMain
	screenConsole
	screenLogs
)

// pane is a part of the main screen.
type pane int

const (
	paneTopology pane = iota
	paneNodes
	paneLinks
	paneEvents
	paneCount
)

// Model is the whole screen. Update changes it and does no I/O; what takes
// time runs in commands.
type Model struct {
	ctx  context.Context
	opt  Options
	send func(tea.Msg)

	theme     *themes.Theme
	autoTheme bool
	glyphs    themes.Glyphs
	prefix    byte

	w, h   int
	engine api.Engine
	lost   error // why there is no engine; nil while there is one, or before
	snap   *api.Snapshot
	opened bool // the file was dealt with

	screen  screen
	labName string
	focus   pane
	full    bool // the pane with the focus fills the screen
	canvas  *canvas.Model
	labs    list
	nodes   list
	links   list
	events  list
	marks   map[string]bool // nodes to act on together
	dialogs []dialog
	flash   string
	flashOK bool
	mine    map[string]bool // jobs asked for here, to be told of their end
	drag    *tea.Mouse

	consoles []*console
	console  int
	logs     *logView

	areas [paneCount]area // where panes were drawn last
	dirty bool
	view  string
	curs  *tea.Cursor
}

// area is a rectangle of the screen; nothing when w is 0.
type area struct{ x, y, w, h int }

func (a area) has(x, y int) bool { return x >= a.x && x < a.x+a.w && y >= a.y && y < a.y+a.h }

type minuteMsg struct{}

func minute() tea.Cmd {
	return tea.Tick(time.Minute, func(time.Time) tea.Msg { return minuteMsg{} })
}

// Init asks the terminal for its background; the first frame does not wait.
func (m *Model) Init() tea.Cmd {
	if m.autoTheme {
		return tea.Batch(tea.RequestBackgroundColor, minute())
	}
	return minute()
}

func (m *Model) setTheme(t *themes.Theme) {
	m.theme = t
	if m.canvas == nil {
		m.canvas = canvas.New(t, m.glyphs)
	} else {
		m.canvas.SetTheme(t)
	}
}

// Update takes in what happened.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.dirty = true
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
		m.resizeConsoles()
	case tea.BackgroundColorMsg:
		if m.autoTheme && !msg.IsDark() {
			if t, err := themes.Load("light", m.opt.ThemesDir); err == nil {
				m.setTheme(t)
			}
		}
	case connectedMsg:
		m.engine, m.lost = msg.engine, nil
		return m, nil
	case lostMsg:
		m.engine, m.lost = nil, msg.err
	case snapshotMsg:
		return m, m.take(msg.snap)
	case minuteMsg:
		return m, minute()
	case resultMsg:
		m.result(msg)
	case planMsg:
		m.askPlan(msg)
	case consoleMsg:
		m.consoleEvent(msg)
	case logMsg:
		m.logEvent(msg)
	case tea.KeyPressMsg:
		return m, m.key(msg)
	case tea.PasteMsg:
		return m, m.paste(msg.Content)
	case tea.MouseMsg:
		m.mouse(msg)
	default:
		if len(m.dialogs) > 0 {
			return m, m.dialogs[len(m.dialogs)-1].other(m, msg)
		}
		m.dirty = false
	}
	return m, nil
}

// lab is the lab on the main screen, nil when it is gone.
func (m *Model) lab() *api.Lab {
	if m.snap == nil || m.labName == "" {
		return nil
	}
	return m.snap.Lab(m.labName)
}

// take shows a newer state.
func (m *Model) take(s *api.Snapshot) tea.Cmd {
	m.snap = s
	for _, j := range s.Jobs {
		if m.mine[j.ID] && j.State.Ended() {
			delete(m.mine, j.ID)
			m.tellEnd(j)
		}
	}
	var cmds []tea.Cmd
	if !m.opened {
		m.opened = true
		if m.opt.File != "" {
			cmds = append(cmds, m.openFile(m.opt.File))
		} else if len(s.Labs) == 1 {
			m.open(s.Labs[0].Name)
		}
	}
	if m.screen == screenMain && m.labName != "" && m.lab() == nil && m.opened && len(m.mine) == 0 {
		m.screen, m.labName = screenLabs, ""
	}
	m.canvas.SetLab(m.lab())
	return tea.Batch(append(cmds, m.reviveConsoles())...)
}

func (m *Model) open(name string) {
	if m.labName != name {
		m.labName, m.marks = name, map[string]bool{}
		m.nodes, m.links, m.events = list{filter: ""}, list{}, list{}
	}
	m.screen = screenMain
	m.canvas.SetLab(m.lab())
}

func (m *Model) say(ok bool, text string) { m.flash, m.flashOK = text, ok }

func (m *Model) push(d dialog) { m.dialogs = append(m.dialogs, d) }

func (m *Model) pop() { m.dialogs = m.dialogs[:len(m.dialogs)-1] }
