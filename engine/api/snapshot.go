package api

import (
	"time"

	"archetype/lab"
)

// Snapshot is the whole state at one moment. It and everything in it is
// immutable: a part that did not change since an earlier snapshot is the same
// pointer, so that a screen can compare by identity.
type Snapshot struct {
	Rev    uint64   // grows with every change
	Labs   []*Lab   // by name
	Jobs   []*Job   // running ones and the latest that ended, oldest first
	Events []*Event // the latest, oldest first
}

// Lab returns the lab of that name, or nil.
func (s *Snapshot) Lab(name string) *Lab {
	for _, l := range s.Labs {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Lab is one lab and all of it.
type Lab struct {
	Info
	Rev   uint64  // of the last change of anything in it
	Nodes []*Node // in the order of the file
	Links []*Link // in the order of the file
}

// Info is a lab without its parts. Its JSON form is part of what scripts rely on.
type Info struct {
	Name     string    `json:"name"`
	State    lab.State `json:"state"`
	File     string    `json:"file"`
	Provider string    `json:"provider"`
	Network  string    `json:"network"`
	// Destroying: its end is wished for and has not come yet.
	Destroying bool `json:"destroying,omitempty"`
	// Policy is what is done about drift.
	Policy lab.Policy `json:"policy,omitempty"`
	// Extra names what bears the lab's label and is no part of it.
	Extra []string `json:"extra,omitempty"`
	// Silent are the backends that cannot be asked at present: what is shown of
	// their nodes and links is as it was.
	Silent []Silence `json:"silent,omitempty"`
}

// Silence is a provider or network that cannot be asked.
type Silence struct {
	Backend string `json:"backend"`
	Why     string `json:"why"`
}

// Node is one node of a lab. The JSON names are part of what scripts rely on.
type Node struct {
	Name         string        `json:"name"`
	Kind         string        `json:"kind"`
	Provider     string        `json:"provider"`
	Identifier   string        `json:"identifier"`
	Desired      lab.NodeWish  `json:"desired"`
	Actual       lab.NodeState `json:"actual"`
	Progress     int           `json:"progress"`      // per cent of the boot, 0 to 100
	ProgressText string        `json:"progress_text"` // what it means, or the line of the log that earned it
	Error        string        `json:"error"`
	PID          int           `json:"pid"` // of its init, as seen from the host; 0 when not running

	// ProgressLine is the line of the log that earned the progress. Typical is
	// how long a boot of its kind takes on this machine; 0 where none is known.
	ProgressLine string        `json:"progress_line,omitempty"`
	Typical      time.Duration `json:"typical,omitzero"` // nanoseconds

	Image   string    `json:"image,omitempty"`
	NoImage bool      `json:"no_image,omitempty"` // it cannot be made, as its image is missing
	Group   string    `json:"group,omitempty"`
	Since   time.Time `json:"since,omitzero"`    // of the present state
	Retries int       `json:"retries,omitzero"`  // of enforcement, since it was last healthy
	RetryAt time.Time `json:"retry_at,omitzero"` // the next try; zero: none is planned
	Drift   Drift     `json:"drift,omitzero"`
	Console bool      `json:"console,omitempty"` // a console can be opened now
	Leaving bool      `json:"leaving,omitempty"` // it is no part of the lab any more and is being removed

	// ManagementIPv4 and ManagementIPv6 are its addresses in the management
	// network, where the provider has one.
	ManagementIPv4 string `json:"mgmt_ipv4,omitempty"`
	ManagementIPv6 string `json:"mgmt_ipv6,omitempty"`
	// Screen is where its screen is shown, such as vnc+unix:///PATH.
	Screen string `json:"screen,omitempty"`
}

// Link is one link of a lab. The JSON names are part of what scripts rely on.
type Link struct {
	A       string        `json:"a"` // "node:interface"
	B       string        `json:"b"`
	Desired lab.LinkWish  `json:"desired"`
	Actual  lab.LinkState `json:"actual"`
	Carrier lab.Carrier   `json:"carrier"`
	VLAN    int           `json:"vlan"`
	Error   string        `json:"error"`

	MTU     int            `json:"mtu,omitempty"`
	ImpairA lab.Impairment `json:"impair_a,omitzero"` // suffered by what leaves A
	ImpairB lab.Impairment `json:"impair_b,omitzero"`
	// Network made the link, empty when nothing of it is made: while a lab is
	// moved to another network the two differ.
	Network string    `json:"network,omitempty"`
	Retries int       `json:"retries,omitzero"`
	RetryAt time.Time `json:"retry_at,omitzero"`
	Drift   Drift     `json:"drift,omitzero"`
	// Outside says what B is when it is no node of the lab.
	Outside lab.OutsideType `json:"outside,omitempty"`
	Leaving bool            `json:"leaving,omitempty"` // it is no part of the lab any more and is being removed
}

// Drift is what is otherwise than wanted though nobody has asked for it.
type Drift struct {
	What string `json:"what,omitempty"` // empty: nothing
	Held bool   `json:"held,omitempty"` // left alone until somebody acts, as the lab's policy says
	Left bool   `json:"left,omitempty"` // somebody was asked and leaves it so
}

// Asks reports whether somebody is to be asked what to do about it.
func (d Drift) Asks(p lab.Policy) bool { return d.What != "" && !d.Left && p == lab.PolicyAsk }

// Took is how long it took until then, by the clock; nothing where that was set
// back meanwhile.
func (j *Job) Took(until time.Time) time.Duration { return max(0, until.Sub(j.Created)) }

// Job is a piece of work that somebody asked for.
type Job struct {
	ID     string       `json:"id"`
	Lab    string       `json:"lab"`
	Verb   lab.JobVerb  `json:"verb"`
	Target string       `json:"target,omitempty"` // nodes or link it is about; empty: the lab
	Owner  string       `json:"owner,omitempty"`  // who asked for it, and with what
	State  lab.JobState `json:"state"`
	Done   int          `json:"done"` // steps
	Total  int          `json:"total"`
	Text   string       `json:"text,omitempty"`  // what it does or waits for
	Error  string       `json:"error,omitempty"` // why it failed
	// Result is what came of it beside that it is done, such as how long links
	// were interrupted. It is gone with the engine; its event stays.
	Result   string    `json:"result,omitempty"`
	Created  time.Time `json:"created"`
	Ended    time.Time `json:"ended,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// Level says how much an event matters.
type Level string

// The levels of an event.
const (
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Event is something that happened, for a person to read.
type Event struct {
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
	Level Level     `json:"level"`
	Lab   string    `json:"lab,omitempty"`
	Node  string    `json:"node,omitempty"`
	Link  string    `json:"link,omitempty"`
	Job   string    `json:"job,omitempty"`
	Text  string    `json:"text"` // what happened, why, and what can be done
}

// Update is what changed since the one before. The first of a watch, and any
// after a gap, is Full: whatever it does not mention does not exist.
type Update struct {
	Rev  uint64       `json:"rev"`
	Full bool         `json:"full,omitempty"`
	Labs []*LabUpdate `json:"labs,omitempty"`
	// Gone names labs that exist no more.
	Gone   []string `json:"gone,omitempty"`
	Jobs   []*Job   `json:"jobs,omitempty"`   // new or changed
	Events []*Event `json:"events,omitempty"` // new, oldest first
}

// LabUpdate is what changed in one lab.
type LabUpdate struct {
	Info
	Rev uint64 `json:"rev"`
	// Nodes and Links that are new or changed. Order, when present, is the
	// complete list of names in order: what it does not name is gone.
	Nodes     []*Node  `json:"nodes,omitempty"`
	Links     []*Link  `json:"links,omitempty"`
	NodeOrder []string `json:"node_order,omitempty"`
	LinkOrder []string `json:"link_order,omitempty"` // lab.LinkID of each
	Reordered bool     `json:"reordered,omitempty"`  // the two orders are present, even if empty
}

// Tally is how many nodes and links of a lab are in which way.
type Tally struct {
	Running     int // nodes
	FailedNodes int // in error
	Up          int // links: wired, whether their ends see each other or not
	Dark        int // of these, without carrier: a node at an end does not run, or has its interface down
	FailedLinks int
}

// Tally counts.
func (l *Lab) Tally() (t Tally) {
	for _, n := range l.Nodes {
		switch n.Actual {
		case lab.NodeRunning:
			t.Running++
		case lab.NodeError:
			t.FailedNodes++
		}
	}
	for _, k := range l.Links {
		switch k.Actual {
		case lab.LinkUp:
			t.Up++
			if k.Carrier == lab.CarrierOff {
				t.Dark++
			}
		case lab.LinkError:
			t.FailedLinks++
		}
	}
	return t
}
