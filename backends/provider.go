package backends

import (
	"context"
	"io"
	"net/netip"
	"time"

	"archetype/lab"
	"archetype/vendors"
)

// Provider makes nodes and runs them.
type Provider interface {
	Name() string
	Available(ctx context.Context) Availability

	// Create makes everything of the node but runs nothing: afterwards its
	// interfaces can be attached. Creating a node that exists with another
	// configuration updates what takes effect at the next Start.
	Create(ctx context.Context, n NodeConfig) error
	// Start runs the node and returns once its init runs; readiness is the
	// engine's business.
	Start(ctx context.Context, ref NodeRef) error
	// Stop ends everything that runs in the node, by force after grace. What
	// Create made stays, interfaces and their links included.
	//
	// A node that has run and does not any more, whoever ended it, is as a device
	// that is switched off: its provider has its interfaces down, so that whoever
	// is at the other end of a cable is without carrier. Start has them up, with
	// the addresses of the file, before the node's init looks: what the node did
	// to them before its end is forgotten.
	Stop(ctx context.Context, ref NodeRef, grace time.Duration) error
	// Remove makes the node and everything of it vanish, running or not.
	Remove(ctx context.Context, ref NodeRef) error

	// List returns the nodes that exist, of one lab or, with "", of all labs.
	// It reads the real world: the truth after a crash.
	List(ctx context.Context, labName string) ([]NodeStatus, error)
	// Attachment says where an interface of a created node meets the outside.
	Attachment(ctx context.Context, ref NodeRef, iface string) (Attachment, error)
	// Events reports nodes that start and end, whoever did it. The channel is
	// closed when ctx ends or the source is lost; the engine then lists and
	// subscribes again.
	Events(ctx context.Context) (<-chan NodeStatus, error)

	// Exec runs a command in a running node and waits for it.
	Exec(ctx context.Context, ref NodeRef, req ExecRequest) (ExecResult, error)
	// Console opens the node's command line, as its kind defines it.
	Console(ctx context.Context, ref NodeRef, size Size) (Console, error)
	// Logs returns what the node's init and daemons said. With Follow the
	// stream goes on, over restarts of the node, until ctx ends or it is closed.
	Logs(ctx context.Context, ref NodeRef, opt LogOptions) (io.ReadCloser, error)
}

// StatsReader is implemented by providers that can tell what a node consumes.
type StatsReader interface {
	Stats(ctx context.Context, labName string) ([]NodeStats, error)
}

// Queuer is implemented by providers that are slower the more nodes are asked
// to start at a time. Others wait their turn in the engine, where they are in
// nobody's way.
type Queuer interface {
	// StartsAtOnce is how many calls of Start and Stage may be under way.
	StartsAtOnce() int
}

// Awaiter is implemented by providers whose nodes do not boot until they have
// all interfaces that they were made with.
type Awaiter interface {
	// Awaits has no use but to tell such a provider from others.
	Awaits()
}

// Stager is implemented by providers to whom moving a node's interfaces into
// the node costs more than making them there. Their nodes are brought up to
// where their init begins, which then waits for its start.
type Stager interface {
	// Stage does that with a node that was just created with Staged set, and
	// reports whether it waits. One whose interfaces are somewhere already is
	// left as it is, and so is one that runs. Start has the init go on.
	Stage(ctx context.Context, ref NodeRef) (waits bool, err error)
}

// Speaker is implemented by providers whose nodes have a line on which they
// ask and are answered while they boot.
type Speaker interface {
	// Say writes a text to the node's line. While a person has the line, which
	// is from the first key typed on a console until that console is closed,
	// nothing is written: ErrConflict. An empty text only asks for that.
	Say(ctx context.Context, ref NodeRef, text []byte) error
}

// Prober is implemented by providers whose nodes' services are reached by a
// way of the provider's own.
type Prober interface {
	// Probe tries once whether a node serves what is asked for.
	Probe(ctx context.Context, ref NodeRef, p Probe) error
}

// Probe is a TCP port that should take a connection. With SSH a login there
// should succeed or, without a user name, an SSH server greet.
type Probe struct {
	Port               int // 0, with SSH: the usual one
	SSH                bool
	Username, Password string
}

// Commander is implemented by providers whose nodes run the file's exec
// commands themselves, before they count as ready.
type Commander interface {
	// FailedCommand is which command failed and why, where a line of a boot's log
	// tells of one that did.
	FailedCommand(line string) (string, bool)
}

// Mover is implemented by providers whose nodes' interfaces change their
// network namespace when the node starts: the path that Attachment gives stays
// the same, but who holds the namespace behind it open must open it again.
type Mover interface {
	// MovesInterfaces has no use but to tell such a provider from others.
	MovesInterfaces()
}

// Rewirer is implemented by providers whose nodes others can start, too, which
// need to know at any time what a node has by then.
type Rewirer interface {
	// Rewire notes which interfaces and labels a node has from now on, as Create
	// would. In the node nothing changes, nor is anything else of the
	// configuration looked at.
	Rewire(ctx context.Context, c NodeConfig) error
}

