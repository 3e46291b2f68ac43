package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/folder"
)

// typeNode is what a node is called among strays.
const typeNode = "node"

// sweep is one search for what is ours and no lab owns.
type sweep struct {
	e      *Engine
	remove bool
	began  time.Time
	owned  map[string]bool // labs that are deployed
	out    api.Strays
	todo   []func() error // what removes each that was found, nil for none
	// silent are the providers that may have nodes and cannot be asked: what
	// belongs to labs that nobody knows may be those nodes'.
	silent   []string
	answered map[string]bool // backends
}

// Strays implements api.Caretaker. What belongs to a lab that is deployed is
// that lab's business, also where the lab does not want it any more; what only
// bears its label is not.
func (e *Engine) Strays(ctx context.Context, req api.StraysRequest) (*api.Strays, error) {
	w := &sweep{e: e, remove: req.Remove, began: e.now(), owned: map[string]bool{}, answered: map[string]bool{}}
	have := w.listed(ctx)
	for _, c := range e.all() {
		w.owned[c.m.info.Name] = true
	}
	if err := w.nodes(ctx, have); err != nil {
		return nil, err
	}
	w.links(ctx)
	w.spares(ctx)
	w.clear()
	if err := w.folders(ctx); err != nil {
		return nil, err
	}
	w.clear()
	if req.Remove {
		e.forgetUses(w)
	}
	return &w.out, nil
}

// found notes a stray, and how it is removed unless something speaks against
// it. One may go with another, so all are looked for before any is touched.
func (w *sweep) found(s api.Stray, remove func() error) {
	if s.Error != "" {
		remove = nil
	}
	w.out.Found, w.todo = append(w.out.Found, s), append(w.todo, remove)
}

// unheard notes what could not be looked at.
func (w *sweep) unheard(backend, kind, why string) {
	w.found(api.Stray{Backend: backend, Type: kind, Error: "cannot be looked for: " + why}, nil)
}

// clear removes what was found, where that is asked for.
func (w *sweep) clear() {
	if !w.remove {
		return
	}
	extra := map[string]bool{}
	for i := range w.out.Found {
		s := &w.out.Found[i]
		if w.todo[i] == nil {
			continue
		}
		if err := w.todo[i](); err != nil {
			s.Error = reason(err)
		} else {
			s.Removed = true
		}
		w.todo[i] = nil
		if s.Type == typeNode && w.owned[s.Lab] {
			extra[s.Backend] = true
		}
	}
	for name := range extra { // their labs are not to speak of them any more
		if p, ok := w.e.opt.Backends.Provider(name); ok {
			_ = w.e.look(p) // the next look will tell them
		}
	}
}

// absent notes a backend that cannot be asked, and reports whether something of
// ours may be there all the same: we have used it, or it is on this machine and
// what we have used is not known.
func (w *sweep) absent(name, kind string, a backends.Availability) bool {
	used, known := w.e.used()
	why := a.Reason
	if a.Fix != "" {
		why += "; " + a.Fix
	}
	switch {
	case used[name]:
		w.unheard(name, kind, why+" (if it is gone for good, remove "+w.e.useFile(name)+")")
		return true
	case !known && !a.Absent:
		w.unheard(name, kind, why)
		return true
	}
	w.out.Unseen = append(w.out.Unseen, api.Unseen{Backend: name, Reason: why})
	return false
}

// judged says why it cannot be told that something of a lab that nobody knows is
// a stray, empty when it can.
func (w *sweep) judged() string {
	if len(w.silent) == 0 {
		return ""
	}
	return "left alone: it may be of nodes of " + strings.Join(w.silent, " and ") + ", which cannot be asked"
}

// listed asks every provider for all it has. Labs of one that is heard for the
// first time are taken up, as they would have been at the start.
func (w *sweep) listed(ctx context.Context) map[string][]backends.NodeStatus {
	have := map[string][]backends.NodeStatus{}
	for _, name := range w.e.opt.Backends.Providers() {
		p, _ := w.e.opt.Backends.Provider(name)
		if a := p.Available(ctx); !a.OK {
			if w.absent(name, typeNode, a) {
				w.silent = append(w.silent, name)
			}
			continue
		}
		list, err := p.List(ctx, "")
		if err != nil {
			w.unheard(name, typeNode, reason(err))
			w.silent = append(w.silent, name)
			continue
		}
		have[name], w.answered[name] = list, true
		w.e.hear(p, list, w.began)
	}
	return have
}

