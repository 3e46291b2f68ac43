package ui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/lab"
	"archetype/themes"
	"archetype/ui/canvas"
)

// action is something the user can do: it answers a key, stands in the
// footer, in the help and in the command palette.
type action struct {
	name  string
	keys  []string
	about string
	hint  string // in the footer; empty: not there
	where func(m *Model) bool
	// why says what is in the way; empty when nothing is.
	why func(m *Model) string
	run func(m *Model) tea.Cmd
}

func onMain(m *Model) bool     { return m.screen == screenMain }
func onLabs(m *Model) bool     { return m.screen == screenLabs }
func onTopology(m *Model) bool { return onMain(m) && m.focus == paneTopology }
func onNodes(m *Model) bool    { return onMain(m) && (m.focus == paneTopology || m.focus == paneNodes) }
func onWires(m *Model) bool    { return onMain(m) && m.focus != paneEvents }
func onLists(m *Model) bool    { return onMain(m) || onLabs(m) }

func needNode(m *Model) string {
	if m.node() == nil {
		return "no node is selected"
	}
	return ""
}

func needConsole(m *Model) string {
	n := m.node()
	switch {
	case n == nil:
		return "no node is selected"
	case n.Actual != lab.NodeRunning && n.Actual != lab.NodeStarting:
		return n.Name + " is " + string(n.Actual) + ": s starts it"
	}
	return ""
}

// actions lists everything, in the order of the footer.
var actions []*action

