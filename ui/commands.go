package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/backends"
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
	open  string // lab to show
}

// ask runs f with the engine, off the screen's thread.
func (m *Model) ask(what string, f func(context.Context, api.Engine) resultMsg) tea.Cmd {
	e, ctx := m.engine, m.ctx
	if e == nil {
		m.say(false, what+": there is no engine at the moment")
		return nil
	}
	return func() tea.Msg {
		r := f(ctx, e)
		r.what = what
		return r
	}
}

func (m *Model) result(r resultMsg) {
	if r.err != nil {
		var e *api.Error
		if errors.As(r.err, &e) && len(e.Diagnostics) > 0 {
			text := []string{fmt.Sprintf("%s: %s", r.what, plural(len(e.Diagnostics), "thing")+" to mend"), ""}
			for _, d := range e.Diagnostics {
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
	if r.text != nil {
		m.push(&message{title: r.title, text: r.text})
	}
}

// tellEnd says how a job ended that was asked for here.
func (m *Model) tellEnd(j *api.Job) {
	what := string(j.Verb)
	if j.Target != "" {
		what += " " + j.Target
	} else {
		what += " " + j.Lab
	}
	switch j.State {
	case lab.JobCompleted:
		m.say(true, what+": done")
	case lab.JobCancelled:
		m.say(true, what+": cancelled")
	default:
		m.say(false, what+": "+j.Error)
	}
}

// openFile deploys a file that is not deployed yet, and shows one that is.
func (m *Model) openFile(file string) tea.Cmd {
	env := m.opt.Env
	return m.ask("open "+filepath.Base(file), func(ctx context.Context, e api.Engine) resultMsg {
		req := api.DeployRequest{File: file, Env: env}
		plan, err := e.Plan(ctx, req)
		if err != nil {
			return resultMsg{err: err}
		}
		if !plan.New {
			say := ""
			if !plan.Empty() {
				say = "the file differs from what runs: D applies it"
			}
			return resultMsg{open: plan.Lab, say: say}
		}
		d, err := e.Deploy(ctx, req)
		if err != nil {
			return resultMsg{err: err}
		}
		return resultMsg{open: d.Plan.Lab, job: d.Job, say: warned(d.Warnings)}
	})
}

func warned(ws []api.Diagnostic) string {
	switch len(ws) {
	case 0:
		return ""
	case 1:
		return ws[0].Message
	}
	return fmt.Sprintf("%s (and %d more: archetype check says all)", ws[0].Message, len(ws)-1)
}

// deploy shows what a file would change, and does it when that is wanted.
func (m *Model) deploy(file string) tea.Cmd {
	env := m.opt.Env
	if abs, err := filepath.Abs(expand(file)); err == nil {
		file = abs
	}
	plan := m.ask("deploy "+filepath.Base(file), func(ctx context.Context, e api.Engine) resultMsg {
		p, err := e.Plan(ctx, api.DeployRequest{File: file, Env: env})
		if err != nil {
			return resultMsg{err: err}
		}
		if !p.New && p.Empty() {
			return resultMsg{open: p.Lab, say: p.Lab + ": nothing changed"}
		}
		if p.New || len(p.NodesChanged)+len(p.NodesRemoved)+len(p.LinksChanged)+len(p.LinksRemoved) == 0 {
			d, err := e.Deploy(ctx, api.DeployRequest{File: file, Env: env})
			if err != nil {
				return resultMsg{err: err}
			}
			return resultMsg{open: d.Plan.Lab, job: d.Job, say: warned(d.Warnings)}
		}
		return resultMsg{title: file, text: planLines(p), open: p.Lab}
	})
	if plan == nil {
		return nil
	}
	return func() tea.Msg {
		r, ok := plan().(resultMsg)
		if ok && r.text != nil {
			return planMsg{file: file, lab: r.open, lines: r.text}
		}
		return r
	}
}

// planMsg is a difference that takes something away: it is asked about.
type planMsg struct {
	file, lab string
	lines     []string
}

func (m *Model) askPlan(p planMsg) {
	m.open(p.lab)
	m.push(newPicker("apply "+filepath.Base(p.file)+"?", append([]pickItem{{"apply", "make it so"}, {"leave it", ""}}, planItems(p.lines)...),
		func(m *Model, i int) tea.Cmd {
			if i != 0 {
				return nil
			}
			env := m.opt.Env
			return m.ask("deploy "+p.lab, func(ctx context.Context, e api.Engine) resultMsg {
				d, err := e.Deploy(ctx, api.DeployRequest{File: p.file, Env: env})
				if err != nil {
					return resultMsg{err: err}
				}
				return resultMsg{job: d.Job, say: warned(d.Warnings)}
			})
		}))
}

func planItems(lines []string) []pickItem {
	out := make([]pickItem, len(lines))
	for i, l := range lines {
		out[i] = pickItem{name: "  " + l}
	}
	return out
}

func planLines(p *api.Plan) []string {
	var out []string
	add := func(sign, what string, names []string) {
		for _, n := range names {
			out = append(out, sign+" "+what+" "+n)
		}
	}
	change := func(what string, cs []api.Change) {
		for _, c := range cs {
			out = append(out, "~ "+what+" "+c.Name+" ("+strings.Join(c.Fields, ", ")+")")
		}
	}
	add("+", "node", p.NodesAdded)
	change("node", p.NodesChanged)
	add("-", "node", p.NodesRemoved)
	add("+", "link", p.LinksAdded)
	change("link", p.LinksChanged)
	add("-", "link", p.LinksRemoved)
	return append(out, fmt.Sprintf("%d nodes and %d links stay as they are", p.NodesUnchanged, p.LinksUnchanged))
}

func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// completePath fills in a path as far as it is clear.
func completePath(value string) string {
	hits, _ := filepath.Glob(expand(value) + "*")
	var good []string
	for _, h := range hits {
		if st, err := os.Stat(h); err == nil && (st.IsDir() || strings.HasSuffix(h, ".yml") || strings.HasSuffix(h, ".yaml")) {
			if st.IsDir() {
				h += "/"
			}
			good = append(good, h)
		}
	}
	if len(good) == 0 {
		return value
	}
	sort.Strings(good)
	common := good[0]
	for _, g := range good[1:] {
		for !strings.HasPrefix(g, common) {
			common = common[:len(common)-1]
		}
	}
	if len(common) < len(expand(value)) {
		return value
	}
	return common
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
	name := m.labName
	return m.ask(string(verb)+" "+strings.Join(names, " "), func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetNodes(ctx, api.NodesRequest{Lab: name, Nodes: names, Verb: verb})
		return resultMsg{err: err, job: j}
	})
}

// setLink cuts or joins the chosen link; from the topology, one of the
// chosen node's.
func (m *Model) setLink(wish lab.LinkWish) tea.Cmd {
	verb := "join"
	if wish == lab.WishDown {
		verb = "cut"
	}
	if m.focus == paneLinks {
		if links := m.shownLinks(); m.links.at < len(links) {
			return m.wishLink(verb, links[m.links.at], wish)
		}
		return nil
	}
	n := m.node()
	if n == nil {
		return nil
	}
	var mine []*api.Link
	var items []pickItem
	for _, k := range m.lab().Links {
		if (strings.HasPrefix(k.A, n.Name+":") || strings.HasPrefix(k.B, n.Name+":")) && k.Desired != wish {
			mine = append(mine, k)
			items = append(items, pickItem{k.A + " -- " + k.B, string(k.Actual)})
		}
	}
	switch len(mine) {
	case 0:
		m.say(false, n.Name+" has no cable to "+verb)
		return nil
	case 1:
		return m.wishLink(verb, mine[0], wish)
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
			r, err := e.Exec(ctx, name, node, backends.ExecRequest{Command: []string{"/bin/sh", "-c", value}})
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

func (m *Model) cancelJob() tea.Cmd {
	jobs := m.running()
	if len(jobs) == 0 {
		m.say(false, "no job is running")
		return nil
	}
	j := jobs[len(jobs)-1]
	return m.ask("cancel "+string(j.Verb), func(ctx context.Context, e api.Engine) resultMsg {
		return resultMsg{err: e.CancelJob(ctx, j.ID)}
	})
}
