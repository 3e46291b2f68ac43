package ui

import (
	tea "charm.land/bubbletea/v2"

	"archetype/lab"
)

// actions lists everything, in the order of the footer.
var actions []*action

const (
	inNodes = "the topology and nodes panes"
	inWires = "the topology, nodes and links panes"
	inMain  = "a lab: enter opens the one that is chosen"
	inLabs  = "the list of labs: esc goes there"
)

func init() {
	for _, g := range []struct {
		name string
		list []*action
	}{{"Nodes and links", append(imageActions(), nodeActions()...)}, {"Wiring", wiringActions()}, {"Drift", driftActions()}, {"Panes", paneActions()}, {"Labs", labActions()}, {"The program", programActions()}} {
		for _, a := range g.list {
			a.group = g.name
		}
		actions = append(actions, g.list...)
	}
}

func simple(f func(m *Model)) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd { f(m); return nil }
}

func nodeActions() []*action {
	return []*action{
		{name: "open lab", keys: []string{"enter"}, about: "show the lab", hint: "open", where: onLabs, why: needLab,
			run: simple(func(m *Model) { m.open(m.target()) })},
		{name: "console", keys: []string{"enter"}, about: "open the node's console", hint: "console", where: onNodes, why: needConsole,
			run: func(m *Model) tea.Cmd { return m.openConsole(m.node().Name) }},
		{name: "console beside the lab", keys: []string{"t"}, about: "open the node's console below the topology", where: onNodes, in: inNodes, why: needConsole,
			run: func(m *Model) tea.Cmd { return m.openConsoleBeside(m.node().Name) }},
		{name: "console, whole terminal", keys: []string{"E"}, about: "give this whole terminal to the node's console", where: onNodes, in: inNodes, why: needConsole,
			run: func(m *Model) tea.Cmd { return m.attach(m.node().Name) }},
		{name: "start or stop", keys: []string{"s"}, about: "start the node, or stop it if it runs; all marked ones together", hint: "start/stop", where: onNodes, in: inNodes, why: needNode,
			run: func(m *Model) tea.Cmd {
				verb := lab.JobStop
				for _, n := range m.targets() {
					if n.Desired == lab.WishStopped {
						verb = lab.JobStart
					}
				}
				return m.setNodes(verb)
			}},
		{name: "restart", keys: []string{"r"}, about: "restart the node; it keeps its links", hint: "restart", where: onNodes, in: inNodes, why: needNode,
			run: func(m *Model) tea.Cmd { return m.setNodes(lab.JobRestart) }},
		{name: "cut", keys: []string{"x"}, about: "cut a cable: both ends lose carrier", hint: "cut", where: onWires, in: inWires, why: needCable(lab.WishDown),
			run: func(m *Model) tea.Cmd { return m.setLink(lab.WishDown) }},
		{name: "join", keys: []string{"c"}, about: "join a cable that was cut", hint: "join", where: onWires, in: inWires, why: needCable(lab.WishUp),
			run: func(m *Model) tea.Cmd { return m.setLink(lab.WishUp) }},
		{name: "capture", keys: []string{"p"}, about: "the packets that pass an end of a link, live, and into a pcap file", hint: "capture", where: onWires, in: inWires, why: needEnd,
			run: (*Model).capturePicker},
		{name: "about the link", keys: []string{"enter"}, about: "all that is known of the link", hint: "info", where: onLinks, why: func(m *Model) string {
			if m.link() == nil {
				return "no link is selected"
			}
			return ""
		}, run: (*Model).linkInfo},
		{name: "logs", keys: []string{"L"}, about: "what the node's init and daemons say", hint: "logs", where: onNodes, in: inNodes, why: needNode,
			run: func(m *Model) tea.Cmd { return m.openLogs(m.node().Name) }},
		{name: "logs", keys: []string{"l"}, about: "the same, in the list of nodes", where: func(m *Model) bool { return onMain(m) && m.focus == paneNodes }, why: needNode,
			run: func(m *Model) tea.Cmd { return m.openLogs(m.node().Name) }},
		{name: "configurations", keys: []string{"v"}, about: "what the node is configured to do, what was saved of that over time, and what differs", hint: "configurations", where: onNodes, in: inNodes, why: needNode,
			run: (*Model).openConfigs},
		{name: "save configuration", keys: []string{"W"}, about: "keep what the node is configured to do now; of all marked ones together", where: onNodes, in: inNodes, why: needNode,
			run: (*Model).saveConfigs},
		{name: "run a command", keys: []string{"e"}, about: "run a command in the node and show its output", hint: "exec", where: onNodes, in: inNodes, why: needConsole,
			run: (*Model).execPrompt},
		{name: "about the node", keys: []string{"i"}, about: "all that is known of the node", hint: "info", where: onNodes, in: inNodes, why: needNode,
			run: (*Model).nodeInfo},
		{name: "read the event", keys: []string{"enter"}, about: "show the whole of it", hint: "read", where: onEvents, why: func(m *Model) string {
			if len(m.shownEvents()) == 0 {
				return "nothing has happened yet"
			}
			return ""
		}, run: simple((*Model).readEvent)},
		{name: "mark", keys: []string{"space"}, about: "mark the node, to act on several together", tip: paneNodes, tips: "mark", where: onNodes, in: inNodes, why: needNode,
			run: simple(func(m *Model) {
				n := m.node().Name
				if m.marks[n] {
					delete(m.marks, n)
				} else {
					m.marks[n] = true
				}
				if m.focus == paneNodes {
					m.move("j")
				}
			})},
		{name: "mark all", keys: []string{"a"}, about: "mark all nodes shown, or none", tip: paneNodes, tips: "all", where: onNodes, in: inNodes,
			run: simple(func(m *Model) {
				if len(m.marks) > 0 {
					m.marks = map[string]bool{}
					return
				}
				for _, n := range m.shownNodes() {
					m.marks[n.Name] = true
				}
			})},
		{name: "sort", keys: []string{"o"}, about: "sort the nodes: as in the file, by name, by state, by kind", tip: paneNodes, tips: "sort",
			where: func(m *Model) bool { return onMain(m) && m.focus == paneNodes }, in: "the nodes pane",
			run: simple(func(m *Model) {
				m.order = (m.order + 1) % orders
				m.say(true, "nodes "+m.order.String())
			})},
	}
}