func init() {
	simple := func(f func(m *Model)) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { f(m); return nil }
	}
	actions = []*action{
		{name: "open lab", keys: []string{"enter"}, about: "show the lab", hint: "open", where: onLabs,
			run: simple(func(m *Model) {
				if labs := m.shownLabs(); m.labs.at < len(labs) {
					m.open(labs[m.labs.at].Name)
				}
			})},
		{name: "console", keys: []string{"enter"}, about: "open the node's console", hint: "console", where: onNodes, why: needConsole,
			run: func(m *Model) tea.Cmd { return m.openConsole(m.node().Name) }},
		{name: "start or stop", keys: []string{"s"}, about: "start the node, or stop it if it runs; all marked ones together", hint: "start/stop", where: onNodes, why: needNode,
			run: func(m *Model) tea.Cmd {
				verb := lab.JobStop
				for _, n := range m.targets() {
					if n.Desired == lab.WishStopped {
						verb = lab.JobStart
					}
				}
				return m.setNodes(verb)
			}},
		{name: "restart", keys: []string{"r"}, about: "restart the node; it keeps its links", hint: "restart", where: onNodes, why: needNode,
			run: func(m *Model) tea.Cmd { return m.setNodes(lab.JobRestart) }},
		{name: "cut", keys: []string{"x"}, about: "cut a cable: both ends lose carrier", hint: "cut", where: onWires,
			run: func(m *Model) tea.Cmd { return m.setLink(lab.WishDown) }},
		{name: "join", keys: []string{"c"}, about: "join a cable that was cut", hint: "join", where: onWires,
			run: func(m *Model) tea.Cmd { return m.setLink(lab.WishUp) }},
		{name: "logs", keys: []string{"L"}, about: "what the node's init and daemons say", hint: "logs", where: onNodes, why: needNode,
			run: func(m *Model) tea.Cmd { return m.openLogs(m.node().Name) }},
		{name: "run a command", keys: []string{"e"}, about: "run a command in the node and show its output", hint: "exec", where: onNodes, why: needConsole,
			run: (*Model).execPrompt},
		{name: "console, full screen", keys: []string{"E"}, about: "give this whole terminal to the node's console", where: onNodes, why: needConsole,
			run: func(m *Model) tea.Cmd { return m.attach(m.node().Name) }},
		{name: "next pane", keys: []string{"tab"}, about: "go to the next pane", hint: "pane", where: onMain,
			run: simple(func(m *Model) { m.focus = (m.focus + 1) % paneCount })},
		{name: "previous pane", keys: []string{"shift+tab"}, about: "go to the previous pane", where: onMain,
			run: simple(func(m *Model) { m.focus = (m.focus + paneCount - 1) % paneCount })},
		{name: "filter", keys: []string{"/"}, about: "show only rows with these words; ! turns it round; empty shows all", hint: "filter", where: onLists, run: (*Model).filterPrompt},
		{name: "deploy", keys: []string{"D"}, about: "deploy a topology file, or apply what changed in this lab's", hint: "deploy", where: onLists,
			run: (*Model).deployPrompt},
		{name: "destroy", keys: []string{"X"}, about: "remove the lab and all of it; asks for its name", where: onLists, why: func(m *Model) string {
			if m.target() == "" {
				return "no lab is selected"
			}
			return ""
		}, run: func(m *Model) tea.Cmd { return m.destroy(m.target()) }},
		{name: "mark", keys: []string{"space"}, about: "mark the node, to act on several together", where: onNodes, why: needNode,
			run: simple(func(m *Model) {
				n := m.node().Name
				if m.marks[n] {
					delete(m.marks, n)
				} else {
					m.marks[n] = true
				}
			})},
		{name: "mark all", keys: []string{"a"}, about: "mark all nodes shown, or none", where: onNodes,
			run: simple(func(m *Model) {
				if len(m.marks) > 0 {
					m.marks = map[string]bool{}
					return
				}
				for _, n := range m.shownNodes() {
					m.marks[n.Name] = true
				}
			})},
		{name: "fill the screen", keys: []string{"z"}, about: "let this pane fill the screen, or no longer", where: onMain,
			run: simple(func(m *Model) { m.full = !m.full })},
		{name: "zoom in", keys: []string{"+", "="}, about: "look at the topology from nearer", where: onTopology,
			run: simple(func(m *Model) { m.canvas.Zoom(1) })},
		{name: "zoom out", keys: []string{"-"}, about: "look at the topology from farther", where: onTopology,
			run: simple(func(m *Model) { m.canvas.Zoom(-1) })},
		{name: "fit", keys: []string{"f"}, about: "show all of the topology", where: onTopology,
			run: simple(func(m *Model) { m.canvas.Fit() })},
		{name: "cancel job", keys: []string{"ctrl+x"}, about: "cancel the job that runs", where: onMain, run: (*Model).cancelJob},
		{name: "labs", keys: []string{"esc", "b"}, about: "all labs of this machine", hint: "labs", where: onMain,
			run: simple(func(m *Model) {
				if m.clearFilter() {
					return
				}
				m.screen = screenLabs
			})},
		{name: "commands", keys: []string{"ctrl+p"}, about: "every action by name", where: func(*Model) bool { return true }, run: (*Model).palette},
		{name: "command line", keys: []string{":"}, about: "type a command, such as :restart r1", where: onLists, run: (*Model).commandLine},
		{name: "help", keys: []string{"?"}, about: "what the keys do", hint: "help", where: func(*Model) bool { return true }, run: (*Model).help},
		{name: "quit", keys: []string{"q", "ctrl+c"}, about: "leave; labs go on running", hint: "quit", where: onLists,
			run: func(*Model) tea.Cmd { return tea.Quit }},
	}
}

// target is the lab that an action on a lab is about.
func (m *Model) target() string {
	if m.screen == screenLabs {
		if labs := m.shownLabs(); m.labs.at < len(labs) {
			return labs[m.labs.at].Name
		}
		return ""
	}
	return m.labName
}

func (m *Model) do(a *action) tea.Cmd {
	if a.why != nil {
		if why := a.why(m); why != "" {
			m.say(false, why)
			return nil
		}
	}
	return a.run(m)
}

// hints are the keys that work where the user is, for the footer.
func (m *Model) hints() [][2]string {
	switch m.screen {
	case screenConsole:
		return m.consoleHints()
	case screenLogs:
		return [][2]string{{"esc", "back"}, {"f", "follow"}, {"/", "filter"}, {"w", "wrap"}, {"g G", "ends"}, {"j k", "scroll"}}
	}
	var out [][2]string
	for _, a := range actions {
		if a.hint != "" && a.where(m) {
			out = append(out, [2]string{a.keys[0], a.hint})
		}
	}
	return out
}

