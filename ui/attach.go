package ui

import (
	"context"
	"fmt"
	"io"
	"os"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/internal/attach"
)

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
	fmt.Fprintf(os.Stdout, "\x1b[2J\x1b[Hconsole of %s: %s comes back\r\n", clean(a.node), a.name)
	return attach.Attach(a.ctx, a.e, a.lab, a.node, a.key)
}

func (a *attached) SetStdin(io.Reader)  {}
func (a *attached) SetStdout(io.Writer) {}
func (a *attached) SetStderr(io.Writer) {}
