package ui

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/themes"
)

const (
	keepLog  = 20000 // lines of a log that are kept
	sideways = 20    // columns of a step to the side
)

// logView follows a node's log.
type logView struct {
	node   string
	cancel func()
	told   atomic.Bool

	mu    sync.Mutex
	fresh []string // read, but not yet shown
	ended string

	all    []string
	filter string
	find   string
	found  int // the line that was found last, -1 for none
	top    int
	left   int
	follow bool
	wrap   bool
	w, h   int
}

type logMsg struct{ l *logView }

// logKeys are the keys of a log, for the footer and the help.
var logKeys = []viewKey{
	{"esc", "back", "back to the lab; first without the filter, if there is one"},
	{"f", "follow", "follow what comes, or stay"},
	{"/", "filter", "show only lines with these words; ! turns it round"},
	{"s", "search", "go to a line with this text, backwards"},
	{"n N", "next, previous", "the next line found, further back or further on"},
	{"w", "wrap", "wrap long lines, or cut them"},
	{"g G", "ends", "to the first line and the last"},
	{"j k", "scroll", "line by line; space, pgup and pgdown by pages"},
	{"h l", "sideways", "along lines that are cut"},
	{"q", "", "back to the lab, too"},
	{"?", "help", "these keys"},
}

func (l *logView) keys() []viewKey { return logKeys }

func (l *logView) off(key string) bool {
	return (key == "n N" && l.find == "") || (key == "h l" && l.wrap)
}

func (m *Model) openLogs(node string) tea.Cmd {
	e := m.engine
	if e == nil {
		m.say(false, "there is no engine at the moment")
		return nil
	}
	if m.logs != nil {
		m.logs.close()
	}
	ctx, cancel := context.WithCancel(m.ctx)
	l := &logView{node: node, cancel: cancel, follow: true, found: -1}
	m.logs, m.screen = l, screenLogs
	name, send := m.labName, m.send
	go m.guard(func() {
		tell := func() {
			if l.told.CompareAndSwap(false, true) {
				time.AfterFunc(frameTime, func() { send(logMsg{l}) })
			}
		}
		r, err := e.Logs(ctx, name, node, api.LogOptions{Lines: keepLog, Follow: true})
		if err == nil {
			sc := bufio.NewScanner(r)
			sc.Buffer(nil, 1<<20)
			for sc.Scan() {
				l.mu.Lock()
				l.fresh = append(l.fresh, clean(sc.Text()))
				l.mu.Unlock()
				tell()
			}
			err = sc.Err()
			_ = r.Close()
		}
		l.mu.Lock()
		l.ended = "the log has ended"
		if err != nil {
			l.ended = err.Error()
		}
		l.mu.Unlock()
		tell()
	})
	return nil
}

func (l *logView) close() { l.cancel() }

func (m *Model) logEvent(msg logMsg) {
	l := msg.l
	l.told.Store(false)
	l.mu.Lock()
	l.all = append(l.all, l.fresh...)
	l.fresh = nil
	l.mu.Unlock()
	if n := len(l.all) - keepLog; n > 0 {
		l.all = append([]string(nil), l.all[n:]...)
		l.top, l.found = max(0, l.top-n), max(-1, l.found-n)
	}
}

func (l *logView) shown() []string {
	if l.filter == "" && !l.wrap {
		return l.all
	}
	var out []string
	for _, line := range l.all {
		if !matches(l.filter, line) {
			continue
		}
		if l.wrap && l.w > 0 && ansi.StringWidth(line) > l.w {
			out = append(out, strings.Split(ansi.Hardwrap(line, l.w, true), "\n")...)
		} else {
			out = append(out, line)
		}
	}
	return out
}

func (l *logView) scroll(by int) {
	n := len(l.shown())
	l.top = max(0, min(l.top+by, n-l.h))
	l.follow = by > 0 && l.top == max(0, n-l.h)
}

