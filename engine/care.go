package engine

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
)

var _ api.Caretaker = (*Engine)(nil)

// Backup implements api.Caretaker.
func (e *Engine) Backup(_ context.Context, req api.BackupRequest) (*api.Backup, error) {
	if !filepath.IsAbs(req.File) {
		return nil, api.Errorf(api.CodeUsage, "%s is no absolute path", req.File)
	}
	n, err := e.opt.Store.Backup(req.File)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "backup: %s", reason(err))
	}
	return &api.Backup{File: req.File, Size: n}, nil
}

// Strays implements api.Caretaker. What belongs to a lab that is deployed is
// that lab's business, also where the lab does not want it any more; what only
// bears its label is not.
func (e *Engine) Strays(ctx context.Context, req api.StraysRequest) ([]api.Stray, error) {
	owned := map[string]bool{}
	for _, c := range e.all() {
		owned[c.m.info.Name] = true
	}
	began := e.now()
	var out []api.Stray
	for _, name := range e.opt.Backends.Providers() {
		p, _ := e.opt.Backends.Provider(name)
		if !p.Available(ctx).OK {
			continue
		}
		list, err := p.List(ctx, "")
		if err != nil {
			out = append(out, api.Stray{Backend: name, Type: "node", Error: "cannot be looked for: " + reason(err)})
			continue
		}
		extra, err := e.extra(ctx, name, list, began)
		if err != nil {
			return nil, err
		}
		for _, st := range list {
			if owned[st.Ref.Lab] && !slices.Contains(extra, st.Ref) {
				continue
			}
			s := api.Stray{Backend: name, Type: "node", Lab: st.Ref.Lab, Name: st.Ref.Node}
			if req.Remove {
				s.Removed, s.Error = outcome(p.Remove(ctx, st.Ref))
			}
			out = append(out, s)
		}
		if req.Remove && len(extra) > 0 { // the labs are not to speak of it any more
			e.look(p, true)
		}
	}
	out = e.strayLinks(ctx, req, owned, out)
	out = e.unused(ctx, req, out)
	return e.strayFolders(ctx, req, out)
}

// unused finds what providers have made for several nodes, and none uses.
func (e *Engine) unused(ctx context.Context, req api.StraysRequest, out []api.Stray) []api.Stray {
	for _, name := range e.opt.Backends.Providers() {
		p, _ := e.opt.Backends.Provider(name)
		s, ok := p.(backends.Sweeper)
		if !ok || !p.Available(ctx).OK {
			continue
		}
		list, err := s.Unused(ctx)
		if err != nil {
			out = append(out, api.Stray{Backend: name, Type: "network", Error: "cannot be looked for: " + reason(err)})
		}
		for _, n := range list {
			found := api.Stray{Backend: name, Type: "network", Name: n}
			if req.Remove {
				found.Removed, found.Error = outcome(s.Sweep(ctx, n))
			}
			out = append(out, found)
		}
	}
	return out
}

// strayFolders finds folders of labs and nodes that nobody knows. Those of
// nodes that could not be removed stay with them.
func (e *Engine) strayFolders(ctx context.Context, req api.StraysRequest, out []api.Stray) ([]api.Stray, error) {
	nodes := map[string][]string{}
	for _, s := range out {
		if s.Type == "node" && !s.Removed {
			nodes[s.Lab] = append(nodes[s.Lab], s.Name)
		}
	}
	for _, c := range e.all() {
		name := c.m.info.Name
		nodes[name] = append(nodes[name], "") // the lab itself
		err := c.call(ctx, func(c *controller) error {
			for _, n := range c.m.nodeOrder {
				nodes[name] = append(nodes[name], n.spec.Name)
			}
			return nil
		})
		if err != nil && api.CodeOf(err) != api.CodeNotFound { // it has just been destroyed
			return nil, err
		}
	}
	list, err := strayFolders(e.opt.Labs, nodes)
	if err != nil {
		return append(out, api.Stray{Backend: "files", Type: "folder", Error: "cannot be looked for: " + reason(err)}), nil
	}
	for _, f := range list {
		labName, node, _ := strings.Cut(f, "/")
		s := api.Stray{Backend: "files", Type: "folder", Lab: labName, Name: node}
		if req.Remove {
			s.Removed, s.Error = outcome(removeFolder(filepath.Join(e.opt.Labs, f)))
		}
		out = append(out, s)
	}
	return out, nil
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

// strayLinks finds what networks have of labs that nobody knows.
func (e *Engine) strayLinks(ctx context.Context, req api.StraysRequest, owned map[string]bool, out []api.Stray) []api.Stray {
	labs := map[string]bool{}
	for _, s := range out {
		labs[s.Lab] = true
	}
	for _, name := range e.opt.Backends.Networks() {
		n, _ := e.opt.Backends.Network(name)
		if !n.Available(ctx).OK {
			continue
		}
		var have []string
		if l, ok := n.(backends.Lister); ok {
			var err error
			if have, err = l.Labs(ctx); err != nil {
				out = append(out, api.Stray{Backend: name, Type: "links", Error: "cannot be looked for: " + reason(err)})
			}
		}
		for _, labName := range have {
			if owned[labName] {
				continue
			}
			s := api.Stray{Backend: name, Type: "links", Lab: labName}
			if req.Remove {
				s.Removed, s.Error = outcome(n.Cleanup(ctx, labName))
			}
			out = append(out, s)
		}
		for labName := range labs { // what cannot be listed goes with the lab's nodes
			if req.Remove && labName != "" && !slices.Contains(have, labName) {
				if err := n.Cleanup(ctx, labName); err != nil {
					out = append(out, api.Stray{Backend: name, Type: "links", Lab: labName, Error: reason(err)})
				}
			}
		}
	}
	return out
}

func outcome(err error) (removed bool, why string) {
	if err != nil {
		return false, reason(err)
	}
	return true, ""
}
