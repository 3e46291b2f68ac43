package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
)

const (
	// gather is how long a transaction waits at most for calls that are under
	// way and about to join it.
	gather = 20 * time.Millisecond
	// patience bounds one transaction and the switch's carrying it out.
	patience = time.Minute
	// withdrawal is how long the records are awaited for one that was given up:
	// who comes next for the same ports must not find it under way.
	withdrawal = 5 * time.Second
)

// writer turns requests that come one by one, many at once, into few
// transactions: while one is carried out, the requests for the next gather.
type writer struct {
	n         *Network
	preparing atomic.Int64 // calls that will soon submit

	mu     sync.Mutex
	queue  []*request
	busy   bool
	joined chan struct{} // a request came, or one that was awaited did not
}

// request is one change to a bridge.
type request struct {
	ctx    context.Context
	bridge string
	lab    string // that the bridge is made for; empty: all
	plan   func(*plan) error
	ends   []end         // ports that must be wired afterwards
	said   chan struct{} // closed once it is in the switch's records, or will never be
	result chan error
}

// prepare announces a request; the function returned takes that back.
func (w *writer) prepare() func() {
	w.preparing.Add(1)
	var once sync.Once
	return func() {
		once.Do(func() {
			w.preparing.Add(-1)
			w.wake()
		})
	}
}

func (w *writer) wake() {
	select {
	case w.joined <- struct{}{}:
	default:
	}
}

// do has a request carried out. One that is withdrawn is not begun; if it was,
// its answer is awaited, so that nothing is written after the call. What the
// switch makes of it is not: who comes next waits for that, too.
func (w *writer) do(r *request) error {
	r.said, r.result = make(chan struct{}), make(chan error, 1)
	w.mu.Lock()
	w.queue = append(w.queue, r)
	start := !w.busy
	w.busy = true
	w.mu.Unlock()
	w.wake()
	if start {
		go w.run()
	}
	select {
	case err := <-r.result:
		return err
	case <-r.ctx.Done():
	}
	if !w.withdraw(r) {
		late := time.NewTimer(withdrawal)
		defer late.Stop()
		select {
		case <-r.said:
		case <-late.C: // ovsdb-server hangs
		}
	}
	return r.ctx.Err()
}

// withdraw takes a request back that nobody has begun.
func (w *writer) withdraw(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, r)
	if i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	return i >= 0
}

// run works until nothing is left to do.
func (w *writer) run() {
	for {
		w.gather()
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		if len(batch) == 0 {
			w.busy = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.carryOut(batch)
	}
}

func (w *writer) gather() {
	deadline := time.NewTimer(gather)
	defer deadline.Stop()
	for w.preparing.Load() > 0 {
		select {
		case <-w.joined:
		case <-deadline.C:
			return
		}
	}
}

func (w *writer) carryOut(batch []*request) {
	ctx, cancel := context.WithTimeoutCause(w.n.ctx, patience,
		fmt.Errorf("the switch has not answered for %s (%w)", patience, backends.ErrUnavailable))
	defer cancel()
	byBridge := map[string][]*request{}
	for _, r := range batch {
		if err := r.ctx.Err(); err != nil {
			r.result <- err
			close(r.said)
			continue
		}
		byBridge[r.bridge] = append(byBridge[r.bridge], r)
	}
	var wg sync.WaitGroup
	for name, rs := range byBridge {
		wg.Go(func() { w.serve(ctx, name, rs) })
	}
	wg.Wait()
}

// serve carries out the requests for one bridge, and gives each its result: one
// that the database refuses must not take the others along.
func (w *writer) serve(ctx context.Context, bridge string, rs []*request) {
	err := w.commit(ctx, bridge, rs)
	if err == nil {
		return
	}
	for _, r := range rs {
		if errors.Is(err, errRefused) && len(rs) > 1 {
			w.serve(ctx, bridge, []*request{r})
			continue
		}
		r.result <- err
		close(r.said)
	}
}

// commit carries out the requests for one bridge. An error is that of all;
// otherwise each has had its own result.
func (w *writer) commit(ctx context.Context, bridge string, rs []*request) error {
	s, err := w.n.session(ctx)
	if err != nil {
		return err
	}
	// What others did until now is in the view once the server has answered.
	if err := s.call(ctx, "echo", ovsdb.NewEchoArgs(), &[]any{}); err != nil {
		return err
	}
	for {
		failed, wanted, err := w.try(ctx, s, bridge, rs)
		if err == errStale { //nolint:errorlint // never wrapped
			// The update that tells what changed is on its way.
			if err := w.settle(ctx, s, bridge); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range rs {
			close(r.said)
		}
		err = w.n.carriedOut(ctx, s, wanted)
		s.see(func(v *view) {
			for i, r := range rs {
				if failed[i] == nil {
					failed[i] = cmp.Or(err, wired(v, r.ends))
				}
			}
		})
		for i, r := range rs {
			r.result <- failed[i]
		}
		return nil
	}
}

// try makes one transaction of the requests. It returns the error of each, and
// the number of the configuration that the switch then has to carry out.
func (w *writer) try(ctx context.Context, s *session, bridge string, rs []*request) (failed []error, wanted int, err error) {
	failed = make([]error, len(rs))
	var ops []ovsdb.Operation
	var p *plan
	var root string
	s.see(func(v *view) {
		p, root = newPlan(v, bridge, rs[0].lab), v.root
		if err = w.n.mine(p); err != nil {
			return
		}
		for i, r := range rs {
			failed[i] = r.plan(p)
		}
		ops = p.operations(w.n.owner, w.n.datapath())
	})
	if err != nil {
		return nil, 0, err
	}
	epoch := 1
	if p.row != nil {
		epoch = p.row.epoch() + 1
	}
	comment := fmt.Sprintf("archetype: %d requests for bridge %s", len(rs), bridge)
	changes := len(ops) > 0
	ops = append(ops, ovsdb.Operation{Op: ovsdb.OperationComment, Comment: &comment},
		mutate("Open_vSwitch", root, ovsdb.Mutation{Column: "next_cfg", Mutator: ovsdb.MutateOperationAdd, Value: 1}),
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Columns: []string{"next_cfg"}, Where: is(root)})
	results, err := s.transact(ctx, ops)
	if err != nil {
		return nil, 0, err
	}
	if rows := results[len(ops)-1].Rows; len(rows) == 1 {
		wanted = number(rows[0]["next_cfg"])
	}
	if changes && (!p.drop || !p.empty()) {
		err = s.until(ctx, func(v *view) bool { b := v.bridge(bridge); return b == nil || b.epoch() >= epoch })
	}
	return failed, wanted, err
}

// settle waits a moment for what made a transaction stale.
func (w *writer) settle(ctx context.Context, s *session, bridge string) error {
	epoch := -1
	s.see(func(v *view) {
		if b := v.bridge(bridge); b != nil {
			epoch = b.epoch()
		}
	})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := s.until(short, func(v *view) bool {
		b := v.bridge(bridge)
		return (b == nil) != (epoch < 0) || b != nil && b.epoch() != epoch
	})
	if ctx.Err() == nil && short.Err() != nil {
		return nil
	}
	return err
}

// wired checks that the switch has taken in what it was given.
func wired(v *view, ends []end) error {
	for _, e := range ends {
		p := v.port(e)
		if p == nil {
			return fmt.Errorf("%s: its port was removed at once by somebody else (%w)", e.end, backends.ErrConflict)
		}
		if why := v.trouble(p); why != "" {
			return fmt.Errorf("%s: Open vSwitch: %s (port %s)", e.end, why, p.name)
		}
	}
	return nil
}
