package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"archetype/backends"
)

// countdown is a context that ends when it has been asked a number of times:
// at every point where a backend looks, in turn.
type countdown struct {
	context.Context
	left atomic.Int64
	once sync.Once
	done chan struct{}
}

func newCountdown(ctx context.Context, n int) *countdown {
	c := &countdown{Context: ctx, done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) end() { c.once.Do(func() { close(c.done) }) }

func (c *countdown) ask() {
	if c.left.Add(-1) < 0 {
		c.end()
	}
}

func (c *countdown) Done() <-chan struct{} {
	c.ask()
	return c.done
}

func (c *countdown) Err() error {
	c.ask()
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// lanes are how many links are worked at side by side, each at other points: a
// call mostly waits, for the kernel or for a switch, which has several at a time
// wait no longer.
const lanes = 12

// most is at how many points of one call it is given up.
const most = 64

// A call that is given up at any point, or that comes when another was,
// leaves nothing that the next one cannot put right.
func cancelled(b *bench) {
	count := lanes
	if b.env.Machine != nil {
		count = 1 // it has no interfaces for more
	}
	var next atomic.Int64
	var whole sync.Map // calls that have got to their end before their point
	var all sync.WaitGroup
	for range count {
		l, spare := b.addressed(b.cable("a", "b")), b.spare()
		calls := undertakings(b, l, spare)
		all.Add(1)
		go func() {
			defer all.Done() // also where a check ends the goroutine
			for {
				// The first points of all calls, then their second ones: few are
				// begun beyond a call's last.
				i := int(next.Add(1) - 1)
				n, c := i/len(calls), calls[i%len(calls)]
				if n >= most {
					return
				}
				if _, over := whole.Load(c.what); !over && c.at(b, l, n) {
					whole.Store(c.what, true)
				}
			}
		}()
	}
	all.Wait()
}

// undertaking is a call that may be given up.
type undertaking struct {
	what          string
	prepare, call func(context.Context) error
	check         func()
}

// at gives the call up at a point, and reports whether it got to its end before.
func (c undertaking) at(b *bench, l backends.Link, n int) (whole bool) {
	b.Helper()
	attempt := func() bool {
		b.Helper()
		ctx := newCountdown(b.Context(), n)
		defer ctx.end()
		if err := c.call(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.Fatalf("%s given up at point %d: %v", c.what, n, err)
		} else if err != nil {
			return false
		}
		return ctx.left.Load() >= 0
	}
	b.must(c.prepare(b.Context()))
	whole = attempt()
	// Whatever was left half done, the call itself puts it right...
	if err := c.call(b.Context()); err != nil {
		b.Fatalf("%s, after it was given up at point %d: %v", c.what, n, err)
	}
	c.check()
	// ...and so does taking it away.
	b.must(c.prepare(b.Context()))
	attempt()
	b.must(b.network.DeleteLink(b.Context(), l))
	b.absent(l)
	return whole
}

// undertakings are all calls on a link and a port that nobody else works at.
func undertakings(b *bench, l backends.Link, spare backends.Port) []undertaking {
	return []undertaking{
		{"provision", func(ctx context.Context) error { return b.network.DeletePort(ctx, spare) },
			func(ctx context.Context) error { return b.network.Provision(ctx, spare) },
			func() { b.carrier(false, spare) }},
		{"connect", func(ctx context.Context) error { return b.network.DeleteLink(ctx, l) },
			func(ctx context.Context) error { return b.network.Connect(ctx, l) },
			func() { b.passes(l); b.addresses(l.A); b.addresses(l.B) }},
		{"connect what is provisioned", func(ctx context.Context) error {
			return errors.Join(b.network.DeleteLink(ctx, l), b.network.Provision(ctx, l.A), b.network.Provision(ctx, l.B))
		},
			func(ctx context.Context) error { return b.network.Connect(ctx, l) },
			func() { b.passes(l); b.addresses(l.A); b.addresses(l.B) }},
		{"disconnect", func(ctx context.Context) error { return b.network.Connect(ctx, l) },
			func(ctx context.Context) error { return b.network.Disconnect(ctx, l) },
			func() { b.carrier(false, l.A, l.B); b.addresses(l.A) }},
		{"connect what is cut", func(ctx context.Context) error {
			return errors.Join(b.network.Connect(ctx, l), b.network.Disconnect(ctx, l))
		},
			func(ctx context.Context) error { return b.network.Connect(ctx, l) },
			func() { b.passes(l); b.addresses(l.A); b.addresses(l.B) }},
		{"delete", func(ctx context.Context) error { return b.network.Connect(ctx, l) },
			func(ctx context.Context) error { return b.network.DeleteLink(ctx, l) },
			func() { b.absent(l) }},
	}
}
