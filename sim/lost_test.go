package sim_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
)

// A link that could not be moved, and has returned, suffers what it did before.
func TestImpairmentOutlivesAMoveThatIsRefused(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		a, _ := lab.ParseEndpoint("n0:eth1")
		b, _ := lab.ParseEndpoint("n1:eth1")
		bad := lab.Impairment{Delay: time.Second}
		impaired := func(*api.Lab) bool {
			st, is := d.w.Wire("alpha", driftLink)
			return st.Connected && is[a.String()] == bad
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.Impair(ctx, api.ImpairRequest{Lab: "alpha", A: a, B: b, FromA: &bad})
			return err
		})
		d.await("it to suffer", impaired)
		refused := false
		d.refuses = func(c sim.Call) error {
			if c.Backend == sim.CableName && c.Verb == "connect" {
				refused = true
				return errors.New("not today")
			}
			return nil
		}
		d.ask1(func(ctx context.Context) error {
			_, err := d.e.SetNetwork(ctx, api.NetworkRequest{Lab: "alpha", Network: sim.CableName})
			return err
		})
		d.await("it to have returned, and to suffer", func(l *api.Lab) bool {
			return refused && l.Network == sim.SwitchName && l.Links[0].Actual == lab.LinkUp && impaired(l)
		})
	})
}

// What an engine has impaired and could not save that it was to be is found by
// the next one, also where that cannot ask for the link at first.
func TestImpairmentThatWasNotSavedIsTakenAway(t *testing.T) {
	drifting(t, lab.PolicyEnforce, func(d *driver) {
		refusing := func(on bool) {
			d.mu.Lock()
			d.disk = on
			d.mu.Unlock()
		}
		a, _ := lab.ParseEndpoint("n0:eth1")
		b, _ := lab.ParseEndpoint("n1:eth1")
		impaired := func() bool {
			_, is := d.w.Wire("alpha", driftLink)
			return is[a.String()] != lab.Impairment{}
		}
		refusing(true)
		said := make(chan error, 1)
		go func() {
			_, err := d.e.Impair(context.Background(), api.ImpairRequest{Lab: "alpha", A: a, B: b, FromA: &lab.Impairment{Delay: time.Second}})
			said <- err
		}()
		d.await("it to suffer", func(*api.Lab) bool { return impaired() })
		if err := <-said; err == nil {
			t.Fatal("it was saved")
		}
		d.refuses = func(c sim.Call) error {
			if c.Verb == "state" {
				return errors.New("not today")
			}
			return nil
		}
		d.crash()
		refusing(false)
		d.await("it to suffer no more", func(l *api.Lab) bool { return l.Links[0].Actual == lab.LinkUp && !impaired() })
	})
}
