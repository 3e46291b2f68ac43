package ui

import (
	"context"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
)

// imageActions choose what a node is made from.
func imageActions() []*action {
	return []*action{
		{name: "pick an image", keys: []string{"i"}, about: "the node's image is missing: make it from another one that is here", hint: "pick image", where: withoutImage,
			run: func(m *Model) tea.Cmd { return m.lookAtImages(m.imageless()) }},
		{name: "image", keys: []string{"M"}, about: "make the node from another image, and start it", where: onNodes, in: inNodes, why: needNode,
			run: func(m *Model) tea.Cmd { return m.lookAtImages(m.node()) }},
	}
}

func withoutImage(m *Model) bool {
	n := m.imageless()
	return n != nil && n.NoImage
}

// imageless is the node that is chosen or that the chosen event is about.
func (m *Model) imageless() *api.Node {
	switch {
	case onNodes(m):
		return m.node()
	case onEvents(m):
		if events := m.shownEvents(); m.events.at < len(events) {
			return m.nodeNamed(events[m.events.at].Node)
		}
	}
	return nil
}

// lookAtImages asks what the node can be made from, and offers it.
func (m *Model) lookAtImages(n *api.Node) tea.Cmd {
	req := api.ImagesRequest{Lab: m.labName, Node: n.Name}
	return m.ask("images for "+n.Name, func(ctx context.Context, e api.Engine) resultMsg {
		list, err := e.Images(ctx, req)
		return resultMsg{err: err, pick: func(m *Model) { m.imagePicker(n, list) }}
	})
}

// imagePicker offers images: those of the node's kind first.
func (m *Model) imagePicker(n *api.Node, list []api.Image) {
	list = slices.DeleteFunc(list, func(im api.Image) bool { return im.Name == "" })
	if len(list) == 0 {
		m.say(false, n.Provider+" has no image on this machine: pull, load or import one, then s starts "+n.Name)
		return
	}
	slices.SortStableFunc(list, func(a, b api.Image) int { return alike(n, b) - alike(n, a) })
	var items []pickItem
	for _, im := range list {
		about := bytes(uint64(im.Size))
		if im.Kind != "" {
			about += ", " + im.Kind
		}
		if im.Name == n.Image {
			about += ", in use"
		}
		items = append(items, pickItem{name: im.Name, about: about})
	}
	m.push(newPicker("make "+n.Name+" from which image?", items, func(m *Model, i int) tea.Cmd {
		return m.edit("make "+n.Name+" from "+list[i].Name, api.EditRequest{SetImages: map[string]string{n.Name: list[i].Name}})
	}))
}

// alike is how much an image looks like the one that a node needs.
func alike(n *api.Node, im api.Image) int {
	base := func(s string) string {
		s, _, _ = strings.Cut(s[strings.LastIndex(s, "/")+1:], ":")
		return s
	}
	score := 0
	if im.Kind == n.Kind {
		score += 2
	}
	if n.Image != "" && base(im.Name) == base(n.Image) {
		score++
	}
	return score
}
