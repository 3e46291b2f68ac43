package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/google/shlex"

	"archetype/engine/api"
	"archetype/lab"
)

// wiringActions change what the lab is made of while it runs.
func wiringActions() []*action {
	return []*action{
		{name: "worsen a link", keys: []string{"w"}, about: "delay, lose, corrupt or limit what crosses a link", hint: "worsen", where: onWires, in: inWires, why: needLink,
			run: func(m *Model) tea.Cmd { return m.withLink("worsen", (*Model).impairPrompt) }},
		{name: "new cable", keys: []string{"C"}, about: "connect two interfaces; an end whose cable is cut moves", where: onWires, in: inWires, why: needLab,
			run: (*Model).cablePrompt},
		{name: "add a node", keys: []string{"A"}, about: "add a node to the lab while it runs", where: onMain, why: needLab, run: (*Model).nodePrompt},
		{name: "remove", keys: []string{"R"}, about: "remove the node or the link from the lab; asks", where: onWires, in: inWires, why: needLink,
			run: (*Model).remove},
		{name: "network", keys: []string{"N"}, about: "move the lab's links to another network while its nodes run", where: onMain, why: needLab, run: (*Model).networkPicker},
	}
}

// needLink says why there is no link, or node with links, to act upon.
func needLink(m *Model) string {
	if m.focus == paneLinks && m.link() == nil {
		return "no link is selected"
	}
	if m.focus != paneLinks {
		return needNode(m)
	}
	return ""
}

// withLink does something to the chosen link; from a node, to one of its own.
func (m *Model) withLink(verb string, do func(*Model, *api.Link) tea.Cmd) tea.Cmd {
	if m.focus == paneLinks {
		return do(m, m.link())
	}
	n := m.node()
	mine := m.cables(n, "")
	if id := m.canvas.SelectedLink(); id != "" && m.focus == paneTopology {
		for _, k := range m.lab().Links {
			if k.ID() == id {
				return do(m, k)
			}
		}
	}
	switch len(mine) {
	case 0:
		m.say(false, n.Name+" has no link to "+verb)
		return nil
	case 1:
		return do(m, mine[0])
	}
	var items []pickItem
	for _, k := range mine {
		items = append(items, pickItem{name: k.A + " -- " + k.B, about: impairText(k)})
	}
	m.push(newPicker(verb+" which link of "+n.Name+"?", items, func(m *Model, i int) tea.Cmd { return do(m, mine[i]) }))
	return nil
}

// impairText is what a link suffers, in a few words; empty for a cable.
func impairText(k *api.Link) string {
	a, b := k.ImpairA.String(), k.ImpairB.String()
	switch {
	case a == b:
		return a
	case a == "":
		return "from " + k.B + " " + b
	case b == "":
		return "from " + k.A + " " + a
	}
	return a + " / " + b
}

func (m *Model) impairPrompt(k *api.Link) tea.Cmd {
	name := m.labName
	in := newInput(k.ImpairA.Words())
	in.CursorEnd()
	m.push(&prompt{title: "worsen " + k.A + " -- " + k.B, in: in,
		text: "For both directions: delay 20ms jitter 5ms loss 1% corrupt 0.1% rate 10mbit. Empty makes it a perfect cable.",
		done: func(m *Model, value string) tea.Cmd {
			i, err := lab.ParseImpairment(value)
			a, errA := lab.ParseEndpoint(k.A)
			b, errB := lab.ParseEndpoint(k.B)
			if err := errors.Join(err, errA, errB); err != nil {
				m.say(false, err.Error())
				return nil
			}
			return m.ask("worsen "+k.A+" -- "+k.B, func(ctx context.Context, e api.Engine) resultMsg {
				j, err := e.Impair(ctx, api.ImpairRequest{Lab: name, A: a, B: b, FromA: &i, FromB: &i})
				return resultMsg{err: err, job: j}
			})
		}})
	return nil
}

func (m *Model) cablePrompt() tea.Cmd {
	start := ""
	if n := m.node(); n != nil && m.focus != paneLinks {
		start = n.Name + ":"
	}
	in := newInput(start)
	in.CursorEnd()
	m.push(&prompt{title: "new cable", in: in, suggest: m.suggest,
		text: "Two ends, such as r1:eth3 r2:eth3. An end whose cable is cut is taken out of it.",
		done: func(m *Model, value string) tea.Cmd { return m.newCable(strings.Fields(value)) }})
	return nil
}

func (m *Model) newCable(words []string) tea.Cmd { return m.setCable(words, lab.WishUp) }