// key answers a key.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	m.flash = ""
	if len(m.dialogs) > 0 {
		return m.dialogs[len(m.dialogs)-1].key(m, k)
	}
	if m.w < leastW || m.h < leastH {
		if s := k.String(); s == "q" || s == "ctrl+c" {
			return tea.Quit
		}
		return nil
	}
	switch m.screen {
	case screenConsole:
		return m.consoleKey(k)
	case screenLogs:
		return m.logs.key(m, k)
	}
	name := k.String()
	if m.move(name) {
		return nil
	}
	for _, a := range actions {
		if !a.where(m) {
			continue
		}
		for _, key := range a.keys {
			if key == name {
				return m.do(a)
			}
		}
	}
	if onMain(m) && len(name) == 1 && name >= "1" && name <= "4" {
		m.focus = pane(name[0] - '1')
	}
	if onNodes(m) && name == "l" { // where it does not move
		return m.openLogs(m.node().Name)
	}
	return nil
}

// move answers the keys that go somewhere.
func (m *Model) move(k string) bool {
	if m.screen == screenLabs {
		return m.labs.key(k, len(m.shownLabs()), m.h-4)
	}
	inside := m.areas[m.focus].h - 2
	switch m.focus {
	case paneNodes:
		nodes := m.shownNodes()
		if m.nodes.key(k, len(nodes), inside) {
			if m.nodes.at < len(nodes) {
				m.nodes.name = nodes[m.nodes.at].Name
				m.canvas.Select(m.nodes.name)
			}
			return true
		}
	case paneLinks:
		links := m.shownLinks()
		if m.links.key(k, len(links), inside) {
			if m.links.at < len(links) {
				m.canvas.SelectLink(links[m.links.at].ID())
			}
			return true
		}
	case paneEvents:
		return m.events.key(k, len(m.shownEvents()), inside)
	case paneTopology:
		switch k {
		case "h", "left":
			m.canvas.Move(canvas.Left)
		case "l", "right":
			m.canvas.Move(canvas.Right)
		case "k", "up":
			m.canvas.Move(canvas.Up)
		case "j", "down":
			m.canvas.Move(canvas.Down)
		case "shift+left", "H":
			m.canvas.Pan(-8, 0)
		case "shift+right":
			m.canvas.Pan(8, 0)
		case "shift+up", "K":
			m.canvas.Pan(0, -4)
		case "shift+down", "J":
			m.canvas.Pan(0, 4)
		default:
			return false
		}
		m.canvas.SelectLink("")
		return true
	}
	return false
}

func (m *Model) currentList() *list {
	switch {
	case m.screen == screenLabs:
		return &m.labs
	case m.focus == paneLinks:
		return &m.links
	case m.focus == paneEvents:
		return &m.events
	}
	return &m.nodes
}

func (m *Model) clearFilter() bool {
	if l := m.currentList(); l.filter != "" {
		l.filter = ""
		return true
	}
	return false
}

func (m *Model) filterPrompt() tea.Cmd {
	if m.focus == paneTopology && m.screen == screenMain {
		m.focus = paneNodes
	}
	l := m.currentList()
	before := l.filter
	m.push(&prompt{title: "filter", in: newInput(l.filter),
		change: func(_ *Model, v string) { l.filter, l.at = v, 0 },
		done:   func(_ *Model, v string) tea.Cmd { l.filter = v; return nil },
		cancel: func(*Model) { l.filter = before }})
	return nil
}

func (m *Model) deployPrompt() tea.Cmd {
	file := ""
	if l := m.lab(); l != nil && m.screen == screenMain {
		file = l.File
	}
	m.push(&prompt{title: "deploy", text: "Topology file (tab completes):", in: newInput(file), complete: completePath,
		done: func(m *Model, v string) tea.Cmd {
			if strings.TrimSpace(v) == "" {
				return nil
			}
			return m.deploy(strings.TrimSpace(v))
		}})
	return nil
}

