package engine

import (
	"context"
	"sync"
	"time"

	"archetype/engine/api"
)

// frame is how often a watcher is told at most: what changes faster than a
// screen can draw is coalesced before it is sent.
const frame = 33 * time.Millisecond

// hub holds the present snapshot and tells watchers when it was replaced.
// A watcher compares snapshots by identity, so nothing is queued for it and a
// slow one simply gets a larger difference.
type hub struct {
	mu   sync.Mutex
	cur  *api.Snapshot
	next chan struct{} // closed when cur is replaced
}

func newHub() *hub { return &hub{cur: &api.Snapshot{}, next: make(chan struct{})} }

// change replaces the snapshot by what f makes of it; f must not modify what
// it is given.
func (h *hub) change(f func(api.Snapshot) api.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := f(*h.cur)
	s.Rev = h.cur.Rev + 1
	h.cur = &s
	close(h.next)
	h.next = make(chan struct{})
}

func (h *hub) get() (*api.Snapshot, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cur, h.next
}

// watch sends the whole state and then every difference until ctx ends.
func (h *hub) watch(ctx context.Context) <-chan *api.Update {
	out := make(chan *api.Update)
	go func() {
		defer close(out)
		var last *api.Snapshot
		for {
			cur, next := h.get()
			if u := api.Diff(last, cur); u != nil {
				select {
				case out <- u:
					last = cur
				case <-ctx.Done():
					return
				}
				if !pause(ctx, frame) {
					return
				}
			}
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// pause waits for d and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