// nodes finds those of labs that nobody knows, and those that only bear the
// label of one.
func (w *sweep) nodes(ctx context.Context, have map[string][]backends.NodeStatus) error {
	for _, name := range w.e.opt.Backends.Providers() {
		p, _ := w.e.opt.Backends.Provider(name)
		extra, err := w.e.extra(ctx, name, have[name], w.began)
		if err != nil {
			return err
		}
		for _, st := range have[name] {
			if !w.owned[st.Ref.Lab] || slices.Contains(extra, st.Ref) {
				w.found(api.Stray{Backend: name, Type: typeNode, Lab: st.Ref.Lab, Name: st.Ref.Node},
					func() error { return p.Remove(ctx, st.Ref) })
			}
		}
	}
	return nil
}

// links finds what networks have of labs that nobody knows.
func (w *sweep) links(ctx context.Context) {
	for _, name := range w.e.opt.Backends.Networks() {
		n, _ := w.e.opt.Backends.Network(name)
		if a := n.Available(ctx); !a.OK {
			w.absent(name, "links", a)
			continue
		}
		w.answered[name] = true
		var have []string
		if l, ok := n.(backends.Lister); ok {
			var err error
			if have, err = l.Labs(ctx); err != nil {
				w.unheard(name, "links", reason(err))
			}
		}
		for _, labName := range have {
			if !w.owned[labName] {
				w.found(api.Stray{Backend: name, Type: "links", Lab: labName, Error: w.judged()},
					func() error { return n.Cleanup(ctx, labName) })
			} else if inv, ok := n.(backends.Inventory); ok {
				w.pieces(ctx, name, labName, inv)
			}
		}
	}
}

// pieces finds what a network has of links that a deployed lab does not know, as
// where an older backup of the store came after they were made.
func (w *sweep) pieces(ctx context.Context, network, labName string, inv backends.Inventory) {
	have, err := inv.Pieces(ctx, labName)
	if err != nil {
		w.unheard(network, "links", reason(err))
		return
	}
	c, err := w.e.controller(labName)
	if err != nil {
		return // it has just been destroyed
	}
	// Whether one is the lab's is asked again when it is to go: it may have become
	// one since, and none becomes one meanwhile.
	unless := func(p backends.Piece, do func() error) error {
		err := c.call(ctx, func(c *controller) error {
			if c.m.partial || c.knows(p) {
				return nil
			}
			return do()
		})
		if api.CodeOf(err) == api.CodeNotFound { // likewise
			return nil
		}
		return err
	}
	for _, p := range have {
		stray, what := false, api.Stray{Backend: network, Type: "end", Lab: labName, Name: p.End.String()}
		if p.Link != "" {
			what.Type, what.Name = "link", p.Link
		}
		if err := unless(p, func() error { stray = true; return nil }); err != nil {
			what.Error = reason(err)
		}
		if stray || what.Error != "" {
			w.found(what, func() error { return unless(p, func() error { return inv.Discard(ctx, labName, p) }) })
		}
	}
}

// knows reports whether a network's piece is of one of the lab's links.
func (c *controller) knows(p backends.Piece) bool {
	if p.Link != "" {
		return c.m.links[p.Link] != nil
	}
	return slices.ContainsFunc(c.m.linkOrder, func(l *link) bool { return l.uses(p.End) })
}

// sweepers are all that have something beside nodes and links, by name. Those
// that did not answer have been told of.
func (w *sweep) sweepers() map[string]backends.Sweeper {
	out := map[string]backends.Sweeper{}
	add := func(name string, backend any) {
		if s, ok := backend.(backends.Sweeper); ok {
			out[name] = s
		}
	}
	add("outside", w.e.opt.Backends.Outside())
	for name := range w.answered {
		if p, ok := w.e.opt.Backends.Provider(name); ok {
			add(name, p)
		}
		if n, ok := w.e.opt.Backends.Network(name); ok {
			add(name, n)
		}
	}
	return out
}

