package ui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// consoleKeys work after the key that leaves a console.
var consoleKeys []consoleKey

type consoleKey struct {
	key, hint, about string
	run              func(m *Model, c *console) tea.Cmd
}

func init() {
	consoleKeys = []consoleKey{
		{"q", "back", "back to the lab; the console stays open", func(m *Model, _ *console) tea.Cmd { m.leaveConsole(); return nil }},
		{"n", "next", "the next console", func(m *Model, _ *console) tea.Cmd { m.turnConsole(1); return nil }},
		{"p", "previous", "the previous console", func(m *Model, _ *console) tea.Cmd { m.turnConsole(-1); return nil }},
		{"t", "tile", "all consoles side by side, or one", func(m *Model, _ *console) tea.Cmd {
			m.tiled = !m.tiled
			m.layoutConsoles()
			return nil
		}},
		{"z", "beside the lab", "below the topology, or over the whole screen", func(m *Model, _ *console) tea.Cmd {
			if m.dock {
				m.dock, m.screen, m.focus = false, screenConsole, paneTopology
			} else {
				m.dock, m.screen, m.focus = true, screenMain, paneConsole
			}
			m.layoutConsoles()
			return nil
		}},
		{"a", "type into all", "type into all consoles at once, or no longer", func(m *Model, _ *console) tea.Cmd { m.typeAll = !m.typeAll; return nil }},
		{"/", "search", "search backwards in what was on the screen", func(m *Model, c *console) tea.Cmd { m.searchConsole(c); return nil }},
		{"[", "scroll", "scroll back; esc returns", func(_ *Model, c *console) tea.Cmd { c.scroll(c.h / 2); return nil }},
		{"y", "copy", "choose lines and copy them to the clipboard", func(m *Model, c *console) tea.Cmd { m.beginCopy(c); return nil }},
		{"r", "record", "write all that it shows to a file, or no longer", func(m *Model, c *console) tea.Cmd { return m.recordPrompt(c) }},
		{"f", "whole terminal", "give it this whole terminal", func(m *Model, c *console) tea.Cmd { return m.attach(c.node) }},
		{"w", "close", "close this console", func(m *Model, c *console) tea.Cmd { m.closeConsole(c); return nil }},
		{"?", "help", "these keys", func(m *Model, _ *console) tea.Cmd { return m.help() }},
	}
}

func (m *Model) inConsole() bool {
	return len(m.consoles) > 0 && (m.screen == screenConsole || (m.screen == screenMain && m.dock && m.focus == paneConsole))
}

func (m *Model) consoleHints() []hint {
	c := m.consoles[m.console]
	var out []hint
	switch {
	case c.copy != nil:
		return []hint{{"k j", "line", false}, {"pgup pgdown", "page", false}, {"g G", "ends", false}, {"v", "from here", c.choosing}, {"y", "copy", false}, {"esc", "back", false}}
	case c.prefix:
		for _, k := range consoleKeys {
			out = append(out, hint{key: k.key, text: k.hint})
		}
		return out
	case c.up > 0:
		return []hint{{"esc", "back to now", false}, {"k j", "line", false}, {"pgup pgdown", "page", false}, {"g", "first", false}, {"/", "search", false}, {"y", "copy", false}, {"n N", "next, previous", false}}
	case c.ended != "":
		out = append(out, hint{key: "enter", text: "open it again"})
	}
	p, beside := m.opt.ConsoleKey, "beside the lab"
	if m.dock {
		beside = "whole screen"
	}
	return append(out, hint{p + " q", "back", false}, hint{p + " ?", "help", false}, hint{p + " n", "next", len(m.consoles) < 2}, hint{p + " t", "tile", len(m.consoles) < 2},
		hint{p + " z", beside, false}, hint{"shift+pgup", "scroll", false}, hint{p + " /", "search", false})
}

func (m *Model) leaveConsole() {
	m.screen = screenMain
	if m.focus == paneConsole {
		m.focus = paneTopology
	}
}

func (m *Model) turnConsole(by int) {
	m.console = (m.console + by + len(m.consoles)) % len(m.consoles)
}

