package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/fail"
	"archetype/internal/folder"
	"archetype/lab"
	"archetype/store"
	"archetype/vendors"
)

// destroy wishes the whole lab gone.
func (c *controller) destroy() *job {
	for _, j := range c.jobs {
		if j.Verb == lab.JobDestroy && !j.State.Ended() {
			return j // under way already
		}
	}
	for _, j := range c.jobs {
		c.dropJob(j)
	}
	c.m.destroying = true
	c.cleanTries, c.cleanAt, c.cleanError = 0, time.Time{}, ""
	c.saveLab()
	for _, n := range c.m.nodeOrder {
		n.forgive()
		n.touch()
	}
	j := c.newJob(lab.JobDestroy, "")
	j.whole = true
	return j
}

// cleanLab makes sure that nothing of the lab is left — its providers are
// asked once more for nodes that bear its label — and removes what its links
// share. Only when that has succeeded are the lab's records removed.
func (c *controller) cleanLab() {
	used := map[string]bool{c.m.info.Network: true, c.m.swap.from: true}
	for _, l := range c.m.linkOrder {
		used[l.net] = true
	}
	var networks, unused []backends.Network
	for _, name := range c.e.opt.Backends.Networks() {
		if n, ok := c.e.opt.Backends.Network(name); ok && used[name] {
			networks = append(networks, n)
		} else if ok {
			unused = append(unused, n)
		}
	}
	ran := map[string]bool{}
	for _, n := range c.m.nodeOrder {
		ran[n.provider] = true
	}
	others := map[string]any{}
	for _, n := range networks {
		others[n.Name()] = n
	}
	for pname := range ran {
		if p, ok := c.e.opt.Backends.Provider(pname); ok {
			others[pname] = p
		}
	}
	if o := c.e.opt.Backends.Outside(); o != nil {
		others["outside"] = o
	}
	name := c.m.info.Name
	c.e.spawn(func() {
		ctx, cancel := context.WithTimeout(c.ctx, effectTimeout)
		defer cancel()
		fail.Point("clean.before")
		defer fail.Point("clean.after")
		var errs []error
		for _, pname := range c.e.opt.Backends.Providers() {
			p, _ := c.e.opt.Backends.Provider(pname)
			// One that is not here and ran nothing of the lab has nothing of it.
			if err := removeAll(ctx, p, name); err != nil && ran[pname] {
				errs = append(errs, err)
			}
		}
		fail.Point("clean.nodes")
		for _, n := range networks {
			errs = append(errs, cleanLinks(ctx, n, name))
		}
		for _, n := range unused { // of a move that was interrupted something may be there
			if left, _ := has(ctx, n, name); left { // one that is not to be had has had no part in it
				errs = append(errs, cleanLinks(ctx, n, name))
			}
		}
		fail.Point("clean.links")
		if o := c.e.opt.Backends.Outside(); o != nil {
			errs = append(errs, o.Cleanup(ctx, name))
		}
		if errors.Join(errs...) == nil {
			errs = append(errs, sweepLab(ctx, name, others))
		}
		err := errors.Join(errs...)
		if err == nil && c.e.opt.Labs != "" { // which nodes have left
			if err = folder.Remove(filepath.Join(c.e.opt.Labs, name)); err == nil {
				_ = os.Remove(c.e.opt.Labs) // with the last lab
			}
		}
		c.post(func(c *controller) { c.cleaned(err) })
	})
}

// cleanLinks removes what a network has of a lab, and looks whether it is so.
func cleanLinks(ctx context.Context, n backends.Network, labName string) error {
	if err := n.Cleanup(ctx, labName); err != nil {
		return err
	}
	left, err := has(ctx, n, labName)
	if err == nil && left {
		err = fmt.Errorf("%s still has links of it", n.Name())
	}
	return err
}

// has reports whether a network has anything of a lab. One that cannot say so
// has shown it when it was asked to clean up.
func has(ctx context.Context, n backends.Network, labName string) (bool, error) {
	l, ok := n.(backends.Lister)
	if !ok {
		return false, nil
	}
	labs, err := l.Labs(ctx)
	return slices.Contains(labs, labName), err
}

