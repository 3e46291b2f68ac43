package ui

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// crashMsg is a panic. It ends the program in order: the terminal is restored
// first, and then it is told.
type crashMsg struct {
	value any
	stack []byte
}

// guard runs f, as everything must be that runs beside the screen.
func (m *Model) guard(f func()) { guarded(m.send, f) }

func guarded(send func(tea.Msg), f func()) {
	defer func() {
		if v := recover(); v != nil {
			send(crashMsg{v, debug.Stack()})
		}
	}()
	f()
}

// command runs a command, and makes a message of its panic.
func command(f func() resultMsg) (msg tea.Msg) {
	defer func() {
		if v := recover(); v != nil {
			msg = crashMsg{v, debug.Stack()}
		}
	}()
	return f()
}

const stackLines = 24

// report tells of a crash once the terminal is as it was.
func (c *crashMsg) report() error {
	lines := strings.Split(string(c.stack), "\n")
	fmt.Fprintln(os.Stderr, strings.Join(lines[:min(len(lines), stackLines)], "\n"))
	return fmt.Errorf("the screen failed: %v (a defect, and the lines above say where; labs go on running)", c.value)
}
