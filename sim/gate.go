package sim

import (
	"context"
	"math/rand/v2"
	"time"
)

// Call is one call of an engine into the world.
type Call struct {
	Backend string // the provider's or the network's name
	Verb    string // as the seam calls it: create, start, connect …
	Lab     string
	On      string // node, endpoint or link
}

func (c Call) String() string { return c.Backend + " " + c.Verb + " " + c.Lab + "/" + c.On }

// Verdict is how a call ends.
type Verdict struct {
	Err error // nil: as the world has it
	// Late: it is done all the same, and its caller hears of an error. Half:
	// part of it is.
	Late, Half bool
	// Heard, where not nil, is closed when its caller hears of it: until then
	// it has happened, and others may hear of that before.
	Heard <-chan struct{}
}

// Gate decides when a call happens and how it ends.
type Gate interface {
	Pass(ctx context.Context, c Call) Verdict
}

// open is the gate that lets everything through at once.
type open struct{}

func (open) Pass(ctx context.Context, _ Call) Verdict { return Verdict{Err: ctx.Err()} }

// Paced is a gate that takes its time: about Each for a call, half to twice.
type Paced struct{ Each time.Duration }

// Pass waits a while.
func (p Paced) Pass(ctx context.Context, _ Call) Verdict {
	t := time.NewTimer(p.Each/2 + time.Duration(rand.Int64N(int64(p.Each)*3/2+1)))
	defer t.Stop()
	select {
	case <-t.C:
		return Verdict{}
	case <-ctx.Done():
		return Verdict{Err: ctx.Err()}
	}
}
