package ui

import (
	"context"
	"errors"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
)

// resultMsg is what became of something that was asked of the engine.
type resultMsg struct {
	what  string
	err   error
	job   *api.Job
	say   string   // for the last line
	text  []string // for a window
	title string
	open  string       // lab to show
	pick  func(*Model) // asks further
}

// ask runs f with the engine, off the screen's thread.
func (m *Model) ask(what string, f func(context.Context, api.Engine) resultMsg) tea.Cmd {
	e, ctx := m.engine, m.ctx
	if e == nil {
		m.say(false, what+": there is no engine at the moment")
		return nil
	}
	return func() tea.Msg {
		return command(func() resultMsg {
			r := f(ctx, e)
			r.what = what
			return r
		})
	}
}

func (m *Model) result(r resultMsg) {
	if r.err != nil {
		var e *api.Error
		if errors.As(r.err, &e) && len(e.Diagnostics) > 0 {
			text := []string{r.what + ": " + e.Message, ""}
			for _, d := range lab.Few(e.Diagnostics) {
				text = append(text, clean(d.String()))
			}
			m.push(&message{title: "topology file", text: text, bad: true})
			return
		}
		m.say(false, r.what+": "+r.err.Error())
		return
	}
	if r.job != nil && !r.job.State.Ended() {
		m.mine[r.job.ID] = true
	}
	if r.open != "" {
		m.open(r.open)
	}
	if r.say != "" {
		m.say(true, r.say)
	}
	if r.pick != nil {
		r.pick(m)
	}
	if r.text != nil {
		m.push(&message{title: r.title, text: r.text})
	}
}

// briefly is an error in one line: what is wrong with a file first.
func briefly(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		for _, d := range e.Diagnostics {
			if d.Severity == lab.SeverityError {
				return strings.TrimSuffix(d.Message+"; "+d.Hint, "; ")
			}
		}
	}
	return err.Error()
}

// tellEnd says how a job ended that was asked for here.
func (m *Model) tellEnd(j *api.Job) {
	switch j.State {
	case lab.JobCompleted:
		m.say(true, what(j)+": done")
	case lab.JobCancelled:
		m.say(true, what(j)+": cancelled")
	default:
		m.say(false, what(j)+": "+j.Error)
	}
}