func (m *Model) closeConsole(c *console) {
	m.keep(c)
	c.close()
	for i := range m.consoles {
		if m.consoles[i] == c {
			m.consoles = append(m.consoles[:i], m.consoles[i+1:]...)
			break
		}
	}
	m.console = max(0, min(m.console, len(m.consoles)-1))
	if len(m.consoles) == 0 {
		m.dock, m.tiled, m.typeAll = false, false, false
		m.leaveConsole()
	}
	m.layoutConsoles()
}

// consoleKey hands keys to the node, except after the prefix.
func (m *Model) consoleKey(k tea.KeyPressMsg) tea.Cmd {
	c := m.consoles[m.console]
	name := k.String()
	if c.copy != nil {
		return m.copyKey(c, name)
	}
	if c.prefix {
		c.prefix = false
		switch name {
		case "esc", "b":
			name = "q"
		case "tab":
			name = "n"
		case "shift+tab":
			name = "p"
		case "pgup":
			name = "["
		case m.opt.ConsoleKey:
			c.write(string(rune(m.prefix)))
			return nil
		}
		for _, key := range consoleKeys {
			if key.key == name {
				return key.run(m, c)
			}
		}
		m.say(false, m.opt.ConsoleKey+" "+name+" means nothing; "+m.opt.ConsoleKey+" ? lists what does")
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
		m.scrollKey(c, name)
		return nil
	}
	if c.ended != "" {
		if name == "enter" {
			return m.connectConsole(c)
		}
		return nil
	}
	for _, to := range m.typedInto(c) {
		to.mu.Lock()
		if k.Text != "" && k.Mod&^(tea.ModShift|tea.ModCapsLock) == 0 {
			to.em.SendText(k.Text)
		} else {
			to.em.SendKey(uv.KeyPressEvent(k))
		}
		to.mu.Unlock()
	}
	return nil
}

func (m *Model) typedInto(c *console) []*console {
	if m.typeAll {
		return m.consoles
	}
	return []*console{c}
}

func (m *Model) scrollKey(c *console, name string) {
	switch name {
	case "pgup", "ctrl+u", "ctrl+b":
		c.scroll(c.h / 2)
	case "pgdown", "ctrl+d", "ctrl+f", "space":
		c.scroll(-c.h / 2)
	case "k", "up":
		c.scroll(1)
	case "j", "down":
		c.scroll(-1)
	case "g", "home":
		c.scroll(scrollback)
	case "/":
		m.searchConsole(c)
	case "y":
		m.beginCopy(c)
	case "n":
		m.findInConsole(c, 1)
	case "N":
		m.findInConsole(c, -1)
	case "esc", "q", "G", "end", "enter":
		c.up = 0
	}
}

func (c *console) scroll(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = max(0, min(c.up+by, c.em.ScrollbackLen()))
}

func (c *console) wheel(by int) { c.scroll(-by) }

func (m *Model) searchConsole(c *console) {
	m.push(&prompt{title: "search backwards in " + c.node, in: newInput(c.find), low: true, done: func(m *Model, v string) tea.Cmd {
		c.find = v
		m.findInConsole(c, 1)
		return nil
	}})
}

// findInConsole scrolls to where the text is, further back or further on.
func (m *Model) findInConsole(c *console, back int) {
	if c.find == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.em.ScrollbackLen()
	for up := c.up + back; up > 0 && up <= n; up += back {
		if strings.Contains(strings.ToLower(ansi.Strip(c.em.Scrollback().Line(n-up).Render())), strings.ToLower(c.find)) {
			c.up = up
			return
		}
	}
	m.say(false, fmt.Sprintf("%q is not there", c.find))
}

func (m *Model) paste(text string) tea.Cmd {
	if len(m.dialogs) > 0 {
		return m.dialogs[len(m.dialogs)-1].other(m, tea.PasteMsg{Content: text})
	}
	if m.inConsole() {
		for _, c := range m.typedInto(m.consoles[m.console]) {
			c.mu.Lock()
			c.em.Paste(text)
			c.mu.Unlock()
		}
	}
	return nil
}
