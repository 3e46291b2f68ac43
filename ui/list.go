package ui

import "strings"

// list is the state of a list of rows: which one is chosen, what is in
// sight, and what is filtered. The rows themselves are the snapshot's.
type list struct {
	at     int
	top    int
	filter string
	name   string // of the chosen row: it stays chosen when rows come and go
}

// fit keeps the chosen row within n rows and in sight of h.
func (l *list) fit(n, h int) {
	l.at = max(0, min(l.at, n-1))
	if l.at < l.top {
		l.top = l.at
	}
	if h > 0 && l.at >= l.top+h {
		l.top = l.at - h + 1
	}
	l.top = max(0, min(l.top, n-h))
}

func (l *list) move(by, n int) {
	l.at = max(0, min(l.at+by, n-1))
	l.name = ""
}

// matches reports whether a row passes a filter: all its words, or with a
// leading ! none of them.
func matches(filter string, fields ...string) bool {
	if filter == "" {
		return true
	}
	text := strings.ToLower(strings.Join(fields, " "))
	words, not := strings.CutPrefix(strings.ToLower(filter), "!")
	for _, w := range strings.Fields(words) {
		if strings.Contains(text, w) == not {
			return false
		}
	}
	return true
}

// key is what a key of movement means to a list of n rows, h of them in
// sight.
func (l *list) key(k string, n, h int) bool {
	switch k {
	case "j", "down":
		l.move(1, n)
	case "k", "up":
		l.move(-1, n)
	case "pgdown", "ctrl+d":
		l.move(max(1, h-1), n)
	case "pgup", "ctrl+u":
		l.move(-max(1, h-1), n)
	case "g", "home":
		l.move(-n, n)
	case "G", "end":
		l.move(n, n)
	default:
		return false
	}
	return true
}
