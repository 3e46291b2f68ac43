package engine

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/vendors"
)

// model is all that one lab's controller knows. Only the controller's
// goroutine touches it.
type model struct {
	info       api.Info
	topology   lab.Topology
	configs    map[string]string // startup configurations as they were applied, by node
	created    time.Time
	destroying bool
	partial    bool // it may have links that nobody knows; see store.Lab
	swap       swapping

	nodes map[string]*node
	links map[string]*link
	// order of the file, which every view keeps.
	nodeOrder []*node
	linkOrder []*link
	extra     map[string][]string  // by provider, what bears the lab's label and is no part of it
	silent    map[string]*silent   // backends that cannot be asked at present
	parted    map[string]time.Time // when nodes that are no part of the lab any more went
	staged    []*node              // those that wait for stages of others
	counts    lab.Counts
	due       due

	hosts string       // for /etc/hosts of every node
	taken []netip.Addr // in the management network, by the file
}

// node is what is wanted of a node, what is known of it, and what is being
// done about it.
type node struct {
	m        *model // nil for a place outside
	spec     lab.Node
	index    int // place in the file
	kind     *vendors.Kind
	provider string
	config   string // text of its startup configuration
	hash     string // of spec and config
	made     string // the same of what it was last made from
	links    []*link

	desired lab.NodeWish
	restart bool // stop once, then go on with desired
	remove  bool // wanted gone
	rebuild bool // wanted gone and made again: what it is changed beyond updating

	actual lab.NodeState
	since  time.Time
	told   bool              // since is an earlier engine's word: the clock may have been set meanwhile
	exists bool              // made at the provider, so that interfaces can be attached
	place  bool              // no node of the lab: where a link goes that leaves it
	unsure bool              // its making was withdrawn half-way: something of it may be there
	stale  bool              // made from an older spec than the present one
	given  []lab.End         // the interfaces that its init waits for, as it was made here
	noted  map[string]string // the labels that its provider has been told of, where it is a Rewirer
	inited bool              // its init runs
	gated  bool              // its init waits for its start
	half   bool              // found half made

	identifier string
	pid        int
	boot       uint64
	ended      uint64    // the latest boot that has ended
	fresh      bool      // we started it, and its new boot has not been heard of yet
	hearBy     time.Time // when a job that has started it no longer waits for that
	image      bool      // made from an image
	health     backends.Health
	mgmt4      string
	screen     string
	mgmt6      string
	progress   int
	text       string
	line       string // of its log, that earned the progress
	err        string
	noImage    bool   // that is why
	failure    string // why it failed last, also while it is tried again, until it arrives

	busy      *effect            // what is being done to it
	done      time.Time          // when that ended last
	watch     context.CancelFunc // of the boot watch
	watchBoot int                // tells a boot watch's messages from an older one's

	stage staged

	amiss string // what somebody else has done to it that can be set right while it is there
	drift drift

	retries   int
	retryAt   time.Time
	permanent bool // the error will not go away by trying again
	asking    bool // its last words are being asked for, to be added to the error

	dirty   bool      // to be decided upon
	moved   bool      // to be published
	at      int       // place in the list that is published
	alarm   time.Time // when it is looked at though nothing happened
	counted lab.NodeState
	view    *api.Node // as last published
}

// link is the same for a link.
type link struct {
	m       *model
	index   int // place in the file
	spec    lab.Link
	id      string
	a, b    *node
	desired lab.LinkWish
	remove  bool

	actual  lab.LinkState
	carrier lab.Carrier
	vlan    int
	err     string
	made    bool           // both interfaces exist
	ready   map[*node]bool // an isolated interface stands at this end
	net     string         // the network that made what there is of it; empty: none did
	impair  impairing

	meanwhile *linkNews // the latest of what was said while it was busy
	verifying bool      // its state is being asked for
	doubt     bool      // there was news since it was asked for
	missed    bool      // what was asked for came while it was busy, and was let go
	turns     int       // how often something was begun at it
	stored    bool      // the store has a record of it
	busy      *effect
	retries   int
	retryAt   time.Time
	upSince   time.Time // it was made
	wasUp     bool      // and is no more, of which the disk may not know yet
	former    *lab.Link // what is there of it, while it is to be gone and made anew
	drift     drift

	dirty bool
	moved bool
	at    int
	alarm time.Time
	view  *api.Link
}

