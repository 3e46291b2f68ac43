package ui

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/attach"
	"archetype/lab"
	"archetype/themes"
)

const scrollback = 10000 // lines of a console that are kept

// console is a node's console in a terminal of our own: what the device
// sends changes that terminal only, never the user's.
type console struct {
	lab, node string
	since     time.Time // of the node's boot that it belongs to
	send      func(tea.Msg)

	mu     sync.Mutex // of the emulator
	em     *vt.Emulator
	con    backends.Console
	cancel func()
	told   atomic.Bool // the screen was told that there is something new

	w, h   int
	up     int // rows scrolled back
	ended  string
	prefix bool // the prefix key was pressed
}

// consoleMsg says that a console has something new, has opened or has ended.
type consoleMsg struct {
	c      *console
	con    backends.Console
	cancel func()
	err    error
	ended  bool
}

// openConsole goes to the node's console, and opens it if it is not open.
func (m *Model) openConsole(node string) tea.Cmd {
	for i, c := range m.consoles {
		if c.lab == m.labName && c.node == node {
			m.console, m.screen = i, screenConsole
			if c.ended != "" {
				return m.connectConsole(c)
			}
			return nil
		}
	}
	w, h := m.w, m.h-3
	c := &console{lab: m.labName, node: node, em: vt.NewEmulator(w, h), w: w, h: h, send: m.send}
	c.em.SetScrollbackSize(scrollback)
	m.consoles = append(m.consoles, c)
	m.console, m.screen = len(m.consoles)-1, screenConsole
	// Replies to the device's questions and what the user types come out of
	// the emulator here; somebody must always read them, or it blocks.
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.em.Read(buf)
			if err != nil {
				return
			}
			c.mu.Lock()
			con := c.con
			c.mu.Unlock()
			if con != nil {
				_, _ = con.Write(buf[:n])
			}
		}
	}()
	return m.connectConsole(c)
}

func (m *Model) connectConsole(c *console) tea.Cmd {
	e, parent := m.engine, m.ctx
	c.ended = ""
	if n := m.nodeOf(c); n != nil {
		c.since = n.Since
	}
	if e == nil {
		c.ended = "there is no engine at the moment"
		return nil
	}
	size := backends.Size{Cols: c.w, Rows: c.h}
	return func() tea.Msg {
		ctx, cancel := context.WithCancel(parent)
		con, err := e.Console(ctx, c.lab, c.node, size)
		if err != nil {
			cancel()
			return consoleMsg{c: c, err: err, ended: true}
		}
		return consoleMsg{c: c, con: con, cancel: cancel}
	}
}

func (m *Model) nodeOf(c *console) *api.Node {
	if m.snap == nil {
		return nil
	}
	l := m.snap.Lab(c.lab)
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if n.Name == c.node {
			return n
		}
	}
	return nil
}

func (m *Model) consoleEvent(msg consoleMsg) {
	c := msg.c
	switch {
	case msg.err != nil:
		c.ended = msg.err.Error()
	case msg.ended:
		c.ended = "the console has ended"
	case msg.con != nil:
		c.mu.Lock()
		c.con, c.cancel = msg.con, msg.cancel
		c.mu.Unlock()
		_ = msg.con.Resize(backends.Size{Cols: c.w, Rows: c.h})
		go c.read(msg.con)
	default:
		c.told.Store(false)
		m.dirty = m.screen == screenConsole && m.console < len(m.consoles) && m.consoles[m.console] == c
	}
}

// read feeds the emulator; the screen is told once per frame.
func (c *console) read(con backends.Console) {
	buf := make([]byte, 32<<10)
	for {
		n, err := con.Read(buf)
		if n > 0 {
			c.mu.Lock()
			_, _ = c.em.Write(buf[:n])
			c.mu.Unlock()
			if c.told.CompareAndSwap(false, true) {
				time.AfterFunc(frameTime/2, func() { c.send(consoleMsg{c: c}) })
			}
		}
		if err != nil {
			c.mu.Lock()
			if c.con == con {
				c.con = nil
			}
			c.mu.Unlock()
			_ = con.Close()
			c.send(consoleMsg{c: c, ended: true})
			return
		}
	}
}

