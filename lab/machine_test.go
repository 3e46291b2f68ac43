package lab_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"archetype/lab"
)

var wishes = []lab.NodeWish{lab.WishStopped, lab.WishRunning}

// Whatever is wished, and however often the wish changes on the way, the
// node only ever takes legal steps.
func TestNoWishLeadsToAnIllegalNodeTransition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(lab.NodeStates()).Draw(t, "from")
		for _, w := range rapid.SliceOfN(rapid.SampledFrom(wishes), 1, 50).Draw(t, "wishes") {
			next, move := s.NextFor(w)
			if err := s.CheckTransition(next); err != nil {
				t.Fatal(err)
			}
			if move == (next == s) {
				t.Fatalf("NextFor(%s) from %s says move=%v and %s", w, s, move, next)
			}
			if !move && !s.Matches(w) {
				t.Fatalf("%s is stuck on the way to %s", s, w)
			}
			s = next
		}
	})
}

// From every state, following NextFor arrives at each wish in a bounded
// number of steps: also a stop asked for during pending or starting, and a
// start asked for during stopping.
func TestEveryWishIsReachableFromEveryNodeState(t *testing.T) {
	for _, from := range lab.NodeStates() {
		for _, w := range wishes {
			s, steps := from, 0
			for !s.Matches(w) {
				s, _ = s.NextFor(w)
				if steps++; steps > len(lab.NodeStates()) {
					t.Fatalf("%s never becomes %s", from, w)
				}
			}
		}
		s, steps := from, 0
		for {
			next, move := s.NextForRemoval()
			if !move {
				break
			}
			if err := s.CheckTransition(next); err != nil {
				t.Fatal(err)
			}
			s = next
			if steps++; steps > len(lab.NodeStates()) {
				t.Fatalf("%s is never removed", from)
			}
		}
		if s != lab.NodeUndeployed {
			t.Errorf("removal from %s ends in %s", from, s)
		}
	}
}

// One that is paused is gone on with, or stopped; it never counts as running.
func TestPaused(t *testing.T) {
	p := lab.NodePaused
	if p.Matches(lab.WishRunning) || p.Matches(lab.WishStopped) || p.InTransition() || !p.Alive() {
		t.Error("it counts as what it is not")
	}
	if a := p.EnforcementAction(lab.WishRunning); a != lab.NodeResume {
		t.Errorf("to run it is to %s", a)
	}
	if a := p.EnforcementAction(lab.WishStopped); a != lab.NodeStop {
		t.Errorf("to be stopped it is to %s", a)
	}
	if s := lab.Aggregate(lab.Count([]lab.NodeState{p, lab.NodeRunning})); s != lab.StateDegraded {
		t.Errorf("its lab is %s", s)
	}
}

func TestStopDuringBootIsServed(t *testing.T) {
	for from, want := range map[lab.NodeState]lab.NodeState{
		lab.NodePending:  lab.NodeStopped,  // the start is withdrawn
		lab.NodeStarting: lab.NodeStopping, // stopped like a running one
		lab.NodeStopping: lab.NodeStopped,
	} {
		if got, _ := from.NextFor(lab.WishStopped); got != want {
			t.Errorf("stop while %s: next is %s, want %s", from, got, want)
		}
	}
	if got, _ := lab.NodeStopping.NextFor(lab.WishRunning); got != lab.NodeStopped {
		t.Errorf("start while stopping: next is %s, want stopped first", got)
	}
}

func TestEnforcementLeavesAloneWhatMovesOrMatches(t *testing.T) {
	for _, s := range lab.NodeStates() {
		for _, w := range wishes {
			act := s.EnforcementAction(w)
			if (act == lab.NodeLeave) == s.NeedsEnforcement(w) {
				t.Errorf("%s wished %s: needs=%v but action %q", s, w, s.NeedsEnforcement(w), act)
			}
			if s.NeedsEnforcement(w) != (!s.InTransition() && !s.Matches(w)) {
				t.Errorf("%s wished %s: needs enforcement is %v", s, w, s.NeedsEnforcement(w))
			}
			if act == lab.NodeStart && w != lab.WishRunning || act == lab.NodeStop && w != lab.WishStopped {
				t.Errorf("%s wished %s: action %q goes the wrong way", s, w, act)
			}
		}
	}
}