// removeAll removes every node of a lab that a provider still has, and looks
// whether it is so.
func removeAll(ctx context.Context, p backends.Provider, labName string) error {
	list, err := p.List(ctx, labName)
	if err != nil {
		return fmt.Errorf("%s cannot be asked whether all is gone: %w", p.Name(), err)
	}
	if len(list) == 0 {
		return nil
	}
	for _, st := range list {
		if err := p.Remove(ctx, st.Ref); err != nil && !errors.Is(err, backends.ErrNotFound) {
			return fmt.Errorf("%s: remove: %w", st.Ref.Node, err)
		}
	}
	if list, err = p.List(ctx, labName); err == nil && len(list) > 0 {
		err = fmt.Errorf("%s still has %s", p.Name(), plural(len(list), "node"))
	}
	return err
}

func (c *controller) cleaned(err error) {
	if err != nil {
		c.cleaning = false
		c.cleanTries++
		c.cleanError = reason(err)
		c.cleanAt = c.e.now().Add(c.pauseAfter(c.cleanTries, c.m.info.Name, c.e.now()))
		c.event(api.Event{Level: api.LevelError, Text: fmt.Sprintf("clean-up: %s; next try in %s", c.cleanError,
			c.cleanAt.Sub(c.e.now()).Round(time.Second))})
		return
	}
	name := c.m.info.Name
	c.gone = true
	c.event(api.Event{Text: "lab destroyed"})
	c.checkJobs()
	for _, j := range c.jobs { // nothing is left that could end them
		c.dropJob(j)
	}
	c.checkJobs()
	c.save(func(tx *store.Tx) error { return tx.DeleteLab(name) })
	_ = c.flush(true)
	c.e.forget(c)
	c.unpublish()
}

// forget takes a lab that is gone off the list, before anybody is told that
// it is, so that the same name can be deployed again at once.
func (e *Engine) forget(c *controller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.labs[c.m.info.Name] == c {
		delete(e.labs, c.m.info.Name)
	}
}

// mayDeploy refuses what cannot be applied to the lab as it stands.
func (c *controller) mayDeploy(w *wanted) error {
	if c.m.destroying || c.gone {
		return api.Errorf(api.CodeConflict, "lab %s is being destroyed; deploy it again when that is done", w.top.Name)
	}
	if _, err := os.Stat(c.m.info.File); err == nil && w.top.File != c.m.info.File {
		err := api.Errorf(api.CodeConflict, "a lab named %s is already deployed from %s", w.top.Name, c.m.info.File)
		err.Hint = "give one of them another name, or destroy that lab first"
		return err
	}
	if w.network != "" && w.network != c.m.info.Network {
		err := api.Errorf(api.CodeConflict, "lab %s is wired by %s", w.top.Name, c.m.info.Network)
		err.Hint = fmt.Sprintf("archetype network %s %s moves it while it runs", w.top.Name, w.network)
		return err
	}
	if w.provider != "" && w.provider != c.m.info.Provider {
		err := api.Errorf(api.CodeConflict, "lab %s runs on %s; running nodes cannot be moved to %s",
			w.top.Name, c.m.info.Provider, w.provider)
		err.Hint = "destroy it and deploy it again"
		return err
	}
	return nil
}

// attaching gathers, on the controller's goroutine, what is needed to attach
// both ends of a link, and returns what does so anywhere.
func (c *controller) attaching(l *link) func(context.Context) (backends.Link, error) {
	bl := backends.Link{Lab: c.m.info.Name, A: c.port(l, l.spec.A, l.a), B: c.port(l, l.spec.B, l.b)}
	var attach []func(context.Context) error
	for n, port := range map[*node]*backends.Port{l.a: &bl.A, l.b: &bl.B} {
		if n.place {
			p, _ := c.provider(l.a)
			attach = append(attach, func(ctx context.Context) error { return managementBridge(ctx, port, p) })
			continue
		}
		p, err := c.provider(n)
		ref := c.ref(n)
		attach = append(attach, func(ctx context.Context) error {
			if err != nil {
				return err
			}
			var aerr error
			port.Attachment, aerr = p.Attachment(ctx, ref, port.End.Interface)
			return aerr
		})
	}
	return func(ctx context.Context) (backends.Link, error) {
		for _, f := range attach {
			if err := f(ctx); err != nil {
				return bl, err
			}
		}
		return bl, nil
	}
}

