package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"archetype/backends"
)

// answerTime is how long an engine that starts waits for one answer of a
// backend: what one knows is not held up by another that hangs.
const answerTime = 10 * time.Second

// answered asks a backend, and gives up after answerTime, also where it does not
// heed its context.
func answered[T any](ctx context.Context, ask func(context.Context) T) (out T, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer := make(chan T, 1)
	go func() { answer <- ask(ctx) }()
	select {
	case out = <-answer:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		var none T
		return none, false
	}
	return out, true
}

// listed is what a provider has, as asked for at the start.
type listed struct {
	provider backends.Provider
	here     bool // it can be asked
	events   <-chan backends.NodeStatus
	list     []backends.NodeStatus
	err      error
}

// askProviders asks all of them at once.
func (e *Engine) askProviders() []listed {
	names := e.opt.Backends.Providers()
	all := make([]listed, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			p, _ := e.opt.Backends.Provider(name)
			all[i] = e.askProvider(p)
		})
	}
	wg.Wait()
	return all
}

// askProvider subscribes before it lists, so that nothing falls in between. A
// provider that does not answer may do so later, as one that is not here.
func (e *Engine) askProvider(p backends.Provider) listed {
	lasting, end := context.WithCancel(e.ctx)
	out, ok := answered(e.ctx, func(ctx context.Context) listed {
		out := listed{provider: p, here: p.Available(ctx).OK}
		if !out.here {
			return out
		}
		var err error
		if out.events, err = p.Events(lasting); err != nil {
			out.events = nil
		}
		if out.list, out.err = p.List(ctx, ""); out.err != nil {
			e.log.Warn("cannot list nodes", "provider", p.Name(), "err", out.err)
		}
		return out
	})
	if !ok || !out.here {
		end()
		return listed{provider: p}
	}
	context.AfterFunc(e.ctx, end)
	return out
}

// inquiry is the look at all links at the start. A backend that has not answered
// once in time is not asked about the links of any lab again.
type inquiry struct {
	mu     sync.Mutex
	silent map[string]bool
	gates  map[string]chan struct{}
}

func newInquiry() *inquiry {
	return &inquiry{silent: map[string]bool{}, gates: map[string]chan struct{}{}}
}

// gate bounds how many links are asked for at a time where the same backends
// have to answer.
func (q *inquiry) gate(by string, width int) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gates[by] == nil {
		q.gates[by] = make(chan struct{}, width)
	}
	return q.gates[by]
}

func (q *inquiry) isSilent(by string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.silent[by]
}

func (q *inquiry) silence(by string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.silent[by] = true
}

// state is what a network says of a link; nil where it cannot be known.
func (q *inquiry) state(ctx context.Context, by string, gate chan struct{}, network backends.Network,
	attached func(context.Context) (backends.Link, error)) (st *backends.LinkStatus) {
	_ = limit(ctx, func() error {
		if q.isSilent(by) {
			return nil
		}
		out, ok := answered(ctx, func(ctx context.Context) *backends.LinkStatus {
			bl, err := attached(ctx)
			if err != nil {
				return nil
			}
			st, err := network.State(ctx, bl)
			st.Gone = st.Gone || errors.Is(err, backends.ErrNotFound)
			if err != nil && !st.Gone {
				return nil
			}
			return &st
		})
		if st = out; !ok {
			q.silence(by)
		}
		return nil
	}, gate)
	return st
}
