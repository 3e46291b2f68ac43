package lab

// HostState is what is known of a machine that carries nodes.
type HostState string

// The states of a host.
const (
	HostUnknown  HostState = "unknown"
	HostOnline   HostState = "online"
	HostDegraded HostState = "degraded"
	HostOffline  HostState = "offline"
)

var hosts = machine[HostState]{
	what:   "host",
	states: []HostState{HostUnknown, HostOnline, HostDegraded, HostOffline},
	next: map[HostState][]HostState{
		HostUnknown:  {HostOnline, HostDegraded, HostOffline},
		HostOnline:   {HostDegraded, HostOffline, HostUnknown},
		HostDegraded: {HostOnline, HostOffline, HostUnknown},
		HostOffline:  {HostOnline, HostDegraded, HostUnknown},
	},
}

// HostStates lists every host state.
func HostStates() []HostState { return append([]HostState(nil), hosts.states...) }

// Valid reports whether s is a host state.
func (s HostState) Valid() bool { return hosts.valid(s) }

// CanTransition reports whether a host may go from s to the state given.
func (s HostState) CanTransition(to HostState) bool { return hosts.can(s, to) }

// ImageState is what is known of an image on a host.
type ImageState string

// The states of an image on a host.
const (
	ImageUnknown ImageState = "unknown"
	ImageMissing ImageState = "missing"
	ImageSyncing ImageState = "syncing"
	ImageSynced  ImageState = "synced"
	ImageFailed  ImageState = "failed"
)

var images = machine[ImageState]{
	what:   "image",
	states: []ImageState{ImageUnknown, ImageMissing, ImageSyncing, ImageSynced, ImageFailed},
	next: map[ImageState][]ImageState{
		ImageUnknown: {ImageMissing, ImageSynced, ImageFailed},
		ImageMissing: {ImageSyncing, ImageSynced, ImageUnknown},
		ImageSyncing: {ImageSynced, ImageFailed, ImageMissing},
		ImageSynced:  {ImageMissing, ImageUnknown},
		ImageFailed:  {ImageSyncing, ImageMissing, ImageSynced, ImageUnknown},
	},
}

// Valid reports whether s is an image state.
func (s ImageState) Valid() bool { return images.valid(s) }

// CanTransition reports whether an image may go from s to the state given.
func (s ImageState) CanTransition(to ImageState) bool { return images.can(s, to) }

// TunnelState is how far an overlay tunnel between two hosts has come.
type TunnelState string

// The states of a tunnel.
const (
	TunnelPending  TunnelState = "pending"
	TunnelCreating TunnelState = "creating"
	TunnelActive   TunnelState = "active"
	TunnelFailed   TunnelState = "failed"
	TunnelCleanup  TunnelState = "cleanup"
)

var tunnels = machine[TunnelState]{
	what:   "tunnel",
	states: []TunnelState{TunnelPending, TunnelCreating, TunnelActive, TunnelFailed, TunnelCleanup},
	next: map[TunnelState][]TunnelState{
		TunnelPending:  {TunnelCreating, TunnelCleanup, TunnelFailed},
		TunnelCreating: {TunnelActive, TunnelFailed, TunnelCleanup},
		TunnelActive:   {TunnelFailed, TunnelCleanup},
		TunnelFailed:   {TunnelPending, TunnelCleanup},
		TunnelCleanup:  {TunnelPending, TunnelFailed},
	},
}

// TunnelStates lists every tunnel state.
func TunnelStates() []TunnelState { return append([]TunnelState(nil), tunnels.states...) }

// Valid reports whether s is a tunnel state.
func (s TunnelState) Valid() bool { return tunnels.valid(s) }

// ParseTunnelState turns text into a state or returns an *InvalidStateError.
func ParseTunnelState(s string) (TunnelState, error) { return tunnels.parse(s) }

// CanTransition reports whether a tunnel may go from s to the state given.
func (s TunnelState) CanTransition(to TunnelState) bool { return tunnels.can(s, to) }

// CheckTransition returns nil or the error that says what is wrong with going
// from s to the state given.
func (s TunnelState) CheckTransition(to TunnelState) error { return tunnels.check(s, to) }

// NextFor returns the next state on the way from s to a tunnel that carries
// frames or, with active false, to one of which nothing is left, and false
// when it is there already. Every step is legal and the way always ends.
func (s TunnelState) NextFor(active bool) (TunnelState, bool) {
	switch {
	case active && s == TunnelActive, !active && s == TunnelPending:
		return s, false
	case !active && s == TunnelCleanup:
		return TunnelPending, true
	case !active:
		return TunnelCleanup, true
	case s == TunnelPending:
		return TunnelCreating, true
	case s == TunnelCreating:
		return TunnelActive, true
	default: // failed, or being taken away
		return TunnelPending, true
	}
}