// reviveConsoles opens consoles again whose node has started again.
func (m *Model) reviveConsoles() tea.Cmd {
	var cmds []tea.Cmd
	for _, c := range m.consoles {
		if n := m.nodeOf(c); c.ended != "" && n != nil && n.Actual == lab.NodeRunning && n.Since.After(c.since) {
			cmds = append(cmds, m.connectConsole(c))
		}
	}
	return tea.Batch(cmds...)
}

func (m *Model) resizeConsoles() {
	for _, c := range m.consoles {
		w, h := max(m.w, 20), max(m.h-3, 5)
		if w == c.w && h == c.h {
			continue
		}
		c.w, c.h = w, h
		c.mu.Lock()
		c.em.Resize(w, h)
		con := c.con
		c.mu.Unlock()
		if con != nil {
			_ = con.Resize(backends.Size{Cols: w, Rows: h})
		}
	}
}

func (c *console) close() {
	c.mu.Lock()
	con, cancel := c.con, c.cancel
	c.mu.Unlock()
	if con != nil {
		_ = con.Close()
	}
	if cancel != nil {
		cancel()
	}
	_ = c.em.Close()
}

func (m *Model) closeAll() {
	for _, c := range m.consoles {
		c.close()
	}
	if m.logs != nil {
		m.logs.close()
	}
	if m.engine != nil {
		_ = m.engine.Close()
	}
}

func (m *Model) consoleHints() [][2]string {
	if c := m.consoles[m.console]; c.prefix {
		return [][2]string{{"q", "back to the lab"}, {"n p", "other consoles"}, {"w", "close this one"}, {"f", "full screen"}, {"pgup", "scroll back"}, {m.opt.ConsoleKey, "send it to the node"}}
	} else if c.ended != "" {
		return [][2]string{{"enter", "open it again"}, {m.opt.ConsoleKey + " q", "back to the lab"}}
	}
	return [][2]string{{m.opt.ConsoleKey + " q", "back"}, {m.opt.ConsoleKey + " n", "next console"}, {m.opt.ConsoleKey + " f", "full screen"}, {"shift+pgup", "scroll back"}}
}

// consoleKey hands keys to the node, except after the prefix.
func (m *Model) consoleKey(k tea.KeyPressMsg) tea.Cmd {
	c := m.consoles[m.console]
	name := k.String()
	if c.prefix {
		c.prefix = false
		switch name {
		case "q", "esc", "b":
			m.screen = screenMain
		case "n", "tab":
			m.console = (m.console + 1) % len(m.consoles)
		case "p", "shift+tab":
			m.console = (m.console + len(m.consoles) - 1) % len(m.consoles)
		case "w":
			c.close()
			m.consoles = append(m.consoles[:m.console], m.consoles[m.console+1:]...)
			m.console = max(0, m.console-1)
			m.screen = screenMain
		case "f":
			return m.attach(c.node)
		case "pgup", "[":
			c.scroll(c.h / 2)
		case "?":
			return m.help()
		case m.opt.ConsoleKey:
			c.write(string(rune(m.prefix)))
		}
		return nil
	}
	switch name {
	case m.opt.ConsoleKey:
		c.prefix = true
		return nil
	case "shift+pgup":
		c.scroll(c.h / 2)
		return nil
	case "shift+pgdown":
		c.scroll(-c.h / 2)
		return nil
	}
	if c.up > 0 {
		switch name {
		case "pgup", "k", "up":
			c.scroll(c.h / 2)
		case "pgdown", "j", "down":
			c.scroll(-c.h / 2)
		default:
			c.up = 0
		}
		return nil
	}
	if c.ended != "" {
		if name == "enter" {
			return m.connectConsole(c)
		}
		return nil
	}
	c.mu.Lock()
	em := c.em
	c.mu.Unlock()
	if k.Text != "" && k.Mod&^(tea.ModShift|tea.ModCapsLock) == 0 {
		em.SendText(k.Text)
		return nil
	}
	em.SendKey(uv.KeyPressEvent(k))
	return nil
}