// reach finds the provider that runs a node.
func (e *Engine) reach(ctx context.Context, labName, name string, running bool) (backends.Provider, backends.NodeRef, error) {
	var p backends.Provider
	ref := backends.NodeRef{Lab: labName, Node: name}
	c, err := e.controller(labName)
	if err != nil {
		return nil, ref, err
	}
	err = c.call(ctx, func(c *controller) error {
		targets, err := c.named([]string{name})
		if err != nil {
			return err
		}
		n := targets[0]
		if running && !n.inited {
			err := api.Errorf(api.CodeConflict, "%s is %s", name, n.actual)
			err.Hint = "start it first"
			if n.err != "" {
				err.Message += ": " + n.err
			}
			return err
		}
		p, err = c.provider(n)
		return err
	})
	return p, ref, err
}

// Exec implements api.Engine.
func (e *Engine) Exec(ctx context.Context, labName, node string, req backends.ExecRequest) (backends.ExecResult, error) {
	if len(req.Command) == 0 {
		return backends.ExecResult{}, api.Errorf(api.CodeUsage, "no command given")
	}
	p, ref, err := e.reach(ctx, labName, node, true)
	if err != nil {
		return backends.ExecResult{}, err
	}
	var res backends.ExecResult
	err = e.owned(ctx, lab.JobExec, labName, node, func(ctx context.Context) error {
		res, err = p.Exec(ctx, ref, req)
		return err
	})
	return res, err
}

// Console implements api.Engine.
func (e *Engine) Console(ctx context.Context, labName, node string, size backends.Size) (backends.Console, error) {
	p, ref, err := e.reach(ctx, labName, node, true)
	if err != nil {
		return nil, err
	}
	return p.Console(ctx, ref, size)
}

// Logs implements api.Engine.
func (e *Engine) Logs(ctx context.Context, labName, node string, opt backends.LogOptions) (io.ReadCloser, error) {
	p, ref, err := e.reach(ctx, labName, node, false)
	if err != nil {
		return nil, err
	}
	return p.Logs(ctx, ref, opt)
}

// Stats implements api.Engine.
func (e *Engine) Stats(ctx context.Context, labName string) ([]api.NodeStats, error) {
	var out []api.NodeStats
	used := map[string]bool{} // one that no node is on need not even be there
	snap, _ := e.hub.get()
	if l := snap.Lab(labName); l != nil {
		for _, n := range l.Nodes {
			used[n.Provider] = true
		}
	}
	for _, name := range e.opt.Backends.Providers() {
		p, _ := e.opt.Backends.Provider(name)
		r, ok := p.(backends.StatsReader)
		if !ok || !used[name] {
			continue
		}
		list, err := r.Stats(ctx, labName)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			out = append(out, api.NodeStats{Node: s.Ref.Node, CPU: s.CPU, Memory: s.Memory, Processes: s.Processes})
		}
	}
	return out, nil
}

// kindUnder is the kind as it behaves under a provider. An empty one stands in
// for a kind that is not known any more, so that a node of it can still be
// stopped and removed.
func (e *Engine) kindUnder(provider string, k *vendors.Kind) *vendors.Kind {
	if k == nil {
		return &vendors.Kind{}
	}
	if p, ok := e.opt.Backends.Provider(provider); ok {
		if a, ok := p.(backends.KindAdapter); ok {
			return a.Adapt(k)
		}
	}
	return k
}

// joinOr lists names for a person.
func joinOr(names []string) string {
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	}
}