func TestLinksTakeOnlyLegalStepsAndArrive(t *testing.T) {
	for _, from := range lab.LinkStates() {
		for _, w := range []lab.LinkWish{lab.WishUp, lab.WishDown} {
			s, steps := from, 0
			for !s.Matches(w) {
				next, move := s.NextFor(w)
				if err := s.CheckTransition(next); err != nil || !move {
					t.Fatalf("%s wished %s: next %s, move %v: %v", s, w, next, move, err)
				}
				s = next
				if steps++; steps > len(lab.LinkStates()) {
					t.Fatalf("%s never becomes %s", from, w)
				}
			}
			act := from.EnforcementAction(w)
			if (act == lab.LinkLeave) == from.NeedsEnforcement(w) {
				t.Errorf("%s wished %s: action %q", from, w, act)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(lab.LinkStates()).Draw(t, "from")
		both := []lab.LinkWish{lab.WishUp, lab.WishDown}
		for _, w := range rapid.SliceOfN(rapid.SampledFrom(both), 1, 50).Draw(t, "wishes") {
			next, _ := s.NextFor(w)
			if err := s.CheckTransition(next); err != nil {
				t.Fatal(err)
			}
			s = next
		}
	})
}

func TestIllegalStepsAndStatesAreTypedErrors(t *testing.T) {
	var te *lab.TransitionError
	if err := lab.NodeUndeployed.CheckTransition(lab.NodeRunning); !errors.As(err, &te) {
		t.Errorf("undeployed to running: %v", err)
	}
	if err := lab.LinkDown.CheckTransition(lab.LinkCreating); !errors.As(err, &te) {
		t.Errorf("down to creating: %v", err)
	}
	if err := lab.JobCompleted.CheckTransition(lab.JobRunning); !errors.As(err, &te) {
		t.Errorf("completed to running: %v", err)
	}
	var ie *lab.InvalidStateError
	if err := lab.NodeRunning.CheckTransition("fine"); !errors.As(err, &ie) {
		t.Errorf("running to fine: %v", err)
	}
	if _, err := lab.ParseNodeState(""); !errors.As(err, &ie) {
		t.Errorf("parsing nothing: %v", err)
	}
	if _, err := lab.ParseLinkState("sideways"); !errors.As(err, &ie) {
		t.Errorf("parsing sideways: %v", err)
	}
}

// The transitions that the architecture names, each of them legal here.
func TestNamedTransitionsAreLegal(t *testing.T) {
	for from, tos := range map[lab.NodeState][]lab.NodeState{
		lab.NodeUndeployed: {lab.NodePending},
		lab.NodePending:    {lab.NodeStarting, lab.NodeError},
		lab.NodeStarting:   {lab.NodeRunning, lab.NodeError},
		lab.NodeRunning:    {lab.NodeStopping, lab.NodeError},
		lab.NodeStopping:   {lab.NodeStopped, lab.NodeError},
		lab.NodeStopped:    {lab.NodePending, lab.NodeUndeployed},
		lab.NodeError:      {lab.NodePending, lab.NodeStopped, lab.NodeUndeployed},
	} {
		for _, to := range tos {
			if !from.CanTransition(to) {
				t.Errorf("%s to %s is refused", from, to)
			}
		}
	}
	for from, tos := range map[lab.LinkState][]lab.LinkState{
		lab.LinkUnknown:  {lab.LinkPending, lab.LinkUp, lab.LinkDown},
		lab.LinkPending:  {lab.LinkCreating, lab.LinkError},
		lab.LinkCreating: {lab.LinkUp, lab.LinkError},
		lab.LinkUp:       {lab.LinkDown, lab.LinkError},
		lab.LinkDown:     {lab.LinkPending, lab.LinkUp},
		lab.LinkError:    {lab.LinkPending, lab.LinkDown},
	} {
		for _, to := range tos {
			if !from.CanTransition(to) {
				t.Errorf("%s to %s is refused", from, to)
			}
		}
	}
	for from, tos := range map[lab.JobState][]lab.JobState{
		lab.JobPending: {lab.JobRunning, lab.JobCancelled},
		lab.JobRunning: {lab.JobCompleted, lab.JobFailed, lab.JobCancelled},
	} {
		for _, to := range tos {
			if !from.CanTransition(to) {
				t.Errorf("%s to %s is refused", from, to)
			}
		}
	}
}

func TestOtherMachinesKnowTheirStates(t *testing.T) {
	for _, s := range lab.HostStates() {
		for _, to := range lab.HostStates() { // a host can be found in any state at any time
			if to != lab.HostUnknown && !s.CanTransition(to) {
				t.Errorf("host %s to %s is refused", s, to)
			}
		}
	}
	if lab.ImageMissing.CanTransition(lab.ImageFailed) {
		t.Error("an image fails without having been fetched")
	}
	if !lab.TunnelPending.CanTransition(lab.TunnelCreating) || lab.TunnelPending.CanTransition(lab.TunnelActive) {
		t.Error("a tunnel becomes active only by being created")
	}
}

// However often a tunnel is wished up and away, and whenever it fails, it
// takes only legal steps, never carries frames without having been made, and
// gets where it is wished to be.
func TestNoWishLeadsToAnIllegalTunnelTransition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(lab.TunnelStates()).Draw(t, "from")
		for _, active := range rapid.SliceOfN(rapid.Bool(), 1, 50).Draw(t, "wishes") {
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 && s != lab.TunnelFailed {
				if err := s.CheckTransition(lab.TunnelFailed); err != nil {
					t.Fatal(err)
				}
				s = lab.TunnelFailed
			}
			next, move := s.NextFor(active)
			if err := s.CheckTransition(next); err != nil {
				t.Fatal(err)
			}
			if move == (next == s) {
				t.Fatalf("NextFor(%v) from %s says move=%v and %s", active, s, move, next)
			}
			if next == lab.TunnelActive && move && s != lab.TunnelCreating {
				t.Fatalf("%s becomes active without being created", s)
			}
			s = next
		}
		for _, active := range []bool{true, false} {
			for steps := 0; ; steps++ {
				next, move := s.NextFor(active)
				if !move {
					break
				}
				if s = next; steps > len(lab.TunnelStates()) {
					t.Fatalf("stuck in %s on the way to active=%v", s, active)
				}
			}
		}
	})
	if _, err := lab.ParseTunnelState("up"); err == nil {
		t.Error("\"up\" was taken for a tunnel's state")
	}
	if s, err := lab.ParseTunnelState("cleanup"); err != nil || s != lab.TunnelCleanup {
		t.Errorf("%q, %v", s, err)
	}
}

