package ui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
)

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
		m.say(false, "there is no other lab: I imports a file, O makes a new one")
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
