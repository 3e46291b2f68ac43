package lab

// NodeState is what a node is found to be.
type NodeState string

// The states of a node.
const (
	NodeUndeployed NodeState = "undeployed" // nothing of it exists
	NodePending    NodeState = "pending"    // being made: namespace, disk, interfaces
	NodeStarting   NodeState = "starting"   // its init runs, it is not ready yet
	NodeRunning    NodeState = "running"    // ready, as its kind defines ready
	NodePaused     NodeState = "paused"     // somebody has frozen it: it exists, and nothing of it moves
	NodeStopping   NodeState = "stopping"   // asked to end, not ended yet
	NodeStopped    NodeState = "stopped"    // exists, nothing of it runs
	NodeError      NodeState = "error"      // the last step failed; the reason stands beside it
)

// NodeWish is what the user wants a node to be.
type NodeWish string

// The states a node can be wished into.
const (
	WishStopped NodeWish = "stopped"
	WishRunning NodeWish = "running"
)

// The transitions beyond the obvious chain are the everyday ones: a wish that
// changes while a start is under way (pending→stopped, pending→undeployed,
// starting→stopping), and a world that moves by itself (running→stopped when
// a node dies, starting→stopped when it dies while booting, running→paused and
// back when somebody freezes it, stopped→error
// when what was parked is found damaged, anything living→undeployed when it
// was removed behind our back).
var nodes = machine[NodeState]{
	what: "node",
	states: []NodeState{NodeUndeployed, NodePending, NodeStarting, NodeRunning, NodePaused,
		NodeStopping, NodeStopped, NodeError},
	next: map[NodeState][]NodeState{
		NodeUndeployed: {NodePending, NodeError},
		NodePending:    {NodeStarting, NodeError, NodeStopped, NodeUndeployed},
		NodeStarting:   {NodeRunning, NodePaused, NodeError, NodeStopping, NodeStopped, NodeUndeployed},
		NodeRunning:    {NodePaused, NodeStopping, NodeError, NodeStopped, NodeUndeployed},
		NodePaused:     {NodeRunning, NodeStarting, NodeStopping, NodeError, NodeStopped, NodeUndeployed},
		NodeStopping:   {NodeStopped, NodeError, NodeUndeployed},
		NodeStopped:    {NodePending, NodeUndeployed, NodeError},
		NodeError:      {NodePending, NodeStopped, NodeUndeployed},
	},
}

// NodeStates lists every node state, in the order of a life.
func NodeStates() []NodeState { return append([]NodeState(nil), nodes.states...) }

// ParseNodeState turns text into a state or returns an *InvalidStateError.
func ParseNodeState(s string) (NodeState, error) { return nodes.parse(s) }

// Valid reports whether s is a node state.
func (s NodeState) Valid() bool { return nodes.valid(s) }

// CanTransition reports whether a node may go from s to the state given.
// Staying is always legal.
func (s NodeState) CanTransition(to NodeState) bool { return nodes.can(s, to) }

// CheckTransition returns nil or the *TransitionError or *InvalidStateError
// that says what is wrong with going from s to the state given.
func (s NodeState) CheckTransition(to NodeState) error { return nodes.check(s, to) }

// InTransition reports whether something is under way that will end by
// itself: enforcement leaves such a node alone.
func (s NodeState) InTransition() bool {
	return s == NodePending || s == NodeStarting || s == NodeStopping
}

// Alive reports whether processes of the node may exist in state s.
func (s NodeState) Alive() bool {
	return s == NodeStarting || s == NodeRunning || s == NodePaused || s == NodeStopping
}

// Valid reports whether w is a wish a node can have.
func (w NodeWish) Valid() bool { return w == WishStopped || w == WishRunning }

// Matches reports whether a node in state s is what w asks for. A node that
// was never begun is as good as stopped.
func (s NodeState) Matches(w NodeWish) bool {
	if w == WishRunning {
		return s == NodeRunning
	}
	return s == NodeStopped || s == NodeUndeployed
}

// NextFor returns the next state on the way from s to what w asks for, and
// false when the node is there already. Following it step by step always
// arrives, and every step is legal.
//
// A stop asked for while a node is pending withdraws the start: the node is
// stopped as soon as the step in flight has ended or been cancelled. Asked
// for while it is starting, it is stopped like a running one. A start asked
// for while it is stopping is served once it has stopped.
func (s NodeState) NextFor(w NodeWish) (NodeState, bool) {
	if s.Matches(w) {
		return s, false
	}
	if w == WishRunning {
		switch s {
		case NodePending:
			return NodeStarting, true
		case NodeStarting:
			return NodeRunning, true
		case NodePaused:
			return NodeRunning, true
		case NodeStopping:
			return NodeStopped, true
		default:
			return NodePending, true
		}
	}
	switch s {
	case NodeStarting, NodeRunning, NodePaused:
		return NodeStopping, true
	default:
		return NodeStopped, true
	}
}

// NextForRemoval returns the next state on the way from s to undeployed, and
// false when the node is gone already.
func (s NodeState) NextForRemoval() (NodeState, bool) {
	switch s {
	case NodeUndeployed:
		return s, false
	case NodeStarting, NodeRunning, NodePaused:
		return NodeStopping, true
	case NodeStopping:
		return NodeStopped, true
	default:
		return NodeUndeployed, true
	}
}

// NodeAction is what enforcement does to a node.
type NodeAction string

// What enforcement can do to a node.
const (
	NodeLeave  NodeAction = ""
	NodeStart  NodeAction = "start"
	NodeStop   NodeAction = "stop"
	NodeResume NodeAction = "resume"
)

// NeedsEnforcement reports whether a node in state s that should be w has to
// be acted upon: it differs, and nothing is under way that may still end well.
func (s NodeState) NeedsEnforcement(w NodeWish) bool {
	return !s.InTransition() && !s.Matches(w)
}

// EnforcementAction says what to do to a node in state s that should be w.
// A node in error that should be stopped is stopped: the error may have left
// something of it running.
func (s NodeState) EnforcementAction(w NodeWish) NodeAction {
	switch {
	case !s.NeedsEnforcement(w):
		return NodeLeave
	case w == WishRunning && s == NodePaused:
		return NodeResume
	case w == WishRunning:
		return NodeStart
	default:
		return NodeStop
	}
}
