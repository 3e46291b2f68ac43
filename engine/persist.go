package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"archetype/engine/api"
	"archetype/internal/fail"
	"archetype/store"
)

// record is one thing to be written, in order with the others.
type record struct {
	put     func(*store.Tx) error
	history bool // of use to readers only: nothing is decided by it
}

// gather is how long writes that nobody waits for are collected, so that many
// transitions cost one synchronous disk write.
const gather = 25 * time.Millisecond

// persister writes records in the order they were handed in, many in one
// transaction. The actual states it writes are observations that could be
// made again; wishes are waited for by whoever states them. What the disk
// refuses is kept, in its order, and tried again: a record that was left out
// would make the next step of the same node look like an illegal one.
type persister struct {
	st    *store.Store
	log   *slog.Logger
	mu    sync.Mutex
	todo  []batch
	wake  chan struct{}
	hurry chan struct{}
	done  chan struct{}
	// failed is told when writes begin to be refused and, with nil, when they
	// are taken again; also of a record that breaks a rule, which is lost.
	failed func(error)
	tries  int // how often the disk has refused in a row
}

type batch struct {
	records []record
	answer  chan error // nil when nobody waits
}

// keepUnsaved is how many batches are kept, at most, while the disk refuses
// them; beyond, what is only history is let go.
const keepUnsaved = 10_000

func newPersister(st *store.Store, log *slog.Logger, failed func(error)) *persister {
	return &persister{st: st, log: log, failed: failed,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{})}
}

// put hands records in and, with wait, returns when they are on disk.
func (p *persister) put(records []record, wait bool) error {
	if len(records) == 0 && !wait {
		return nil
	}
	b := batch{records: records}
	if wait {
		b.answer = make(chan error, 1)
	}
	p.mu.Lock()
	p.todo = append(p.todo, b)
	p.mu.Unlock()
	signal(p.wake)
	if !wait {
		return nil
	}
	signal(p.hurry)
	select {
	case err := <-b.answer:
		return err
	case <-p.done:
		return errors.New("the engine is ending")
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (p *persister) run(ctx context.Context) {
	defer close(p.done)
	t := time.NewTimer(gather)
	defer t.Stop()
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			p.write()
			return
		}
		t.Reset(gather << min(p.tries, 9)) // at most some 13 seconds
		select {
		case <-t.C:
		case <-p.hurry:
		case <-ctx.Done():
		}
		p.write()
	}
}

func (p *persister) write() {
	p.mu.Lock()
	todo := p.todo
	p.todo = nil
	p.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	fail.Point("save.before")
	err := p.st.Update(func(tx *store.Tx) error {
		for _, b := range todo {
			if err := b.apply(tx); err != nil {
				return err
			}
		}
		fail.Point("save.within")
		return nil
	})
	fail.Point("save.after")
	if err == nil {
		p.saved()
		for _, b := range todo {
			b.tell(nil)
		}
		return
	}
	// One bad record must not take the others down with it.
	for i, b := range todo {
		err := p.st.Update(b.apply)
		var refused *store.ConstraintError
		if err != nil && !errors.As(err, &refused) {
			p.keep(todo[i:], err)
			return
		}
		p.saved()
		b.tell(err)
		if err != nil {
			p.log.Error("a write was refused", "err", err)
			if b.answer == nil {
				p.failed(err)
			}
		}
	}
}

// saved notes that the disk takes what it is given.
func (p *persister) saved() {
	if p.tries > 0 {
		p.tries = 0
		p.failed(nil)
	}
}

// keep has what the disk refused tried again, before what came since. Who
// waits hears of it now.
func (p *persister) keep(todo []batch, err error) {
	if p.tries++; p.tries == 1 {
		p.log.Error("the disk refuses writes", "err", err)
		p.failed(err)
	}
	then := "which is tried again by itself"
	if errors.Is(err, store.ErrCorrupt) {
		then = "ask for it once more: the next engine repairs the store"
	}
	err = errors.New(reason(fmt.Errorf("the wish is not saved, %s: %w", then, err)))
	for i, b := range todo {
		b.tell(err)
		todo[i].answer = nil
		if len(todo) > keepUnsaved {
			todo[i].records = slices.DeleteFunc(b.records, func(r record) bool { return r.history })
		}
	}
	p.mu.Lock()
	p.todo = append(todo, p.todo...)
	p.mu.Unlock()
	signal(p.wake)
}

