package lab

// State is what a lab as a whole is, derived from its nodes.
type State string

// The states of a lab.
const (
	StateUnknown  State = "unknown"  // nothing is known of its nodes yet
	StateStopped  State = "stopped"  // no node runs
	StateStarting State = "starting" // some node is on its way up
	StateRunning  State = "running"  // nodes run, and none is wrong
	StateStopping State = "stopping" // some node is on its way down
	StateDegraded State = "degraded" // some nodes are not what they should be while others live
	StateError    State = "error"    // nodes are in error and none lives
)

// States lists every lab state.
func States() []State {
	return []State{StateUnknown, StateStopped, StateStarting, StateRunning,
		StateStopping, StateDegraded, StateError}
}

// Valid reports whether s is a lab state.
func (s State) Valid() bool {
	for _, v := range States() {
		if s == v {
			return true
		}
	}
	return false
}

// Counts is how many nodes are in each state.
type Counts map[NodeState]int

// Count counts the states given.
func Count(states []NodeState) Counts {
	c := Counts{}
	for _, s := range states {
		c[s]++
	}
	return c
}

// Aggregate derives a lab's state from its nodes. Movement wins over errors,
// so that a lab is not called broken while it is still being brought up;
// when all is at rest, errors win over everything else.
func Aggregate(c Counts) State {
	total := 0
	for _, n := range c {
		total += n
	}
	switch {
	case total == 0:
		return StateUnknown
	case c[NodeStopping] > 0:
		return StateStopping
	case c[NodePending]+c[NodeStarting] > 0:
		return StateStarting
	case c[NodePaused] > 0, c[NodeError] > 0 && c[NodeRunning] > 0:
		return StateDegraded
	case c[NodeError] > 0:
		return StateError
	case c[NodeRunning] > 0:
		return StateRunning
	default:
		return StateStopped
	}
}