func TestAggregate(t *testing.T) {
	const (
		un, pe, st, ru = lab.NodeUndeployed, lab.NodePending, lab.NodeStarting, lab.NodeRunning
		sp, sd, er     = lab.NodeStopping, lab.NodeStopped, lab.NodeError
	)
	for _, c := range []struct {
		want  lab.State
		nodes []lab.NodeState
	}{
		{lab.StateUnknown, nil},
		{lab.StateStopped, []lab.NodeState{un, un}},
		{lab.StateStopped, []lab.NodeState{sd, un}},
		{lab.StateStarting, []lab.NodeState{pe, ru}},
		{lab.StateStarting, []lab.NodeState{st, er}},
		{lab.StateStopping, []lab.NodeState{sp, st, er}},
		{lab.StateRunning, []lab.NodeState{ru, ru}},
		{lab.StateRunning, []lab.NodeState{ru, sd}},
		{lab.StateDegraded, []lab.NodeState{ru, er}},
		{lab.StateError, []lab.NodeState{er, sd}},
	} {
		if got := lab.Aggregate(lab.Count(c.nodes)); got != c.want {
			t.Errorf("%v: %s, want %s", c.nodes, got, c.want)
		}
		if !c.want.Valid() {
			t.Errorf("%s is not valid", c.want)
		}
	}
}

func TestEndpointsAndLinkIDs(t *testing.T) {
	e, err := lab.ParseEndpoint("r1:Ethernet1:2")
	if err != nil || e.Node != "r1" || e.Interface != "Ethernet1:2" || e.String() != "r1:Ethernet1:2" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range []string{"", "r1", ":eth1", "r1:"} {
		if _, err := lab.ParseEndpoint(bad); err == nil {
			t.Errorf("%q was taken for an endpoint", bad)
		}
	}
	a, b := lab.Endpoint{Node: "a", Interface: "e1"}, lab.Endpoint{Node: "b", Interface: "e2"}
	if lab.LinkID(a, b) != lab.LinkID(b, a) {
		t.Error("a link is another one when written the other way round")
	}
}
