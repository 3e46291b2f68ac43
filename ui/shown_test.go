package ui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/lab"
)

func press(m *Model, keys ...string) tea.Cmd {
	var cmd tea.Cmd
	for _, k := range keys {
		switch k {
		case "enter":
			_, cmd = m.Update(tea.KeyPressMsg(tea.Key{Code: tea.KeyEnter}))
		default:
			_, cmd = m.Update(tea.KeyPressMsg(tea.Key{Text: k, Code: []rune(k)[0]}))
		}
	}
	return cmd
}

func screenOf(m *Model) string { return ansi.Strip(m.View().Content) }

// A node whose image is missing is made from another one: i offers those that
// are here, first what is most like it, also from the event that tells of it.
func TestAnImageIsPicked(t *testing.T) {
	s := ring(3)
	n := s.Labs[0].Nodes[0]
	n.Kind, n.Image, n.Actual, n.Error, n.NoImage = "ceos", "ceos:4.32.0F", lab.NodeError, "image ceos:4.32.0F is not on this machine", true
	s.Events = append(s.Events, &api.Event{Lab: "ring", Node: n.Name, Level: api.LevelError, Text: "start failed"})
	m := shown(t, s)
	if text := screenOf(m); !strings.Contains(text, "i pick image") || !strings.Contains(text, "i picks another image") {
		t.Errorf("the key is not shown:\n%s", text)
	}
	press(m, "4")
	if text := screenOf(m); !strings.Contains(text, "i pick image") {
		t.Errorf("nor at the event:\n%s", text)
	}
	m.Update(resultMsg{pick: func(m *Model) {
		m.imagePicker(n, []api.Image{{Name: "alpine:3"}, {Name: ""}, {Name: "registry/ceos:4.33.0F", Size: 2 << 30}})
	}})
	text := screenOf(m)
	if at, other := strings.Index(text, "ceos:4.33.0F"), strings.Index(text, "alpine:3"); at < 0 || other < at {
		t.Errorf("what is like it does not come first:\n%s", text)
	}
	m.dialogs = nil
	if press(m, "1"); !withoutImage(m) {
		t.Error("in the topology it is not offered")
	}
	n.NoImage = false
	if withoutImage(m) {
		t.Error("it is offered for a node that has its image")
	}
}

// Names that differ at their ends only can be told apart, and the interfaces
// of links are whole.
func TestLongNamesAreToldApart(t *testing.T) {
	s := ring(4)
	for i, n := range s.Labs[0].Nodes {
		was := n.Name
		n.Name = "datacenter-frankfurt-rack-17-spine-switch-0" + string(rune('1'+i))
		for _, k := range s.Labs[0].Links {
			k.A = strings.Replace(k.A, was+":", n.Name+":", 1)
			k.B = strings.Replace(k.B, was+":", n.Name+":", 1)
		}
	}
	text := screenOf(shown(t, s))
	for _, want := range []string{"switch-01", "switch-02", "switch-03", "switch-04", "01:eth1", "02:eth2", "04:eth1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is cut off:\n%s", want, text)
		}
	}
}

// The question about drift is whole on a narrow screen, with its answers.
func TestTheQuestionAboutDriftIsWhole(t *testing.T) {
	s := ring(3)
	s.Labs[0].Policy = lab.PolicyAsk
	what := "somebody has taken its interface eth1 away, and with it the address that the file gives it: nothing crosses"
	s.Labs[0].Nodes[1].Drift = api.Drift{What: what, Held: true}
	m := shown(t, s)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	text := screenOf(m)
	for _, want := range append(strings.Fields(what), "F set right", "V leave", "Y always set right") {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n") + 1; n != 24 {
		t.Errorf("%d lines", n)
	}
}

// Going to another pane sends the terminal little: in most rows nothing differs.
func TestFocusChangesFewRows(t *testing.T) {
	m := shown(t, ring(300))
	before := strings.Split(m.View().Content, "\n")
	press(m, "3")
	after, changed := strings.Split(m.View().Content, "\n"), 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	if changed == 0 || changed > 8 {
		t.Errorf("%d rows of %d have changed", changed, len(before))
	}
}
