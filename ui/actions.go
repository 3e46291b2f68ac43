package ui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"archetype/lab"
)

// action is something the user can do: it answers a key, stands in the
// footer, in the help and in the command palette.
type action struct {
	name  string
	keys  []string
	about string
	group string // it stands in, in the help
	hint  string // in the footer; empty: not there
	tip   pane   // the pane on whose frame the key is shown, when it has the focus
	tips  string // and as what; empty: not there
	where func(m *Model) bool
	in    string // where that is, for who presses the key elsewhere
	// why says what is in the way; empty when nothing is.
	why func(m *Model) string
	run func(m *Model) tea.Cmd
}

func everywhere(*Model) bool   { return true }
func onMain(m *Model) bool     { return m.screen == screenMain }
func onLabs(m *Model) bool     { return m.screen == screenLabs }
func onTopology(m *Model) bool { return onMain(m) && m.focus == paneTopology }
func onNodes(m *Model) bool    { return onMain(m) && (m.focus == paneTopology || m.focus == paneNodes) }
func onLinks(m *Model) bool    { return onMain(m) && m.focus == paneLinks }
func onEvents(m *Model) bool   { return onMain(m) && m.focus == paneEvents }
func onWires(m *Model) bool    { return onNodes(m) || onLinks(m) }
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

func needLab(m *Model) string {
	if m.target() == "" {
		return "no lab is selected"
	}
	return ""
}

// needCable says why no cable can be wished for: there is none, or all are
// as they would become.
func needCable(wish lab.LinkWish) func(*Model) string {
	verb, state := "join", "joined"
	if wish == lab.WishDown {
		verb, state = "cut", "cut"
	}
	return func(m *Model) string {
		if m.focus == paneLinks {
			switch k := m.link(); {
			case k == nil:
				return "no link is selected"
			case k.Desired == wish:
				return "this cable is " + state + " already"
			}
			return ""
		}
		n := m.node()
		if n == nil {
			return "no node is selected"
		}
		if len(m.cables(n, wish)) == 0 {
			return n.Name + " has no cable to " + verb
		}
		return ""
	}
}

// target is the lab that an action on a lab is about.
func (m *Model) target() string {
	if m.screen == screenLabs {
		return m.chosenLab()
	}
	return m.labName
}

func (m *Model) do(a *action) tea.Cmd {
	if !a.where(m) {
		m.say(false, a.name+" works in "+a.in)
		return nil
	}
	if why := a.refusal(m); why != "" {
		m.say(false, a.name+": "+why)
		return nil
	}
	return a.run(m)
}

func (a *action) refusal(m *Model) string {
	if a.why == nil {
		return ""
	}
	return a.why(m)
}

// hint is a key in the footer.
type hint struct {
	key, text string
	off       bool // it would be refused
}

// hints are the keys that work where the user is, for the footer.
func (m *Model) hints() []hint {
	if m.screen == screenConsole {
		return m.consoleHints()
	}
	if v := m.fullView(); v != nil {
		return viewHints(v)
	}
	if m.focus == paneConsole && len(m.consoles) > 0 {
		return m.consoleHints()
	}
	var out []hint
	for _, a := range actions {
		if a.hint != "" && a.where(m) {
			out = append(out, hint{m.keysOf(a)[0], a.hint, a.refusal(m) != ""})
		}
	}
	return out
}

// key answers a key.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	m.flash = ""
	m.fault(k.String())
	if len(m.dialogs) > 0 {
		return m.dialogs[len(m.dialogs)-1].key(m, k)
	}
	if m.w < leastW || m.h < leastH {
		if s := k.String(); s == "q" || s == "ctrl+c" {
			return tea.Quit
		}
		return nil
	}
	if m.inConsole() {
		return m.consoleKey(k)
	}
	if v := m.fullView(); v != nil {
		return v.key(m, k)
	}
	name := k.String()
	if m.move(name) {
		return nil
	}
	var elsewhere *action
	for _, a := range actions {
		if !slices.Contains(m.keysOf(a), name) {
			continue
		}
		if a.where(m) {
			return m.do(a)
		}
		if elsewhere == nil && a.in != "" {
			elsewhere = a
		}
	}
	switch {
	case onMain(m) && len(name) == 1 && name >= "1" && int(name[0]-'0') <= int(m.panes()):
		m.focus = pane(name[0] - '1')
	case onMain(m) && name == "5":
		m.say(false, "no console is open: enter on a node opens one")
	case elsewhere != nil:
		m.say(false, name+" ("+elsewhere.name+") works in "+elsewhere.in)
	}
	return nil
}
