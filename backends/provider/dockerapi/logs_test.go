package dockerapi

import (
	"testing"

	"github.com/moby/moby/api/types/container"
)

// A boot's log begins at the end of the boot before, however late the engine has
// noted that it began: what the init said by then is not lost.
func TestBootSince(t *testing.T) {
	const started, never = "2026-01-02T10:00:30Z", "0001-01-01T00:00:00Z"
	for _, c := range []struct{ finished, want string }{
		{"2026-01-02T10:00:29.5Z", "2026-01-02T10:00:29.5Z"},
		{"2026-01-02T10:00:11Z", "2026-01-02T10:00:11Z"},
		{"2026-01-02T10:00:31Z", "2026-01-02T10:00:29Z"}, // of this boot, or by another clock
		{never, "2026-01-02T10:00:29Z"},
		{"", "2026-01-02T10:00:29Z"},
	} {
		if got := bootSince(&container.State{StartedAt: started, FinishedAt: c.finished}); got != c.want {
			t.Errorf("after a boot that ended at %q the log is read from %s on, not %s", c.finished, got, c.want)
		}
	}
	if got := bootSince(&container.State{StartedAt: never}) + bootSince(nil); got != "" {
		t.Errorf("of one that was never started it is read from %s on", got)
	}
}