// setCable connects two interfaces or, where they are connected, cuts the cable.
func (m *Model) setCable(words []string, wish lab.LinkWish) tea.Cmd {
	if len(words) != 2 {
		m.say(false, "a cable has two ends: write them as r1:eth3 r2:eth3")
		return nil
	}
	a, errA := lab.ParseEndpoint(words[0])
	b, errB := lab.ParseEndpoint(words[1])
	if err := errors.Join(errA, errB); err != nil {
		m.say(false, err.Error())
		return nil
	}
	name := m.labName
	what := "connect "
	if wish == lab.WishDown {
		what = "cut "
	}
	return m.ask(what+words[0]+" -- "+words[1], func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetLink(ctx, api.LinkRequest{Lab: name, A: a, B: b, Wish: wish})
		return resultMsg{err: err, job: j}
	})
}

func (m *Model) nodePrompt() tea.Cmd {
	m.push(&prompt{title: "add a node", in: newInput(""),
		text: "Its name, its kind (linux if none is given), its image where the kind needs one, and key=value for what else a file would say of it: r9 frr, or h9 linux alpine cmd='sleep 1000' env=A=b",
		done: func(m *Model, value string) tea.Cmd { return m.addNode(words(value)) }})
	return nil
}

// words are those of a line, in which a text in quotes is one.
func words(line string) []string {
	if w, err := shlex.Split(line); err == nil {
		return w
	}
	return strings.Fields(line) // a quote that stands alone
}

// addNode takes a node's name, its kind, its image, and key=value for the rest.
func (m *Model) addNode(words []string) tea.Cmd {
	var plain, fields []string
	for _, w := range words {
		if strings.Contains(w, "=") && len(plain) > 0 {
			fields = append(fields, w)
		} else {
			plain = append(plain, w)
		}
	}
	if len(plain) == 0 || len(plain) > 3 {
		m.say(false, "write a name and a kind, such as r9 frr")
		return nil
	}
	for i, key := range []string{"kind=", "image="} {
		if len(plain) > i+1 {
			fields = append(fields, key+plain[i+1])
		}
	}
	folder, err := os.Getwd()
	if err != nil {
		m.say(false, err.Error())
		return nil
	}
	n := api.NodeText{Name: plain[0], Fields: fields, Folder: folder, Env: m.opt.Env}
	return m.edit("add "+n.Name, api.EditRequest{AddTexts: []api.NodeText{n}})
}

func (m *Model) edit(what string, req api.EditRequest) tea.Cmd {
	req.Lab = m.labName
	return m.ask(what, func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.Edit(ctx, req)
		return resultMsg{err: err, job: j}
	})
}

// remove takes the chosen link or the chosen nodes out of the lab.
func (m *Model) remove() tea.Cmd {
	var what string
	var req api.EditRequest
	if m.focus == paneLinks {
		k := m.link()
		a, errA := lab.ParseEndpoint(k.A)
		b, errB := lab.ParseEndpoint(k.B)
		if err := errors.Join(errA, errB); err != nil {
			m.say(false, err.Error())
			return nil
		}
		what, req.RemoveLinks = "link "+k.A+" -- "+k.B, [][2]lab.Endpoint{{a, b}}
	} else {
		for _, n := range m.targets() {
			req.RemoveNodes = append(req.RemoveNodes, n.Name)
		}
		what = plural(len(req.RemoveNodes), "node") + " with their links"
		if len(req.RemoveNodes) == 1 {
			what = req.RemoveNodes[0] + " with its links"
		}
	}
	m.push(newPicker("remove "+what+"?", []pickItem{{name: "keep", about: "leave the lab as it is"}, {name: "remove", about: "until the file is deployed again"}},
		func(m *Model, i int) tea.Cmd {
			if i == 0 {
				return nil
			}
			return m.edit("remove "+what, req)
		}))
	return nil
}

// networkPicker offers the networks of this machine.
func (m *Model) networkPicker() tea.Cmd {
	name, now := m.labName, m.lab().Network
	return m.ask("look at the networks", func(ctx context.Context, e api.Engine) resultMsg {
		list, err := e.Backends(ctx)
		if err != nil {
			return resultMsg{err: err}
		}
		return resultMsg{pick: func(m *Model) { m.pickNetwork(name, now, list) }}
	})
}

func (m *Model) pickNetwork(labName, now string, list []api.BackendInfo) {
	var names []string
	var items []pickItem
	for _, b := range list {
		if b.Type != "network" {
			continue
		}
		about := b.Detail
		switch {
		case b.Name == now:
			about = "in use"
		case !b.OK:
			about = "not available: " + b.Reason
		}
		names = append(names, b.Name)
		items = append(items, pickItem{name: b.Name, about: about})
	}
	m.push(newPicker(fmt.Sprintf("move the links of %s to", labName), items, func(m *Model, i int) tea.Cmd {
		return m.useNetwork(labName, names[i])
	}))
}

func (m *Model) useNetwork(labName, network string) tea.Cmd {
	return m.ask("move the links to "+network, func(ctx context.Context, e api.Engine) resultMsg {
		j, err := e.SetNetwork(ctx, api.NetworkRequest{Lab: labName, Network: network})
		return resultMsg{err: err, job: j}
	})
}
