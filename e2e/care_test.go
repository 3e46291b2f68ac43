package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is stored is backed up while a lab runs, checked, restored and
// compacted, and the lab never notices; the engine ends when it is told to.
func TestStoreIsLookedAfterWhileALabRuns(t *testing.T) {
	w := newWorld(t, asUser)
	file := w.file("ring.clab.yml", ring("ring", 3))
	w.ok("deploy", file, "--network", "veth")
	inits := w.inits("ring")
	copied := filepath.Join(filepath.Dir(file), "backup.db")
	w.ok("store", "backup", copied)
	w.ok("store", "check")
	if out := w.code(1, "store", "restore", copied); !strings.Contains(out.err, "archetype engine stop") {
		t.Errorf("restored under the engine's feet: %+v", out)
	}
	w.ok("engine", "stop")
	w.ok("store", "restore", copied)
	w.ok("store", "compact")
	w.ok("store", "check")
	if out := w.ok("gc"); !strings.Contains(out, "nothing") {
		t.Errorf("gc found: %s", out)
	}
	w.awaitWhole("ring")
	for name, pids := range w.inits("ring") {
		if len(inits[name]) != 1 || len(pids) != 1 || inits[name][0] != pids[0] {
			t.Errorf("%s was %v and is %v", name, inits[name], pids)
		}
	}
}