// Mender is implemented by providers whose nodes can be paused, renamed or
// severed by others, and that can set it right.
type Mender interface {
	// Mend has a node that is paused go on, and gives one that was renamed the
	// name that it was made with. One that is as it should be is left alone. The
	// next start of ours does what is ErrRestart.
	Mend(ctx context.Context, ref NodeRef) error
}

// ManagementBridger is implemented by providers whose management network is a
// bridge on this machine.
type ManagementBridger interface {
	// ManagementBridge names the bridge. Before the first node that is in the
	// network it does not exist, which is an ErrNotFound.
	ManagementBridge(ctx context.Context, m *lab.Management) (string, error)
}

// KindAdapter is implemented by providers under which kinds behave in a way of
// their own, as the kind's data says.
type KindAdapter interface {
	// Adapt returns the kind as it is under this provider. It changes nothing
	// of what it was given.
	Adapt(k *vendors.Kind) *vendors.Kind
}

// NodeConfig is everything a provider needs to make a node.
type NodeConfig struct {
	Ref  NodeRef
	Node lab.Node
	Kind *vendors.Kind
	// Index is the node's place in the topology, from 0.
	Index int
	// Interfaces that the node will have, in the order of the topology: for
	// providers and kinds that must know before boot.
	Interfaces []string
	// Ends are the same interfaces with what the file says of them.
	Ends []lab.End
	// Hosts are the names and addresses of the lab, in the form of /etc/hosts.
	Hosts string
	// Config is the text of the startup configuration, already resolved.
	Config string
	// Prefix is what the file wants before the name that the provider itself
	// gives the node: nil is containerlab's "clab"; with "" the name is the
	// node's alone.
	Prefix *string
	// Management is nil where the file says nothing of it.
	Management *lab.Management
	// Taken are the addresses of the management network that the file gives to
	// nodes of the lab.
	Taken []netip.Addr
	// File is the absolute path of the topology file.
	File string
	// Labels go onto the real thing, so that truth can be rebuilt from it.
	Labels map[string]string
	// Staged says that Stage comes next, before any interface: only then is the
	// node whole. Providers that are no Stager are not told.
	Staged bool
	// Progress, where not nil, is told how far a long making has come, such as
	// the pull of an image: per cent of all of it, and what is being done. A
	// making that tells is given more time.
	Progress func(percent int, text string)
}

// NodeStatus is what a provider observes of a node.
type NodeStatus struct {
	Ref        NodeRef
	Identifier string            // what the provider itself calls it
	Running    bool              // its init runs
	Paused     bool              // somebody has frozen it; its init is there all the same
	Renamed    bool              // Identifier is not the name that it was made with
	Severed    bool              // it runs, and is not in its management network any more
	PID        int               // of its init, as seen from the host; 0 when not running
	ExitReason string            // why it last ended, when it was not asked to
	Started    time.Time         // zero when not running
	Boot       uint64            // grows with every start, so that an old event is told from a new one, also of a node made anew or by another provider: nanoseconds of the time; 0 before the first
	Labels     map[string]string // as given to Create
	Gone       bool              // in events: it does not exist any more
	Unfinished bool              // its making was interrupted: only Create or Remove may be next
	Staged     bool              // not running, but its init waits for its start
	Health     Health            // empty where nothing checks it

	// ManagementIPv4 and ManagementIPv6 are its addresses in the management
	// network, empty where it has none.
	ManagementIPv4, ManagementIPv6 string
	// Screen is where its screen is shown, as a URI, empty where it has none.
	Screen string
}

// Health is what a check inside the node found.
type Health string

// What a health check can find.
const (
	HealthStarting  Health = "starting" // no verdict yet
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// NodeStats is what a node consumes.
type NodeStats struct {
	Ref       NodeRef
	CPU       time.Duration // since its start, all its processes
	Memory    uint64        // bytes resident now, all its processes
	Processes int
}

// Attachment is where an interface of a node meets the outside: inside a
// network namespace, or a tap on the host. Exactly one of Netns and Tap is set.
type Attachment struct {
	Netns     string // path that can be opened while the node exists
	Interface string // name the interface has, or shall have, in there
	Tap       string // name of the tap on the host
	// Owner is the Archetype that the place belongs to, where others may have
	// theirs beside it; see package mark.
	Owner string
}

// Gone says that there is no such place, or no more: the node that had it has
// gone, and its interface with it.
func (a Attachment) Gone() bool { return a.Netns == "" && a.Tap == "" }

// Size is that of a terminal, in cells.
type Size struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// Console is an open command line of a node. Reads end with io.EOF when it
// ended at the node's side.
type Console interface {
	io.ReadWriteCloser
	Resize(Size) error
}

// ExecRequest is a command to run in a node.
type ExecRequest struct {
	Command []string
	Env     []string
	Dir     string
	User    string
	Stdin   io.Reader // may be nil
	// Stdout and Stderr receive the output as it comes; where nil, it is
	// collected in the result, up to 16 MiB each.
	Stdout, Stderr io.Writer
}

// ExecResult is how a command ended.
type ExecResult struct {
	Code           int
	Stdout, Stderr []byte
}

// LogOptions says which part of a log is wanted.
type LogOptions struct {
	Lines  int  // the last n; 0 means all
	Follow bool // go on with what comes
	Boot   bool // only since the latest start
}