func (c *console) write(s string) {
	c.mu.Lock()
	con := c.con
	c.mu.Unlock()
	if con != nil {
		_, _ = io.WriteString(con, s)
	}
}

func (c *console) scroll(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = max(0, min(c.up+by, c.em.ScrollbackLen()))
}

func (c *console) wheel(up bool) {
	if up {
		c.scroll(wheelRows)
	} else {
		c.scroll(-wheelRows)
	}
}

func (m *Model) paste(text string) tea.Cmd {
	if len(m.dialogs) > 0 {
		return m.dialogs[len(m.dialogs)-1].other(m, tea.PasteMsg{Content: text})
	}
	if m.screen == screenConsole && m.console < len(m.consoles) {
		m.consoles[m.console].em.Paste(text)
	}
	return nil
}

// consoleLines draws the tabs and the terminal below.
func (m *Model) consoleLines(w, h int) []string {
	var tabs strings.Builder
	for i, c := range m.consoles {
		role := themes.Dim
		if i == m.console {
			role = themes.Selection
		}
		name := " " + c.node + " "
		if c.ended != "" {
			name = " " + c.node + " (ended) "
		}
		tabs.WriteString(m.paint(role, name) + " ")
	}
	c := m.consoles[m.console]
	switch {
	case c.ended != "":
		tabs.WriteString(m.paint(themes.Bad, "  "+clean(c.ended)))
	case c.up > 0:
		tabs.WriteString(m.paint(themes.Busy, fmt.Sprintf("  %d lines back; any other key returns", c.up)))
	}
	out := []string{m.fit(tabs.String(), w)}
	c.mu.Lock()
	defer c.mu.Unlock()
	screen := strings.Split(c.em.Render(), "\n")
	if c.up > 0 {
		n := c.em.ScrollbackLen()
		back := make([]string, 0, c.up)
		for i := max(0, n-c.up); i < n && len(back) < h; i++ {
			back = append(back, c.em.Scrollback().Line(i).Render())
		}
		screen = append(back, screen...)
	}
	for i := 0; len(out) < h; i++ {
		line := ""
		if i < len(screen) {
			line = strings.TrimSuffix(screen[i], "\r")
		}
		out = append(out, m.fit(line, w))
	}
	if pos := c.em.CursorPosition(); c.up == 0 && c.ended == "" && pos.Y < h-1 && !c.em.CursorHidden() {
		m.curs = tea.NewCursor(min(pos.X, w-1), pos.Y+2)
	}
	return out
}

// attach gives the user's terminal to the node's console.
func (m *Model) attach(node string) tea.Cmd {
	if m.engine == nil {
		m.say(false, "there is no engine at the moment")
		return nil
	}
	a := &attached{ctx: m.ctx, e: m.engine, lab: m.labName, node: node, key: m.prefix, name: m.opt.ConsoleKey}
	return tea.Exec(a, func(err error) tea.Msg {
		return resultMsg{what: "console of " + node, err: err}
	})
}

// attached is tea.ExecCommand.
type attached struct {
	ctx             context.Context
	e               api.Engine
	lab, node, name string
	key             byte
}

func (a *attached) Run() error {
	fmt.Fprintf(os.Stdout, "\x1b[2J\x1b[Hconsole of %s: %s comes back\r\n", a.node, a.name)
	return attach.Attach(a.ctx, a.e, a.lab, a.node, a.key)
}

func (a *attached) SetStdin(io.Reader)  {}
func (a *attached) SetStdout(io.Writer) {}
func (a *attached) SetStderr(io.Writer) {}
