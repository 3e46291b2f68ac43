package ui

import (
	"sort"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/lab"
	"archetype/themes"
)

// verbs of the command line, each with the action that it is; those without
// one are in command itself.
var verbs = map[string]string{
	"cancel": "cancel job", "capture": "capture", "configurations": "configurations", "save": "save configuration", "connect": "join", "console": "console", "deploy": "", "destroy": "", "disconnect": "cut",
	"add": "add a node", "cable": "new cable", "network": "network", "remove": "remove", "worsen": "worsen a link",
	"exec": "run a command", "help": "help", "image": "image", "info": "about the node", "jobs": "jobs", "lab": "", "labs": "labs", "logs": "logs", "new": "new lab", "switch": "switch lab",
	"quit": "quit", "restart": "", "settings": "settings", "start": "", "stop": "", "theme": "theme",
}

func verbNames() []string {
	var out []string
	for v := range verbs {
		out = append(out, v)
	}
	sort.Strings(out)
	return out
}

// suggest completes the command line: its last word.
func (m *Model) suggest(line string) []string {
	words := strings.Split(line, " ")
	last := words[len(words)-1]
	head := strings.Join(words[:len(words)-1], " ")
	if head != "" {
		head += " "
	}
	var from []string
	switch {
	case len(words) == 1:
		from = verbNames()
	case words[0] == "deploy":
		from = suggestPaths(last)
	case words[0] == "destroy" || words[0] == "lab":
		for _, l := range m.snap.Labs {
			from = append(from, l.Name)
		}
	case words[0] == "theme":
		from = append([]string{"auto"}, themes.All(m.opt.ThemesDir)...)
	case m.lab() != nil:
		for _, n := range m.lab().Nodes {
			from = append(from, n.Name)
		}
	}
	var out []string
	for _, f := range from {
		if strings.HasPrefix(f, last) || words[0] == "deploy" {
			out = append(out, head+f)
		}
	}
	return out
}

// commandLine takes the verbs of the command line.
func (m *Model) commandLine() tea.Cmd {
	if m.snap == nil {
		return nil
	}
	m.push(&prompt{title: "command", in: newInput(""), low: true, suggest: m.suggest,
		done: func(m *Model, v string) tea.Cmd { return m.command(words(v)) }})
	return nil
}

func (m *Model) command(words []string) tea.Cmd {
	if len(words) == 0 {
		return nil
	}
	verb, names := words[0], words[1:]
	if verb == "q" {
		verb = "quit"
	}
	action, known := verbs[verb]
	if !known {
		text := "no command " + verb
		if near := lab.Closest(verb, verbNames()); near != "" {
			text += "; did you mean " + near + "?"
		}
		m.say(false, text)
		return nil
	}
	switch verb {
	case "start", "stop", "restart":
		return m.commandNodes(lab.JobVerb(verb), names)
	case "deploy":
		if len(names) > 0 {
			return m.deploy(strings.Join(names, " "))
		}
		return m.deployAgain()
	case "destroy", "lab":
		name := m.target()
		if len(names) > 0 {
			name = names[0]
		}
		switch {
		case m.snapLab(name) == nil:
			m.say(false, "no lab "+name)
		case verb == "lab":
			m.open(name)
		default:
			return m.destroy(name)
		}
		return nil
	case "theme":
		if len(names) > 0 {
			return m.keepTheme(names[0])
		}
	case "add", "cable", "network":
		if len(names) == 0 || m.lab() == nil {
			break
		}
		switch verb {
		case "add":
			return m.addNode(names)
		case "cable":
			return m.newCable(names)
		default:
			return m.useNetwork(m.labName, names[0])
		}
	}
	if len(names) > 0 && strings.Contains(names[0], ":") && m.lab() != nil { // ends of a cable
		switch verb {
		case "connect":
			return m.newCable(names)
		case "disconnect":
			return m.setCable(names, lab.WishDown)
		}
	}
	if m.screen == screenMain && m.focus != paneTopology && m.focus != paneNodes {
		m.focus = paneNodes
	}
	if len(names) > 0 && !m.selectNode(names[0]) {
		return nil
	}
	for _, a := range actions {
		if a.name == action && a.where(m) {
			return m.do(a)
		}
	}
	m.say(false, verb+": open a lab first")
	return nil
}

// selectNode chooses a node by its name, wherever nodes are chosen.
func (m *Model) selectNode(name string) bool {
	l := m.lab()
	if l == nil || m.screen != screenMain {
		m.say(false, "no lab is open")
		return false
	}
	var all []string
	for _, n := range l.Nodes {
		all = append(all, n.Name)
		if n.Name == name {
			m.focus = paneTopology
			m.canvas.Select(name)
			return true
		}
	}
	text := "no node " + name
	if near := lab.Closest(name, all); near != "" {
		text += "; did you mean " + near + "?"
	}
	m.say(false, text)
	return false
}

func (m *Model) commandNodes(verb lab.JobVerb, names []string) tea.Cmd {
	if m.lab() == nil || m.screen != screenMain {
		m.say(false, string(verb)+": open a lab first")
		return nil
	}
	if len(names) == 0 {
		return m.setNodes(verb)
	}
	return m.setThese(m.labName, verb, names)
}
