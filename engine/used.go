package engine

import (
	"os"
	"path/filepath"
	"time"

	"archetype/backends"
)

// useFile is there, and empty, when something was made with a backend: by that
// it is known what may be there also when the store is lost and the backend does
// not answer.
func (e *Engine) useFile(backend string) string { return filepath.Join(e.opt.Used, backend) }

// use notes that something is about to be made with a backend.
func (e *Engine) use(backend string) error {
	if e.opt.Used == "" {
		return nil
	}
	e.uses.Lock()
	defer e.uses.Unlock()
	if _, noted := e.uses.at[backend]; !noted {
		if err := os.MkdirAll(e.opt.Used, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(e.useFile(backend), nil, 0o600); err != nil {
			return err
		}
	}
	e.uses.at[backend] = e.now()
	return nil
}

// noteUses notes what labs that are taken up were made with, also by a version
// that kept no account.
func (e *Engine) noteUses(labs map[string]*controller) {
	for _, c := range labs {
		names := map[string]bool{}
		for _, n := range c.m.nodeOrder {
			names[n.provider] = true
		}
		for _, l := range c.m.linkOrder {
			names[l.network(c)] = true
		}
		for name := range names {
			if err := e.use(name); err != nil {
				e.log.Warn("cannot note what a lab is made with", "lab", c.m.info.Name, "err", err)
			}
		}
	}
}

// used are the backends that something was made with; not known: an earlier
// version kept no account, or it is lost.
func (e *Engine) used() (names map[string]bool, known bool) {
	names = map[string]bool{}
	if e.opt.Used == "" {
		return names, true
	}
	list, err := os.ReadDir(e.opt.Used)
	for _, f := range list {
		names[f.Name()] = true
	}
	return names, err == nil
}

// forgetUses strikes backends off that have answered and have nothing, when
// there is no lab.
func (e *Engine) forgetUses(w *sweep) {
	if e.opt.Used == "" || !e.Idle() {
		return
	}
	left := map[string]bool{}
	for _, s := range w.out.Found {
		left[s.Backend] = left[s.Backend] || !s.Removed
	}
	for _, s := range w.out.Unseen {
		left[s.Backend] = true
	}
	e.uses.Lock()
	defer e.uses.Unlock()
	names, _ := e.used()
	for name := range names {
		if !left[name] && e.uses.at[name].Before(w.began) {
			delete(e.uses.at, name)
			_ = os.Remove(e.useFile(name))
		}
	}
}

// hear takes up labs that nobody knows when a provider answers for the first
// time.
func (e *Engine) hear(p backends.Provider, list []backends.NodeStatus, asked time.Time) {
	e.heard.Lock()
	defer e.heard.Unlock()
	if !e.heard.of[p.Name()] {
		e.adopt(p, list, asked)
		e.heard.of[p.Name()] = true
	}
}

// hasHeard reports whether a provider was ever asked with success.
func (e *Engine) hasHeard(p backends.Provider) bool {
	e.heard.Lock()
	defer e.heard.Unlock()
	return e.heard.of[p.Name()]
}
