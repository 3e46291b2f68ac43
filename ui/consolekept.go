package ui

import "strings"

// keptConsole is what was on a console that was closed, for when it is opened
// again.
type keptConsole struct {
	lab, node string
	lines     []string
}

// keptConsoles is how many are kept.
const keptConsoles = 32

// keep notes what is on a console that is being closed.
func (m *Model) keep(c *console) {
	c.mu.Lock()
	lines := c.kept()
	c.mu.Unlock()
	m.forgetConsoles(func(k keptConsole) bool { return k.lab == c.lab && k.node == c.node })
	m.past = append(m.past, keptConsole{c.lab, c.node, lines})
	m.past = m.past[max(0, len(m.past)-keptConsoles):]
}

// recallConsole puts what was there before onto a console that is opened anew.
func (m *Model) recallConsole(c *console) {
	for _, k := range m.past {
		if k.lab == c.lab && k.node == c.node && len(k.lines) > 0 {
			_, _ = c.em.WriteString(strings.Join(k.lines, "\r\n") + "\x1b[0m\r\n\x1b[2m-- " + c.node + ": console opened again --\x1b[0m\r\n")
		}
	}
}

func (m *Model) forgetConsoles(drop func(keptConsole) bool) {
	var left []keptConsole
	for _, k := range m.past {
		if !drop(k) {
			left = append(left, k)
		}
	}
	m.past = left
}
