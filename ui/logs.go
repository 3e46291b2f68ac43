package ui

import (
	"bufio"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/backends"
	"archetype/themes"
)

const keepLog = 20000 // lines of a log that are kept

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
	top    int
	follow bool
	wrap   bool
	w, h   int
}

type logMsg struct{ l *logView }

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
	l := &logView{node: node, cancel: cancel, follow: true}
	m.logs, m.screen = l, screenLogs
	name, send := m.labName, m.send
	go func() {
		tell := func() {
			if l.told.CompareAndSwap(false, true) {
				time.AfterFunc(frameTime, func() { send(logMsg{l}) })
			}
		}
		r, err := e.Logs(ctx, name, node, backends.LogOptions{Lines: keepLog, Follow: true})
		if err == nil {
			sc := bufio.NewScanner(r)
			sc.Buffer(nil, 1<<20)
			for sc.Scan() {
				l.mu.Lock()
				l.fresh = append(l.fresh, clean(sc.Text()))
				l.mu.Unlock()
				tell()
			}
			_ = r.Close()
		}
		l.mu.Lock()
		l.ended = "the log has ended"
		if err != nil {
			l.ended = err.Error()
		}
		l.mu.Unlock()
		tell()
	}()
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
	}
}

func (l *logView) shown() []string {
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

func (l *logView) scroll(_ *Model, by int) {
	l.follow = false
	n := len(l.shown())
	l.top = max(0, min(l.top+by, n-l.h))
	l.follow = by > 0 && l.top == max(0, n-l.h)
}

func (l *logView) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "q":
		if l.filter != "" {
			l.filter = ""
			return nil
		}
		l.close()
		m.logs, m.screen = nil, screenMain
	case "ctrl+c":
		return tea.Quit
	case "j", "down":
		l.scroll(m, 1)
	case "k", "up":
		l.scroll(m, -1)
	case "pgdown", "space", "ctrl+d":
		l.scroll(m, l.h)
	case "pgup", "ctrl+u":
		l.scroll(m, -l.h)
	case "g", "home":
		l.scroll(m, -1<<30)
	case "G", "end":
		l.follow = true
	case "f":
		l.follow = !l.follow
	case "w":
		l.wrap = !l.wrap
	case "/":
		before := l.filter
		m.push(&prompt{title: "filter the log", in: newInput(l.filter),
			change: func(_ *Model, v string) { l.filter = v },
			done:   func(_ *Model, v string) tea.Cmd { l.filter = v; return nil },
			cancel: func(*Model) { l.filter = before }})
	case "?":
		return m.help()
	}
	return nil
}

func (l *logView) lines(m *Model, w, h int) []string {
	l.w, l.h = w-2, h-2
	rows := l.shown()
	if l.follow {
		l.top = len(rows) - l.h
	}
	l.top = max(0, min(l.top, len(rows)-l.h))
	var out []string
	for i := l.top; i < len(rows) && i < l.top+l.h; i++ {
		role := themes.Text
		if strings.HasPrefix(rows[i], "archetype-init: ") { // what our own init says, apart from the device
			role = themes.Dim
		}
		if strings.Contains(rows[i], "failed") || strings.Contains(strings.ToLower(rows[i]), "error") {
			role = themes.Bad
		}
		out = append(out, m.fit(m.paint(role, m.fit(rows[i], w-2)), w-2))
	}
	foot := ""
	if l.follow {
		foot = "follows"
	}
	l.mu.Lock()
	if l.ended != "" {
		foot = l.ended
	}
	l.mu.Unlock()
	return m.frame("log of "+l.node+filtered(l.filter), foot, out, w, h, true)
}