func (l *logView) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "q":
		if l.filter != "" && k.String() == "esc" {
			l.filter = ""
			return nil
		}
		l.close()
		m.logs, m.screen = nil, screenMain
	case "ctrl+c":
		return tea.Quit
	case "j", "down":
		l.scroll(1)
	case "k", "up":
		l.scroll(-1)
	case "pgdown", "space", "ctrl+d", "ctrl+f":
		l.scroll(l.h)
	case "pgup", "ctrl+u", "ctrl+b":
		l.scroll(-l.h)
	case "h", "left":
		l.left = max(0, l.left-sideways)
	case "l", "right":
		l.left += sideways
	case "g", "home":
		l.scroll(-1 << 30)
	case "G", "end":
		l.follow = true
	case "f":
		l.follow = !l.follow
	case "w":
		l.wrap, l.left = !l.wrap, 0
	case "n":
		l.search(m, -1)
	case "N":
		l.search(m, 1)
	case "s":
		m.push(&prompt{title: "search the log, backwards", in: newInput(l.find), low: true, done: func(m *Model, v string) tea.Cmd {
			l.find, l.found = v, -1
			l.search(m, -1)
			return nil
		}})
	case "/":
		before := l.filter
		m.push(&prompt{title: "filter the log", text: "Words that must be in a line; ! in front: that must not.", in: newInput(l.filter), low: true,
			change: func(_ *Model, v string) { l.filter = v },
			done:   func(_ *Model, v string) tea.Cmd { l.filter = v; return nil },
			cancel: func(*Model) { l.filter = before }})
	case "?":
		return m.help()
	case "ctrl+p":
		m.say(false, "commands work in the lab: esc goes there")
	}
	return nil
}

// search goes to the next line with the text, by -1 further back.
func (l *logView) search(m *Model, by int) {
	if l.find == "" {
		m.say(false, "search: s asks for what")
		return
	}
	rows := l.shown()
	at := l.found
	if at < 0 {
		at = min(len(rows), l.top+l.h)
	}
	for i := at + by; i >= 0 && i < len(rows); i += by {
		if strings.Contains(strings.ToLower(rows[i]), strings.ToLower(l.find)) {
			l.found, l.follow = i, false
			if i < l.top || i >= l.top+l.h {
				l.top = max(0, i-l.h/2)
			}
			return
		}
	}
	m.say(false, fmt.Sprintf("%q is not there", l.find))
}

func (l *logView) lines(m *Model, w, h int) []string {
	l.w, l.h = w-2, h-2
	rows := l.shown()
	if l.follow {
		l.top = len(rows) - l.h
	}
	l.top = max(0, min(l.top, len(rows)-l.h))
	earned := "" // the line that earned the node its per cent
	if n := m.nodeNamed(l.node); n != nil {
		earned = clean(n.ProgressLine)
		if earned == "" {
			earned = clean(n.ProgressText)
		}
	}
	var out []string
	for i := l.top; i < len(rows) && i < l.top+l.h; i++ {
		text, low := rows[i], strings.ToLower(rows[i])
		role := themes.Text
		switch {
		case earned != "" && strings.Contains(text, earned):
			role = themes.Busy
		case strings.Contains(low, "failed") || strings.Contains(low, "error"):
			role = themes.Bad
		case strings.HasPrefix(text, "archetype-init: "): // what our own init says, apart from the device
			role = themes.Dim
		}
		if l.left > 0 {
			text = ansi.TruncateLeft(text, l.left, "")
		}
		text = m.fit(text, w-2)
		switch {
		case i == l.found && l.find != "":
			text = m.paint(themes.Selection, text)
		case l.find != "" && strings.Contains(low, strings.ToLower(l.find)):
			text = m.highlight(text, l.find)
		default:
			text = m.paint(role, text)
		}
		out = append(out, m.fit(text, w-2))
	}
	if len(rows) == 0 {
		text := "nothing yet"
		if l.filter != "" {
			text = "no line matches"
		}
		out = []string{m.fit(m.paint(themes.Dim, " "+text), w-2)}
	}
	return m.frame("log of "+l.node+filtered(l.filter), l.foot(len(rows)), out, w, h, true)
}

func (l *logView) foot(rows int) string {
	l.mu.Lock()
	ended := l.ended
	l.mu.Unlock()
	switch {
	case ended != "":
		return ended
	case l.follow:
		return "follows"
	}
	return fmt.Sprintf("line %d of %d", min(rows, l.top+l.h), rows)
}