// spares finds what there is beside nodes and links.
func (w *sweep) spares(ctx context.Context) {
	all := w.sweepers()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list, err := all[name].Unused(ctx, "")
		if err != nil {
			w.unheard(name, "all else", reason(err))
		}
		for _, s := range list {
			if s.Lab != "" && w.owned[s.Lab] && (s.Node == "" || w.hasNode(ctx, name, s)) {
				continue
			}
			why := s.Doubt
			if s.Lab != "" && why == "" {
				why = w.judged()
			}
			w.found(api.Stray{Backend: name, Type: s.Type, Lab: s.Lab, Name: s.Name, Error: why},
				func() error { return all[name].Sweep(ctx, s) })
		}
	}
}

// hasNode reports whether a provider's spare may be of a node that its lab has there.
func (w *sweep) hasNode(ctx context.Context, provider string, s backends.Spare) bool {
	c, err := w.e.controller(s.Lab)
	if err != nil {
		return true // it has just been destroyed
	}
	has := true
	_ = c.call(ctx, func(c *controller) error {
		n := c.m.nodes[s.Node]
		has = c.m.partial || n != nil && (n.provider == provider || n.busy != nil)
		return nil
	})
	return has
}

// folders finds those of labs and nodes that nobody knows. Those of nodes that
// could not be removed stay with them.
func (w *sweep) folders(ctx context.Context) error {
	nodes := map[string][]string{}
	for _, s := range w.out.Found {
		if s.Type == typeNode && s.Lab != "" && !s.Removed {
			nodes[s.Lab] = append(nodes[s.Lab], s.Name)
		}
	}
	for _, c := range w.e.all() {
		name := c.m.info.Name
		nodes[name] = append(nodes[name], "") // the lab itself
		err := c.call(ctx, func(c *controller) error {
			for _, n := range c.m.nodeOrder {
				nodes[name] = append(nodes[name], n.spec.Name)
			}
			return nil
		})
		if err != nil && api.CodeOf(err) != api.CodeNotFound { // it has just been destroyed
			return err
		}
	}
	list, err := strayFolders(w.e.opt.Labs, nodes)
	if err != nil {
		w.unheard("files", "folder", reason(err))
	}
	for _, f := range list {
		labName, node, _ := strings.Cut(f, "/")
		w.found(api.Stray{Backend: "files", Type: "folder", Lab: labName, Name: node, Error: w.judged()},
			func() error {
				err := folder.Remove(filepath.Join(w.e.opt.Labs, f))
				_ = os.Remove(w.e.opt.Labs) // when it was the last
				return err
			})
	}
	return nil
}

// extra are those of a provider's nodes that bear a deployed lab's label and
// are no part of it, as the labs themselves say.
func (e *Engine) extra(ctx context.Context, provider string, list []backends.NodeStatus, asked time.Time) (out []backends.NodeRef, _ error) {
	found := byLab(list)
	for _, c := range e.all() {
		name := c.m.info.Name
		err := c.call(ctx, func(c *controller) error {
			c.observeExtra(provider, found[name], asked)
			for _, node := range c.m.extra[provider] {
				out = append(out, backends.NodeRef{Lab: name, Node: node})
			}
			return nil
		})
		if err != nil && api.CodeOf(err) != api.CodeNotFound { // it has just been destroyed
			return nil, err
		}
	}
	return out, nil
}

// sweepLab removes what backends have of a lab beside its nodes and links, and
// looks whether it is gone.
func sweepLab(ctx context.Context, labName string, all map[string]any) error {
	for name, backend := range all {
		s, ok := backend.(backends.Sweeper)
		if !ok {
			continue
		}
		for again := range 2 {
			list, err := s.Unused(ctx, labName)
			if err != nil {
				return fmt.Errorf("%s cannot be asked whether all is gone: %w", name, err)
			}
			for _, one := range list {
				switch {
				case one.Doubt != "":
				case again > 0:
					return fmt.Errorf("the %s %s is still there", one.Type, one.Name)
				default:
					if err := s.Sweep(ctx, one); err != nil {
						return fmt.Errorf("%s %s: %w", one.Type, one.Name, err)
					}
				}
			}
		}
	}
	return nil
}
