package ui

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"

	"archetype/engine/api"
	"archetype/lab"
)

const (
	scrollback = 10000   // lines of a console that are kept
	keepTyped  = 1 << 20 // bytes typed that a node has not taken yet
)

// console is a node's console in a terminal of our own: what the device
// sends changes that terminal only, never the user's.
type console struct {
	lab, node string
	since     time.Time // of the node's boot that it belongs to
	send      func(tea.Msg)
	told      atomic.Bool // the screen was told that there is something new

	mu sync.Mutex // of the emulator
	em *vt.Emulator

	io     sync.Mutex // of what follows
	con    api.Console
	cancel func()
	typed  []byte
	wake   chan struct{}
	closed bool

	w, h   int
	up     int // rows scrolled back
	ended  string
	prefix bool // the prefix key was pressed
	find   string

	copy     *copying // nil: no lines are being chosen
	choosing bool     // the choice has begun

	rec       sync.Mutex // of what follows
	recording *recording
}

// consoleMsg says that a console has something new, has opened or has ended.
type consoleMsg struct {
	c      *console
	con    api.Console
	cancel func()
	err    error
	ended  bool
}

// openConsole goes to the node's console, and opens it if it is not open.
func (m *Model) openConsole(node string) tea.Cmd {
	cmd := m.consoleOf(node)
	m.screen, m.dock = screenConsole, false
	m.layoutConsoles()
	return cmd
}

// openConsoleBeside opens it below the topology.
func (m *Model) openConsoleBeside(node string) tea.Cmd {
	cmd := m.consoleOf(node)
	m.screen, m.dock, m.focus = screenMain, true, paneConsole
	m.layoutConsoles()
	return cmd
}

func (m *Model) consoleOf(node string) tea.Cmd {
	for i, c := range m.consoles {
		if c.lab == m.labName && c.node == node {
			m.console = i
			if c.ended != "" {
				return m.connectConsole(c)
			}
			return nil
		}
	}
	w, h := max(m.w, 20), max(m.h-3, 5)
	c := &console{lab: m.labName, node: node, em: newEmulator(w, h), w: w, h: h, send: m.send, wake: make(chan struct{}, 1)}
	m.recallConsole(c)
	m.consoles = append(m.consoles, c)
	m.console = len(m.consoles) - 1
	go m.guard(c.collect)
	go m.guard(c.deliver)
	return m.connectConsole(c)
}

// newEmulator is a terminal for a device. A device may ask for a thing to be
// done two thousand million times, which takes minutes: what a line has no
// room for does nothing.
func newEmulator(w, h int) *vt.Emulator {
	em := vt.NewEmulator(w, h)
	em.SetScrollbackSize(scrollback)
	for _, final := range "bIXZ" { // repeat, tab, erase, tab back
		em.RegisterCsiHandler(int(final), func(params ansi.Params) bool {
			n, _, _ := params.Param(0, 1)
			return n > 4*em.Width()
		})
	}
	return em
}

// hangUp ends who reads from an emulator. Its own Close does not mind who else
// uses it at the moment.
func hangUp(em *vt.Emulator) {
	if w, ok := em.InputPipe().(*io.PipeWriter); ok {
		_ = w.CloseWithError(io.EOF)
	}
}

// collect takes what comes out of the emulator: what the user types, and
// replies to the device's questions. It must never wait for the node, or the
// emulator and with it the screen would.
func (c *console) collect() {
	buf := make([]byte, 4096)
	for {
		n, err := c.em.Read(buf)
		if err != nil {
			c.io.Lock()
			c.closed = true
			c.io.Unlock()
			close(c.wake)
			return
		}
		c.write(string(buf[:n]))
	}
}

