package ui

import (
	"context"
	"runtime/debug"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
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
	screenCapture
	screenConfigs
	screenSettings
)

// pane is a part of the main screen.
type pane int

const (
	paneTopology pane = iota
	paneNodes
	paneLinks
	paneEvents
	paneConsole // beside the lab, when one is open there
	paneCount
)

// Model is the whole screen. Update changes it and does no I/O; what takes
// time runs in commands.
type Model struct {
	ctx  context.Context
	opt  Options
	send func(tea.Msg)
	rest rest

	theme     *themes.Theme
	autoTheme bool
	glyphs    themes.Glyphs

	colourless bool
	prefix     byte

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
	order   order
	usage   map[string]usage // of nodes, while it is looked at
	flows   map[string]flow  // of links, likewise, by their end A
	looking bool
	marks   map[string]bool // nodes to act on together
	dialogs []dialog
	history []string // of command lines and paths

	dialogArea area
	flash      string
	flashOK    bool
	said       int // how many flashes there were
	timed      int // of these, for how many the clock runs
	clock      time.Duration

	mine map[string]bool // jobs asked for here, to be told of their end

	destroyed string // the lab that was destroyed from here last
	drag      *tea.Mouse
	labAt     area // the lab's name, in the header

	consoles []*console
	past     []keptConsole // that were closed
	console  int
	dock     bool // consoles are below the topology
	tiled    bool
	typeAll  bool
	logs     *logView
	capture  *captureView
	configs  *configsView
	settings *settingsView

	areas  [paneCount]area  // where panes were drawn last
	tabAt  [paneCount]area  // and the names of those that were not
	rowsOf [paneCount][]int // and which item is in each of their rows
	dirty  bool
	crash  *crashMsg
	view   string
	curs   *tea.Cursor
}

// area is a rectangle of the screen; nothing when w is 0.
type area struct{ x, y, w, h int }

func (a area) has(x, y int) bool { return x >= a.x && x < a.x+a.w && y >= a.y && y < a.y+a.h }

// What the screen tells itself, in time.
type (
	ageMsg   time.Duration   // ages have changed; it comes this often
	flashMsg struct{ n int } // the n-th message has stood long enough
)

const flashTime = 4 * time.Second

// tick keeps ages right: often while a node is young, seldom later, and never
// when no lab is there.
func (m *Model) tick() tea.Cmd {
	want := time.Duration(0)
	if l := m.lab(); l != nil {
		want = time.Minute
		for _, n := range l.Nodes {
			if !n.Since.IsZero() && time.Since(n.Since) < time.Minute {
				want = young
				break
			}
		}
	}
	if want == 0 || (m.clock != 0 && m.clock <= want) {
		return nil
	}
	m.clock = want
	return tea.Tick(want, func(time.Time) tea.Msg { return ageMsg(want) })
}

// panes is how many there are to go to.
func (m *Model) panes() pane {
	if m.dock && len(m.consoles) > 0 {
		return paneCount
	}
	return paneConsole
}

// Init asks the terminal for its background; the first frame does not wait.
func (m *Model) Init() tea.Cmd {
	if m.autoTheme {
		return tea.RequestBackgroundColor
	}
	return nil
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
func (m *Model) Update(msg tea.Msg) (_ tea.Model, cmd tea.Cmd) {
	defer func() {
		if v := recover(); v != nil {
			m.crash, cmd = &crashMsg{v, debug.Stack()}, tea.Quit
		}
	}()
	m.rest.stir()
	cmd = m.update(msg)
	if look := m.look(); look != nil {
		cmd = tea.Batch(cmd, look)
	}
	if m.flash != "" && m.flashOK && m.timed < m.said { // what went wrong stands until it was seen
		m.timed = m.said
		n := m.said
		cmd = tea.Batch(cmd, tea.Tick(flashTime, func(time.Time) tea.Msg { return flashMsg{n} }))
	}
	return m, cmd
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	m.dirty = true
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
		m.layoutConsoles()
	case tea.BackgroundColorMsg:
		if m.autoTheme && !msg.IsDark() {
			if t, err := themes.Load("light", m.opt.ThemesDir); err == nil {
				m.setTheme(t)
			}
		}
	case connectedMsg:
		m.engine, m.lost = msg.engine, nil
	case lostMsg:
		m.engine, m.lost = nil, msg.err
	case snapshotMsg:
		return tea.Batch(m.take(msg.snap), m.tick())
	case crashMsg:
		m.crash = &msg
		return tea.Quit
	case usageMsg:
		return m.usageEvent(msg)
	case trafficMsg:
		return m.trafficEvent(msg)
	case lookMsg:
		m.looking, m.dirty = false, false
	case ageMsg:
		if time.Duration(msg) == m.clock {
			m.clock = 0
			return m.tick()
		}
	case flashMsg:
		if msg.n == m.said {
			m.flash = ""
		} else {
			m.dirty = false
		}
	case resultMsg:
		m.result(msg)
	case planMsg:
		m.askPlan(msg)
	case consoleMsg:
		m.consoleEvent(msg)
	case logMsg:
		m.logEvent(msg)
	case configsMsg:
		m.configsEvent(msg)
	case captureMsg:
		m.captureEvent(msg)
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		return m.paste(msg.Content)
	case tea.MouseMsg:
		return m.mouse(msg)
	default:
		if len(m.dialogs) > 0 {
			return m.dialogs[len(m.dialogs)-1].other(m, msg)
		}
		m.dirty = false
	}
	return nil
}

// lab is the lab on the main screen, nil when it is gone.
func (m *Model) lab() *api.Lab {
	if m.labName == "" {
		return nil
	}
	return m.snapLab(m.labName)
}

func (m *Model) nodeNamed(name string) *api.Node {
	if l := m.lab(); l != nil {
		for _, n := range l.Nodes {
			if n.Name == name {
				return n
			}
		}
	}
	return nil
}

// take shows a newer state.
func (m *Model) take(s *api.Snapshot) tea.Cmd {
	defer m.chooseLab(m.chosenLab()) // what stood above it may have gone
	m.snap = s
	m.forgetConsoles(func(k keptConsole) bool { return s.Lab(k.lab) == nil })
	for _, j := range s.Jobs {
		if m.mine[j.ID] && j.State.Ended() {
			delete(m.mine, j.ID)
			m.tellEnd(j)
			if j.Verb == lab.JobDestroy {
				m.destroyed = j.Lab
			}
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
		if m.destroyed != m.labName {
			m.say(false, "lab "+m.labName+" is no more: it was destroyed, and not from here")
		}
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
	m.screen, m.destroyed = screenMain, ""
	m.canvas.SetLab(m.lab())
}

// say shows a message in place of the keys, until the next key or, if it is a
// good one, for a while.
func (m *Model) say(ok bool, text string) {
	m.flash, m.flashOK = text, ok
	m.said++
}