// place is the far end of a link that leaves the lab. It is always there, and
// nobody but its link knows it.
func place(spec lab.Link) *node {
	return &node{spec: lab.Node{Name: spec.B.Node}, place: true, exists: true,
		desired: lab.WishRunning, actual: lab.NodeRunning}
}

// leaving reports whether the node is on its way out, so that nothing new is
// to be attached to it.
func (m *model) leaving(n *node) bool { return m.destroying || n.remove || n.rebuild }

// interfacesReady reports whether every interface of the node that can exist
// now does: the node's own init will find them.
func (n *node) interfacesReady() bool {
	for _, l := range n.links {
		if l.remove || l.made || l.ready[n] || l.actual == lab.LinkError {
			continue
		}
		return false
	}
	return true
}

// awaited reports whether a node is to be started that waits for its interface.
func (l *link) awaited() bool {
	for _, n := range l.ends() {
		if !n.place && n.exists && n.actual == lab.NodePending && !l.made && !l.ready[n] {
			return true
		}
	}
	return false
}

// awaitsWhatComes reports whether the init that is about to be started waits
// for the interfaces that the node has, and no others. That of a node which
// another engine made may wait for anything.
func (n *node) awaitsWhatComes() bool {
	return n.given != nil && slices.EqualFunc(n.given, n.ends(), func(a, b lab.End) bool {
		return a.Interface == b.Interface && slices.Equal(a.Addresses(), b.Addresses())
	})
}

// interfaces are the names of those that the node is to have.
func (n *node) interfaces() []string {
	out := []string{}
	for _, end := range n.ends() {
		out = append(out, end.Interface)
	}
	return out
}

// ends are those of the node's links that are to stay.
func (n *node) ends() []lab.End {
	out := []lab.End{}
	for _, l := range n.links {
		if l.remove {
			continue
		}
		for _, end := range l.spec.Ends() {
			if end.Node == n.spec.Name {
				out = append(out, end)
			}
		}
	}
	return out
}

// peer returns the node at the other end.
func (l *link) peer(n *node) *node {
	if l.a == n {
		return l.b
	}
	return l.a
}

// uses reports whether one of the link's ends is this interface.
func (l *link) uses(e lab.Endpoint) bool { return l.spec.A.Endpoint == e || l.spec.B.Endpoint == e }

// inTheWay is a link on its way out that still has one of this link's
// interfaces, or the place outside where it goes; nil when there is none.
func (l *link) inTheWay() *link {
	for _, n := range []*node{l.a, l.b} {
		for _, x := range n.links {
			if x != l && x.remove && (x.uses(l.spec.A.Endpoint) || x.uses(l.spec.B.Endpoint)) {
				return x
			}
		}
	}
	for _, x := range l.toTheSamePlace() {
		if x.remove {
			return x
		}
	}
	return nil
}

// toTheSamePlace are the other links of the lab that leave it where this one
// does.
func (l *link) toTheSamePlace() []*link {
	if l.spec.Outside == nil {
		return nil
	}
	var out []*link
	for _, x := range l.m.linkOrder {
		if x != l && x.spec.Outside != nil && x.spec.B.Endpoint == l.spec.B.Endpoint {
			out = append(out, x)
		}
	}
	return out
}

// loses reports whether an end had an address, or an MTU, that it is to have no more.
func (l *link) loses(was lab.Link) bool {
	if was.MTU != 0 && l.spec.MTU == 0 {
		return true
	}
	if l.spec.A.Endpoint != was.A.Endpoint {
		was.A, was.B = was.B, was.A
	}
	for _, e := range [][2]lab.End{{was.A, l.spec.A}, {was.B, l.spec.B}} {
		for _, p := range e[0].Addresses() {
			if !slices.Contains(e[1].Addresses(), p) {
				return true
			}
		}
	}
	return false
}

// something reports whether anything of the link may be there: what failed
// half-way, or was not heard to succeed, counts.
func (l *link) something() bool { return l.made || len(l.ready) > 0 || l.net != "" }

// displaced reports whether another link's record has one of the interfaces.
func (l *link) displaced() bool {
	for _, n := range []*node{l.a, l.b} {
		for _, x := range n.links {
			if x != l && x.stored && (x.uses(l.spec.A.Endpoint) || x.uses(l.spec.B.Endpoint)) {
				return true
			}
		}
	}
	return false
}

func (l *link) name() string { return l.spec.A.String() + " -- " + l.spec.B.String() }

// unmade notes that nothing of the link can be relied on any more.
func (l *link) unmade() {
	l.made = false
	clear(l.ready)
	l.carrier = ""
}
