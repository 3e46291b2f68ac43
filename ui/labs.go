package ui

import (
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
)

// chosenLab is the one that is chosen among all labs, empty where there is none.
func (m *Model) chosenLab() string {
	if labs := m.shownLabs(); m.labs.at < len(labs) {
		return labs[m.labs.at].Name
	}
	return ""
}

// chooseLab chooses one among all labs, if it is there.
func (m *Model) chooseLab(name string) {
	if i := slices.IndexFunc(m.shownLabs(), func(l *api.Lab) bool { return l.Name == name }); i >= 0 {
		m.labs.at = i
	}
}

// showLabs lists all labs, with the one that was looked at chosen.
func (m *Model) showLabs() {
	m.screen = screenLabs
	m.chooseLab(m.labName)
}

// switchLab offers the labs of this machine, each with how it is.
func (m *Model) switchLab() tea.Cmd {
	var names []string
	var items []pickItem
	for _, l := range m.snap.Labs {
		if l.Name == m.labName {
			continue
		}
		t := l.Tally()
		names = append(names, l.Name)
		items = append(items, pickItem{name: l.Name, about: fmt.Sprintf("%s, %d/%d running", l.State, t.Running, len(l.Nodes))})
	}
	if len(names) == 0 {
		m.say(false, fmt.Sprintf("there is no other lab: %s imports a file, %s makes a new one", m.keyOf("import a file"), m.keyOf("new lab")))
		return nil
	}
	m.push(newPicker("go to which lab?", items, func(m *Model, i int) tea.Cmd {
		if m.snapLab(names[i]) == nil {
			m.say(false, "lab "+names[i]+" is no more")
			return nil
		}
		m.open(names[i])
		return nil
	}))
	return nil
}

// amongLabs reports whether all labs are looked at, or what was opened from there.
func (m *Model) amongLabs() bool {
	return m.screen == screenLabs || m.screen == screenSettings && m.settings.from == screenLabs
}
