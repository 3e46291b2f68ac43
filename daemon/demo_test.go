package daemon

import (
	"errors"
	"os"
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/settings"
)

// A demonstration runs a lab, says of everything in it that it is simulated,
// and leaves nothing.
func TestDemoSaysThatItIsSimulated(t *testing.T) {
	t.Setenv(settings.EnvHome, t.TempDir())
	s, err := settings.Load()
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDemo(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.End()
	if _, err := d.Deploy(t.Context(), api.DeployRequest{File: d.File}); err != nil {
		t.Fatal(err)
	}
	updates, err := d.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var snap *api.Snapshot
	for u := range updates {
		if snap = snap.Apply(u); len(snap.Labs) == 1 && snap.Labs[0].State == lab.StateRunning {
			break
		}
	}
	l := snap.Labs[0]
	if !strings.Contains(l.Provider, "simulated") || !strings.Contains(l.Network, "simulated") || !strings.Contains(l.Name, "simulated") {
		t.Errorf("the lab is shown as %+v", l.Info)
	}
	for _, n := range l.Nodes {
		if n.Actual != lab.NodeRunning || !strings.Contains(n.Provider, "simulated") {
			t.Errorf("%s is %s by %s", n.Name, n.Actual, n.Provider)
		}
	}
	d.End()
	if _, err := os.Stat(d.File); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", d.File, err)
	}
}