// targets are the marked nodes or, without any, the one chosen.
func (m *Model) targets() []*api.Node {
	l := m.lab()
	if l == nil {
		return nil
	}
	var out []*api.Node
	for _, n := range l.Nodes {
		if m.marks[n.Name] {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		if n := m.node(); n != nil {
			out = append(out, n)
		}
	}
	return out
}

// node is the chosen node, in whichever pane; nil without one.
func (m *Model) node() *api.Node {
	l := m.lab()
	if l == nil {
		return nil
	}
	if m.focus == paneNodes {
		if nodes := m.shownNodes(); m.nodes.at < len(nodes) {
			return nodes[m.nodes.at]
		}
		return nil
	}
	for _, n := range l.Nodes {
		if n.Name == m.canvas.Selected() {
			return n
		}
	}
	return nil
}

func (m *Model) setNodes(verb lab.JobVerb) tea.Cmd {
	var names []string
	for _, n := range m.targets() {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return m.setThese(m.labName, verb, names)
}

// setThese starts, stops or restarts nodes of a lab: all of it without names.
func (m *Model) setThese(name string, verb lab.JobVerb, names []string) tea.Cmd {
	what := string(verb) + " " + name
	switch {
	case len(names) > 3:
		what = string(verb) + " " + plural(len(names), "node")
	case len(names) > 0:
		what = string(verb) + " " + strings.Join(names, " ")
	}
	return m.ask(what, func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetNodes(ctx, api.NodesRequest{Lab: name, Nodes: names, Verb: verb})
		return resultMsg{err: err, job: j}
	})
}

// link is the chosen link of the list, nil without one.
func (m *Model) link() *api.Link {
	if links := m.shownLinks(); m.links.at < len(links) {
		return links[m.links.at]
	}
	return nil
}

// cables are a node's links that are not yet as wished.
func (m *Model) cables(n *api.Node, wish lab.LinkWish) []*api.Link {
	var out []*api.Link
	for _, k := range m.lab().Links {
		if (strings.HasPrefix(k.A, n.Name+":") || strings.HasPrefix(k.B, n.Name+":")) && k.Desired != wish { // no wish: all
			out = append(out, k)
		}
	}
	return out
}

// setLink cuts or joins the chosen link; from a node, one of its own.
func (m *Model) setLink(wish lab.LinkWish) tea.Cmd {
	verb := "join"
	if wish == lab.WishDown {
		verb = "cut"
	}
	if m.focus == paneLinks {
		return m.wishLink(verb, m.link(), wish)
	}
	n := m.node()
	if id := m.canvas.SelectedLink(); id != "" && m.focus == paneTopology { // a cable that was clicked on
		for _, k := range m.lab().Links {
			if k.ID() == id && k.Desired != wish {
				return m.wishLink(verb, k, wish)
			}
		}
	}
	mine := m.cables(n, wish)
	if len(mine) == 1 {
		return m.wishLink(verb, mine[0], wish)
	}
	var items []pickItem
	for _, k := range mine {
		items = append(items, pickItem{name: k.A + " -- " + k.B, about: string(k.Actual)})
	}
	m.push(newPicker(verb+" which cable of "+n.Name+"?", items, func(m *Model, i int) tea.Cmd {
		return m.wishLink(verb, mine[i], wish)
	}))
	return nil
}

func (m *Model) wishLink(verb string, k *api.Link, wish lab.LinkWish) tea.Cmd {
	a, errA := lab.ParseEndpoint(k.A)
	b, errB := lab.ParseEndpoint(k.B)
	if err := errors.Join(errA, errB); err != nil {
		m.say(false, err.Error())
		return nil
	}
	name := m.labName
	return m.ask(verb+" "+k.A+" -- "+k.B, func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetLink(ctx, api.LinkRequest{Lab: name, A: a, B: b, Wish: wish})
		return resultMsg{err: err, job: j}
	})
}

// destroy asks for the lab's name first.
func (m *Model) destroy(name string) tea.Cmd {
	l := m.snap.Lab(name)
	if l == nil {
		return nil
	}
	m.push(&prompt{title: "destroy " + name, in: newInput(""),
		text: fmt.Sprintf("This removes the lab %s: %s with all that is in them. Type its name and press enter to go on; esc keeps it.", name, plural(len(l.Nodes), "node")),
		done: func(m *Model, value string) tea.Cmd {
			if value != name {
				m.say(false, "nothing was destroyed: the name did not match")
				return nil
			}
			return m.ask("destroy "+name, func(ctx context.Context, e api.Engine) resultMsg {
				j, err := e.Destroy(ctx, name)
				return resultMsg{err: err, job: j}
			})
		}})
	return nil
}

func (m *Model) execPrompt() tea.Cmd {
	n := m.node()
	if n == nil {
		return nil
	}
	name, node := m.labName, n.Name
	m.push(&prompt{title: "run in " + node, text: "", in: newInput(""), done: func(m *Model, value string) tea.Cmd {
		if strings.TrimSpace(value) == "" {
			return nil
		}
		m.say(true, "running in "+node+": "+value)
		return m.ask("exec in "+node, func(ctx context.Context, e api.Engine) resultMsg {
			r, err := e.Exec(ctx, name, node, api.ExecRequest{Command: []string{"/bin/sh", "-c", value}})
			if err != nil {
				return resultMsg{err: err}
			}
			var text []string
			for _, l := range strings.Split(strings.TrimRight(string(r.Stdout)+string(r.Stderr), "\n"), "\n") {
				text = append(text, clean(l))
			}
			return resultMsg{title: fmt.Sprintf("%s: %s (code %d)", node, value, r.Code), text: text, say: fmt.Sprintf("%s: code %d", value, r.Code)}
		})
	}})
	return nil
}