func (c *console) write(s string) {
	c.io.Lock()
	if !c.closed && c.con != nil && len(c.typed)+len(s) <= keepTyped {
		c.typed = append(c.typed, s...)
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.io.Unlock()
}

// deliver hands it to the node, as fast as that takes it.
func (c *console) deliver() {
	for range c.wake {
		c.io.Lock()
		typed, con := c.typed, c.con
		c.typed = nil
		c.io.Unlock()
		if con != nil && len(typed) > 0 {
			_, _ = con.Write(typed)
		}
	}
}

func (m *Model) connectConsole(c *console) tea.Cmd {
	e, parent := m.engine, m.ctx
	again := c.ended != ""
	c.ended = ""
	if n := m.nodeOf(c); n != nil {
		c.since = n.Since
	}
	if e == nil {
		c.ended = "there is no engine at the moment"
		return nil
	}
	if again {
		c.mu.Lock()
		_, _ = c.em.Write([]byte("\x1b[0m\r\n\x1b[2m-- " + c.node + ": console opened again --\x1b[0m\r\n"))
		c.mu.Unlock()
	}
	size := api.Size{Cols: c.w, Rows: c.h}
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

func (m *Model) snapLab(name string) *api.Lab {
	if m.snap == nil {
		return nil
	}
	return m.snap.Lab(name)
}

func (m *Model) nodeOf(c *console) *api.Node {
	if l := m.snapLab(c.lab); l != nil {
		for _, n := range l.Nodes {
			if n.Name == c.node {
				return n
			}
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
		c.ended = "ended; it opens again when " + c.node + " starts again"
	case msg.con != nil:
		c.io.Lock()
		closed := c.closed
		c.con, c.cancel, c.typed = msg.con, msg.cancel, nil
		c.io.Unlock()
		if closed {
			c.close()
			return
		}
		_ = msg.con.Resize(api.Size{Cols: c.w, Rows: c.h})
		go m.guard(func() { c.read(msg.con) })
	default:
		c.told.Store(false)
		m.dirty = m.screen == screenConsole || m.dock
	}
}

// feed has the emulator take in what the device sent. What it trips over ends
// the console and not the workbench.
func (c *console) feed(b []byte) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the device sent what cannot be shown: %v", v)
		}
	}()
	_, err = c.em.Write(b)
	return err
}

// read feeds the emulator; the screen is told once per frame.
func (c *console) read(con api.Console) {
	buf := make([]byte, 32<<10)
	for {
		n, err := con.Read(buf)
		if n > 0 {
			c.heard(buf[:n])
			if ferr := c.feed(buf[:n]); ferr != nil {
				err = ferr
			}
			if c.told.CompareAndSwap(false, true) {
				time.AfterFunc(frameTime/2, func() { c.send(consoleMsg{c: c}) })
			}
		}
		if err != nil {
			c.io.Lock()
			mine := c.con == con
			if mine {
				c.con = nil
			}
			c.io.Unlock()
			_ = con.Close()
			if mine {
				c.send(consoleMsg{c: c, ended: true})
			}
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

func (c *console) resize(w, h int) {
	if w == c.w && h == c.h {
		return
	}
	c.w, c.h = w, h
	c.mu.Lock()
	c.reflow(w, h)
	c.mu.Unlock()
	c.io.Lock()
	con := c.con
	c.io.Unlock()
	if con != nil {
		_ = con.Resize(api.Size{Cols: w, Rows: h})
	}
}

// reflow changes the terminal's size and loses nothing of what is on it: what
// has no room any more is wrapped, and goes up into the scrollback.
func (c *console) reflow(w, h int) {
	pos := c.em.CursorPosition()
	lines := strings.Split(strings.ReplaceAll(c.em.Render(), "\r", ""), "\n")
	last := pos.Y
	wide := false
	for i, l := range lines {
		l = strings.TrimRight(l, " ")
		if i == pos.Y { // but for what is before the cursor
			l += strings.Repeat(" ", max(0, pos.X-ansi.StringWidth(l)))
		}
		lines[i] = l
		if n := ansi.StringWidth(l); n > 0 {
			last = max(last, i)
			wide = wide || n > w
		}
	}
	if c.em.IsAltScreen() || (!wide && last < h) || last >= len(lines) {
		c.em.Resize(w, h) // a program that fills the screen draws it anew itself
		return
	}
	_, _ = c.em.WriteString("\x1b[0m\x1b[H\x1b[J")
	c.em.Resize(w, h)
	_, _ = c.em.WriteString(strings.Join(lines[:last+1], "\r\n"))
	if up := last - pos.Y; up > 0 {
		_, _ = fmt.Fprintf(c.em, "\x1b[%dA", up)
	}
	_, _ = fmt.Fprintf(c.em, "\x1b[0m\x1b[%dG", pos.X%w+1)
}

func (c *console) close() {
	c.io.Lock()
	con, cancel := c.con, c.cancel
	c.con, c.closed = nil, true
	c.io.Unlock()
	if con != nil {
		_ = con.Close()
	}
	if cancel != nil {
		cancel()
	}
	hangUp(c.em)
	_, _ = c.endRecord()
}

func (m *Model) closeAll() {
	for _, c := range m.consoles {
		c.close()
	}
	if m.logs != nil {
		m.logs.close()
	}
	if m.capture != nil {
		m.capture.close()
	}
	if m.engine != nil {
		_ = m.engine.Close()
	}
}
