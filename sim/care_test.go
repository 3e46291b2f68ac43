package sim_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/sim"
	"archetype/store"
)

func engineOver(t *testing.T, w *sim.World) *engine.Engine {
	t.Helper()
	st, err := store.Open(filepath.Join(scratch(t), "db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	reg := &backends.Registry{}
	reg.AddProvider(w.Provider())
	for _, n := range w.Networks() {
		reg.AddNetwork(n)
	}
	e, err := engine.New(t.Context(), engine.Options{Store: st, Backends: reg, Vendors: allKinds(),
		Defaults: engine.Defaults{Provider: sim.ProviderName, Network: sim.CableName}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Shutdown()
		_ = st.Close()
	})
	return e
}

// What no lab owns is found, left alone until its removal is asked for, and
// then removed; what is somebody else's is not even seen.
func TestStraysAreFoundAndRemovedWhenAskedFor(t *testing.T) {
	w := sim.NewWorld()
	w.Foreign(theirs)
	e := engineOver(t, w)
	w.Stray(backends.NodeRef{Lab: "forgotten", Node: "n1"})
	before := w.Contents()
	found, err := e.Strays(t.Context(), api.StraysRequest{})
	if err != nil || len(found.Found) != 1 || found.Found[0].Name != "n1" || found.Found[0].Removed {
		t.Fatalf("found %+v: %v", found, err)
	}
	if !slices.Equal(before, w.Contents()) {
		t.Errorf("looking has changed something: %v", w.Contents())
	}
	found, err = e.Strays(t.Context(), api.StraysRequest{Remove: true})
	if err != nil || len(found.Found) != 1 || !found.Found[0].Removed {
		t.Fatalf("removed %+v: %v", found, err)
	}
	if left := strings.Join(w.Contents(), ","); left != "foreign "+theirs.String() {
		t.Errorf("left: %s", left)
	}
	if v := w.Violations(); len(v) > 0 {
		t.Error(v)
	}
}
