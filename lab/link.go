package lab

// LinkState is what a link is found to be.
type LinkState string

// The states of a link.
const (
	LinkUnknown  LinkState = "unknown"  // not looked at yet
	LinkPending  LinkState = "pending"  // waits for its ends to exist
	LinkCreating LinkState = "creating" // being wired
	LinkUp       LinkState = "up"       // wired, packets cross
	LinkDown     LinkState = "down"     // cut: its ends are isolated
	LinkError    LinkState = "error"    // the last step failed; the reason stands beside it
)

// LinkWish is what the user wants a link to be.
type LinkWish string

// The states a link can be wished into.
const (
	WishUp   LinkWish = "up"
	WishDown LinkWish = "down"
)

// Carrier is what a device sees on an interface, kept apart from the link's
// own state: a wired link can be without carrier while a peer is down.
type Carrier string

// The values of a carrier. The empty value means that nobody looked yet.
const (
	CarrierOn  Carrier = "on"
	CarrierOff Carrier = "off"
)

// Beyond the chain of making and cutting: a wish withdrawn while the link is
// made (pending→down, creating→down), and ends that vanish behind our back
// (up→pending, creating→pending, down→error).
var links = machine[LinkState]{
	what:   "link",
	states: []LinkState{LinkUnknown, LinkPending, LinkCreating, LinkUp, LinkDown, LinkError},
	next: map[LinkState][]LinkState{
		LinkUnknown:  {LinkPending, LinkUp, LinkDown, LinkError},
		LinkPending:  {LinkCreating, LinkError, LinkDown},
		LinkCreating: {LinkUp, LinkError, LinkDown, LinkPending},
		LinkUp:       {LinkDown, LinkError, LinkPending},
		LinkDown:     {LinkPending, LinkUp, LinkError},
		LinkError:    {LinkPending, LinkDown},
	},
}

// LinkStates lists every link state.
func LinkStates() []LinkState { return append([]LinkState(nil), links.states...) }

// ParseLinkState turns text into a state or returns an *InvalidStateError.
func ParseLinkState(s string) (LinkState, error) { return links.parse(s) }

// Valid reports whether s is a link state.
func (s LinkState) Valid() bool { return links.valid(s) }

// CanTransition reports whether a link may go from s to the state given.
// Staying is always legal.
func (s LinkState) CanTransition(to LinkState) bool { return links.can(s, to) }

// CheckTransition returns nil or the *TransitionError or *InvalidStateError
// that says what is wrong with going from s to the state given.
func (s LinkState) CheckTransition(to LinkState) error { return links.check(s, to) }

// InTransition reports whether something is under way that will end by itself.
func (s LinkState) InTransition() bool { return s == LinkPending || s == LinkCreating }

// Valid reports whether w is a wish a link can have.
func (w LinkWish) Valid() bool { return w == WishUp || w == WishDown }

// Valid reports whether c is a carrier value; the empty one is not.
func (c Carrier) Valid() bool { return c == CarrierOn || c == CarrierOff }

// Matches reports whether a link in state s is what w asks for.
func (s LinkState) Matches(w LinkWish) bool {
	return (w == WishUp && s == LinkUp) || (w == WishDown && s == LinkDown)
}

// NextFor returns the next state on the way from s to what w asks for, and
// false when the link is there already. Following it step by step always
// arrives, and every step is legal.
func (s LinkState) NextFor(w LinkWish) (LinkState, bool) {
	if s.Matches(w) {
		return s, false
	}
	if w == WishDown {
		return LinkDown, true
	}
	switch s {
	case LinkPending:
		return LinkCreating, true
	case LinkCreating:
		return LinkUp, true
	default:
		return LinkPending, true
	}
}

// LinkAction is what enforcement does to a link.
type LinkAction string

// What enforcement can do to a link.
const (
	LinkLeave      LinkAction = ""
	LinkConnect    LinkAction = "connect"
	LinkDisconnect LinkAction = "disconnect"
)

// NeedsEnforcement reports whether a link in state s that should be w has to
// be acted upon. A pending link is: what it waited for may have come.
func (s LinkState) NeedsEnforcement(w LinkWish) bool {
	return s != LinkCreating && !s.Matches(w)
}

// EnforcementAction says what to do to a link in state s that should be w.
func (s LinkState) EnforcementAction(w LinkWish) LinkAction {
	switch {
	case !s.NeedsEnforcement(w):
		return LinkLeave
	case w == WishUp:
		return LinkConnect
	default:
		return LinkDisconnect
	}
}