func (m *Model) palette() tea.Cmd {
	var here []*action
	var items []pickItem
	for _, a := range actions {
		if !a.where(m) || a.name == "commands" {
			continue
		}
		about := a.keys[0] + "  " + a.about
		if a.why != nil {
			if why := a.why(m); why != "" {
				about = why
			}
		}
		here = append(here, a)
		items = append(items, pickItem{a.name, about})
	}
	m.push(newPicker("commands", items, func(m *Model, i int) tea.Cmd { return m.do(here[i]) }))
	return nil
}

func (m *Model) help() tea.Cmd {
	text := []string{"h j k l and the arrows go from node to node, and through lists.", "shift and an arrow pan the topology. 1 to 4 go to a pane.",
		"The mouse selects, scrolls and drags; with shift it marks text as usual.", ""}
	for _, a := range actions {
		if a.where(m) {
			text = append(text, fmt.Sprintf("%-10s %s", strings.Join(a.keys, " "), a.about))
		}
	}
	text = append(text, "", fmt.Sprintf("%-10s %s", m.opt.ConsoleKey, "in a console: leave it, or go to another one"),
		"", "Shapes:")
	for _, s := range lab.NodeStates() {
		text = append(text, "  "+m.paint(themes.Node(s), m.glyphs.Node(s))+" "+string(s))
	}
	m.push(&message{title: "help", text: text})
	return nil
}

// commandLine takes the verbs of the command line.
func (m *Model) commandLine() tea.Cmd {
	verbs := []string{"connect", "console", "deploy", "destroy", "disconnect", "exec", "help", "labs", "logs", "quit", "restart", "start", "stop"}
	complete := func(v string) string {
		words := strings.Split(v, " ")
		last := words[len(words)-1]
		var from []string
		switch {
		case len(words) == 1:
			from = verbs
		case words[0] == "deploy":
			return strings.Join(words[:len(words)-1], " ") + " " + completePath(last)
		default:
			if l := m.lab(); l != nil {
				for _, n := range l.Nodes {
					from = append(from, n.Name)
				}
			}
		}
		for _, f := range from {
			if strings.HasPrefix(f, last) {
				words[len(words)-1] = f
				return strings.Join(words, " ") + " "
			}
		}
		return v
	}
	m.push(&prompt{title: "command (tab completes)", in: newInput(""), complete: complete, done: func(m *Model, v string) tea.Cmd { return m.command(strings.Fields(v), verbs) }})
	return nil
}

func (m *Model) command(words, verbs []string) tea.Cmd {
	if len(words) == 0 {
		return nil
	}
	names := words[1:]
	if len(names) > 0 && m.lab() != nil && words[0] != "deploy" && words[0] != "destroy" {
		for _, n := range m.lab().Nodes {
			if n.Name == names[0] {
				m.canvas.Select(n.Name)
				if m.focus != paneTopology {
					m.focus = paneTopology
				}
			}
		}
	}
	if m.focus != paneTopology && m.focus != paneNodes {
		m.focus = paneNodes
	}
	byName := map[string]string{"console": "console", "restart": "restart", "logs": "logs", "exec": "run a command",
		"connect": "join", "disconnect": "cut", "help": "help", "labs": "labs", "quit": "quit", "q": "quit"}
	switch verb := words[0]; verb {
	case "start", "stop":
		if len(names) > 0 {
			m.marks = map[string]bool{}
			for _, n := range names {
				m.marks[n] = true
			}
			defer func() { m.marks = map[string]bool{} }()
		}
		return m.setNodes(lab.JobVerb(verb))
	case "deploy":
		if len(names) == 1 {
			return m.deploy(names[0])
		}
		return m.deployPrompt()
	case "destroy":
		name := m.target()
		if len(names) == 1 {
			name = names[0]
		}
		if m.snap == nil || m.snap.Lab(name) == nil {
			m.say(false, "no lab "+name)
			return nil
		}
		return m.destroy(name)
	default:
		for _, a := range actions {
			if a.name == byName[verb] && a.where(m) {
				return m.do(a)
			}
		}
		text := "no command " + verb
		if near := lab.Closest(verb, verbs); near != "" {
			text += "; did you mean " + near + "?"
		}
		m.say(false, text)
	}
	return nil
}