func paneActions() []*action {
	return []*action{
		{name: "next pane", keys: []string{"tab"}, about: "go to the next pane", hint: "pane", where: onMain,
			run: simple(func(m *Model) { m.focus = (m.focus + 1) % m.panes() })},
		{name: "previous pane", keys: []string{"shift+tab"}, about: "go to the previous pane", where: onMain,
			run: simple(func(m *Model) { m.focus = (m.focus + m.panes() - 1) % m.panes() })},
		{name: "filter", keys: []string{"/"}, about: "show only rows with these words; ! turns it round; empty shows all", hint: "filter", where: onLists, run: (*Model).filterPrompt},
		{name: "zoom in", keys: []string{"+", "="}, about: "look at the topology from nearer", tip: paneTopology, tips: "nearer", where: onTopology, in: "the topology pane",
			why: func(m *Model) string {
				if m.canvas.Nearest() {
					return "nearer it does not go"
				}
				return ""
			}, run: simple(func(m *Model) { m.canvas.Zoom(1) })},
		{name: "zoom out", keys: []string{"-"}, about: "look at the topology from farther", tip: paneTopology, tips: "farther", where: onTopology, in: "the topology pane",
			why: func(m *Model) string {
				if m.canvas.Farthest() {
					return "farther it does not go"
				}
				return ""
			}, run: simple(func(m *Model) { m.canvas.Zoom(-1) })},
		{name: "fit", keys: []string{"f"}, about: "show all of the topology", tip: paneTopology, tips: "fit", where: onTopology, in: "the topology pane",
			run: simple(func(m *Model) { m.canvas.Fit() })},
		{name: "fill the screen", keys: []string{"z"}, about: "let this pane fill the screen, or no longer", hint: "zoom", where: onMain,
			run: simple(func(m *Model) { m.full = !m.full })},
	}
}