func (b batch) apply(tx *store.Tx) error {
	for _, r := range b.records {
		if err := r.put(tx); err != nil {
			return err
		}
	}
	return nil
}

func (b batch) tell(err error) {
	if b.answer != nil {
		b.answer <- err
	}
}

// flush hands the controller's writes and events on; with wait it returns
// when they are on disk.
func (c *controller) flush(wait bool) error {
	writes := c.writes
	c.writes = nil
	for _, ev := range c.events {
		r := eventRecord(ev)
		writes = append(writes, record{func(tx *store.Tx) error { _, err := tx.AppendEvent(r); return err }, true})
	}
	c.e.publishEvents(c.events)
	c.events = nil
	return c.e.persist.put(writes, wait)
}

// save has something written with the next flush.
func (c *controller) save(put func(*store.Tx) error) {
	c.writes = append(c.writes, record{put: put})
}

func (c *controller) saveNode(n *node) {
	r := store.Node{Lab: c.m.info.Name, Name: n.spec.Name, Kind: n.spec.Kind, Provider: n.provider,
		Identifier: n.identifier, Desired: n.desired, Actual: n.actual, Progress: n.progress,
		ProgressText: n.text, Error: n.err, Since: n.since, Hash: n.made, Retries: n.retries,
		Drift: n.drift.what, DriftLeft: n.drift.left}
	c.save(func(tx *store.Tx) error { return tx.PutNode(r) })
}

func (c *controller) saveLink(l *link) {
	if l.displaced() {
		return // an interface has one record: it is this link's once the other is dropped
	}
	l.stored = true
	spec := l.spec
	if l.former != nil {
		spec = *l.former // it is there as it was until it is gone
	}
	r := store.Link{Lab: c.m.info.Name, A: spec.A.Endpoint, B: spec.B.Endpoint,
		AddressesA: spec.A.Addresses(), AddressesB: spec.B.Addresses(), MTU: spec.MTU,
		Desired: l.desired, Actual: l.actual, Error: l.err, Network: l.net, Outside: l.spec.Outside,
		Drift: l.drift.what, DriftLeft: l.drift.left}
	c.save(func(tx *store.Tx) error { return tx.PutLink(r) })
}

func (c *controller) saveLab() {
	r := store.Lab{Name: c.m.info.Name, File: c.m.info.File, Provider: c.m.info.Provider,
		Network: c.m.info.Network, Topology: c.m.topology, Created: c.m.created, Destroying: c.m.destroying,
		NetworkBefore: c.m.swap.from, Policy: c.m.info.Policy, Partial: c.m.partial}
	for _, n := range c.m.topology.Nodes {
		if text, ok := c.m.configs[n.Name]; ok && n.StartupConfig != "" {
			if r.Configs == nil {
				r.Configs = map[string][]byte{}
			}
			r.Configs[n.Name] = []byte(text)
		}
	}
	c.save(func(tx *store.Tx) error { return tx.PutLab(r) })
}

func (c *controller) saveJob(j *api.Job) {
	r := store.Job{ID: j.ID, Lab: j.Lab, Verb: j.Verb, Target: j.Target, Owner: j.Owner, State: j.State, Done: j.Done,
		Total: j.Total, Text: j.Text, Error: j.Error, Created: j.Created, Ended: j.Ended,
		Deadline: j.Deadline}
	c.save(func(tx *store.Tx) error { return tx.PutJob(r) })
}

func eventRecord(ev *api.Event) store.Event {
	return store.Event{Time: ev.Time, Level: string(ev.Level), Lab: ev.Lab, Node: ev.Node,
		Link: ev.Link, Job: ev.Job, Text: ev.Text}
}
