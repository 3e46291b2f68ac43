package ui

import (
	"context"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

// drifted is one node or link of the lab on the screen that is otherwise than
// wanted though nobody asked for it.
type drifted struct {
	name string
	api.Drift
	node string // its name, for a node
	ends [2]lab.Endpoint
}

// drifts are all of them.
func (m *Model) drifts() []drifted {
	l := m.lab()
	if l == nil {
		return nil
	}
	var out []drifted
	for _, n := range l.Nodes {
		if n.Drift.What != "" {
			out = append(out, drifted{name: n.Name, Drift: n.Drift, node: n.Name})
		}
	}
	for _, k := range l.Links {
		if k.Drift.What == "" {
			continue
		}
		a, errA := lab.ParseEndpoint(k.A)
		b, errB := lab.ParseEndpoint(k.B)
		if errA == nil && errB == nil {
			out = append(out, drifted{name: k.A + " -- " + k.B, Drift: k.Drift, ends: [2]lab.Endpoint{a, b}})
		}
	}
	return out
}

// asked are those that the user is asked about.
func (m *Model) asked() []drifted {
	if l := m.lab(); l == nil || l.Policy != lab.PolicyAsk {
		return nil // as most often, and this is looked at for each frame
	}
	return slices.DeleteFunc(m.drifts(), func(d drifted) bool { return !d.Asks(m.lab().Policy) })
}

// theDrift is what a key is about: what is asked about first, or else the node
// or link that is chosen.
func (m *Model) theDrift() (drifted, bool) {
	if asked := m.asked(); len(asked) > 0 {
		return asked[0], true
	}
	for _, d := range m.drifts() {
		if n := m.node(); n != nil && onNodes(m) && d.node == n.Name {
			return d, true
		}
		if k := m.link(); k != nil && onLinks(m) && d.node == "" && d.name == k.A+" -- "+k.B {
			return d, true
		}
	}
	return drifted{}, false
}

func needDrift(m *Model) string {
	switch _, ok := m.theDrift(); {
	case ok:
		return ""
	case len(m.drifts()) > 0:
		return "choose what has drifted: " + m.drifts()[0].name
	}
	return "nothing has drifted"
}

// driftLines ask what is to be done, in place of the keys: in one line, or
// else the question above its answers. None: nothing is asked.
func (m *Model) driftLines() []string {
	if !onMain(m) || m.inConsole() {
		return nil
	}
	asked := m.asked()
	if len(asked) == 0 {
		return nil
	}
	line := " "
	for _, name := range []string{"set right", "leave so", "always set right"} {
		line += m.paint(themes.Key, m.keyOf(name)) + " " + m.paint(themes.Dim, strings.TrimSuffix(name, " so")) + "  "
	}
	question := clean(about(asked[0]))
	if n := len(asked) - 1; n > 0 {
		question += ", and " + plural(n, "more thing")
	}
	if ansi.StringWidth(line+question) <= m.w {
		return []string{m.fit(line+m.paint(themes.Busy, question), m.w)}
	}
	var out []string
	for _, l := range wrapped(question, m.w-2) {
		if len(out) < m.h/3 {
			out = append(out, m.fit(" "+m.paint(themes.Busy, l), m.w))
		}
	}
	return append(out, m.fit(line, m.w))
}

func about(d drifted) string { return d.name + " " + strings.TrimPrefix(d.What, d.name+" ") }

// settleDrift sets what has drifted right, or leaves it.
func (m *Model) settleDrift(leave bool) tea.Cmd {
	d, _ := m.theDrift()
	req := api.DriftRequest{Lab: m.labName, Leave: leave}
	if d.node != "" {
		req.Nodes = []string{d.node}
	} else {
		req.Links = [][2]lab.Endpoint{d.ends}
	}
	what := "set right " + d.name
	if leave {
		what = "leave " + d.name
	}
	return m.ask(what, func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetDrift(ctx, req)
		return resultMsg{err: err, job: j}
	})
}

func (m *Model) setPolicy(labName string, p lab.Policy) tea.Cmd {
	return m.ask("drift", func(ctx context.Context, e api.Engine) resultMsg {
		err := e.SetPolicy(ctx, api.PolicyRequest{Lab: labName, Policy: p})
		return resultMsg{err: err, say: "drift in " + labName + ": " + policyText(p)}
	})
}

func policyText(p lab.Policy) string {
	switch p {
	case lab.PolicyEnforce:
		return "it is set right"
	case lab.PolicyReport:
		return "it is shown, and left alone until you act"
	case lab.PolicyAsk:
		return "it is left alone, and you are asked"
	}
	return ""
}

func policyChoices(value lab.Policy) []choice {
	var out []choice
	for _, p := range lab.Policies() {
		out = append(out, choice{value: string(p), about: policyText(p)})
	}
	return inUse(out, string(value))
}

func driftActions() []*action {
	return []*action{
		{name: "set right", keys: []string{"F"}, about: "set right what has drifted: what is asked about, or what is chosen", where: onMain, why: needDrift,
			run: func(m *Model) tea.Cmd { return m.settleDrift(false) }},
		{name: "leave so", keys: []string{"V"}, about: "leave what has drifted as it is, and be asked no more", where: onMain, why: needDrift,
			run: func(m *Model) tea.Cmd { return m.settleDrift(true) }},
		{name: "always set right", keys: []string{"Y"}, about: "set right whatever drifts in this lab, from now on", where: onMain, why: func(m *Model) string {
			if l := m.lab(); l != nil && l.Policy == lab.PolicyEnforce {
				return "whatever drifts in this lab is set right already"
			}
			return needLab(m)
		}, run: func(m *Model) tea.Cmd { return m.setPolicy(m.labName, lab.PolicyEnforce) }},
	}
}