func labActions() []*action {
	return []*action{
		{name: "import a file", keys: []string{"i"}, about: "choose a topology file and deploy it", hint: "import", where: onLabs, run: (*Model).importFile},
		{name: "new lab", keys: []string{"n"}, about: "a new lab by its shape: a ring, a fabric and others, written to a file and deployed", hint: "new lab", where: onLabs, run: (*Model).newLab},
		{name: "new lab", keys: []string{"O"}, about: "a new lab by its shape: a ring, a fabric and others, written to a file and deployed", where: onMain, run: (*Model).newLab},
		{name: "start or stop the lab", keys: []string{"S"}, about: "start, stop or restart all nodes of the lab", hint: "whole lab", where: onLists, why: needLab, run: (*Model).labPicker},
		{name: "deploy", keys: []string{"D"}, about: "deploy the lab's file again: applies what changed in it", hint: "deploy", where: onLists, run: (*Model).deployAgain},
		{name: "import a file", keys: []string{"I"}, about: "choose another topology file and deploy it", where: onMain, run: (*Model).importFile},
		{name: "destroy", keys: []string{"X"}, about: "remove the lab and all of it; asks for its name", hint: "destroy", where: onLabs, why: needLab,
			run: func(m *Model) tea.Cmd { return m.destroy(m.target()) }},
		{name: "destroy", keys: []string{"X"}, about: "remove the lab and all of it; asks for its name", where: onMain, why: needLab,
			run: func(m *Model) tea.Cmd { return m.destroy(m.target()) }},
		{name: "jobs", keys: []string{"J"}, about: "what is at work and what was; enter cancels or tells", tip: paneEvents, tips: "jobs", where: onLists, run: (*Model).jobsPicker},
		{name: "cancel job", keys: []string{"ctrl+x"}, about: "cancel the job that runs", tip: paneEvents, tips: "cancel a job", where: onLists, why: func(m *Model) string {
			if len(m.running()) == 0 {
				return "no job is running"
			}
			return ""
		}, run: (*Model).cancelJob},
		{name: "labs", keys: []string{"esc", "b"}, about: "all labs of this machine", hint: "labs", where: onMain,
			run: simple(func(m *Model) {
				if m.clearFilter() {
					return
				}
				m.showLabs()
			})},
		{name: "switch lab", keys: []string{"B"}, about: "go to another lab; so does a click on the name above", where: onMain, run: (*Model).switchLab},
		{name: "clear filter", keys: []string{"esc"}, about: "show all again", where: onLabs, run: simple(func(m *Model) { m.clearFilter() })},
	}
}

func programActions() []*action {
	return []*action{
		{name: "settings", keys: []string{","}, about: "providers, networks, colours, keys: what is chosen, and what is available here", hint: "settings", where: onLists,
			run: (*Model).openSettings},
		{name: "theme", keys: []string{"T"}, about: "choose the colours", where: onLists, run: (*Model).themePicker},
		{name: "commands", keys: []string{"ctrl+p"}, about: "every action by name", where: everywhere, run: (*Model).palette},
		{name: "command line", keys: []string{":"}, about: "type a command, such as :restart r1", where: onLists, run: (*Model).commandLine},
		{name: "suspend", keys: []string{"ctrl+z"}, about: "back to the shell; fg returns", where: onLists, run: func(*Model) tea.Cmd { return tea.Suspend }},
		{name: "help", keys: []string{"?"}, about: "what the keys do", hint: "help", where: everywhere, run: (*Model).help},
		{name: "quit", keys: []string{"q", "ctrl+c"}, about: "leave; labs go on running", hint: "quit", where: onLists,
			run: func(*Model) tea.Cmd { return tea.Quit }},
	}
}
