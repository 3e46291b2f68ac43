package daemon

import (
	"context"
	"log/slog"
	"time"

	"archetype/engine"
	"archetype/settings"
	"archetype/store"
)

// settled is how long after a lab came, went or was changed a backup is made:
// what comes with it is in it, too.
const settled = 10 * time.Second

// backUp keeps backups beside the store: some time after labs came or went,
// at an interval while anything changes, and at the end. What was not stored
// since the last one is not backed up again.
func backUp(ctx context.Context, e *engine.Engine, st *store.Store, keep settings.Keep, log *slog.Logger) {
	if keep.Backups == 0 {
		return
	}
	updates, err := e.Watch(ctx)
	if err != nil {
		return
	}
	done := st.Writes()
	back := func() {
		if now := st.Writes(); now != done {
			if err := st.BackUp(keep.Backups); err != nil {
				log.Error("the store could not be backed up", "error", err)
				return
			}
			done = now
		}
	}
	var due <-chan time.Time
	at := time.Time{} // when the one that is due is
	soon := func(d time.Duration) {
		if when := time.Now().Add(d); due == nil || when.Before(at) {
			due, at = time.After(d), when
		}
	}
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				back()
				return
			}
			changed := len(u.Gone) > 0
			for _, l := range u.Labs {
				changed = changed || len(l.NodeOrder) > 0
			}
			if changed {
				soon(settled)
			} else {
				soon(keep.BackupEvery)
			}
		case <-due:
			due = nil
			back()
		}
	}
}
