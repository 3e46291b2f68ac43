package ui

import (
	"reflect"
	"sync"
	"time"
	"unsafe"

	tea "charm.land/bubbletea/v2"
)

const (
	// refresh is how often the renderer looks for a new frame while there may
	// be one.
	refresh = time.Second / 60
	// settled is how long after the last message it stops looking: no command
	// or animation of ours is silent for longer and then draws without a message.
	settled = 250 * time.Millisecond
	resting = 24 * time.Hour
)

// rest stops the renderer's ticker while nothing happens. Bubble Tea ticks
// sixty times a second also over a screen that stands still, has no option
// against it, and that is all the CPU time a quiet workbench uses: on a server
// where many are open it counts. Where the ticker cannot be found, all is as
// it would be without.
type rest struct {
	program *tea.Program

	mu     sync.Mutex
	ticker *time.Ticker
	asleep bool
	last   time.Time // a message came
	later  *time.Timer
}

// tickerOf finds the renderer's ticker, which is made when the program runs.
func tickerOf(p *tea.Program) *time.Ticker {
	if p == nil {
		return nil
	}
	f := reflect.ValueOf(p).Elem().FieldByName("ticker")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*time.Ticker]() {
		return nil
	}
	return *(**time.Ticker)(unsafe.Pointer(f.UnsafeAddr()))
}

// stir is called at every message, on the program's own goroutine.
func (r *rest) stir() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	if r.ticker == nil {
		if r.ticker = tickerOf(r.program); r.ticker == nil {
			return
		}
		r.later = time.AfterFunc(settled, r.sleep)
		return
	}
	if r.asleep {
		r.asleep = false
		r.ticker.Reset(refresh)
	}
	r.later.Reset(settled)
}

func (r *rest) sleep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := settled - time.Since(r.last); left > 0 { // a message has come meanwhile
		r.later.Reset(left)
		return
	}
	r.asleep = true
	r.ticker.Reset(resting)
}
