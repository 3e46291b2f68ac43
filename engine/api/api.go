// Package api is what crosses between the engine and whoever looks at it:
// immutable snapshots, updates and commands. Everything in it can be written
// as JSON, so the engine may live in this process or behind a socket; package
// wire carries it there.
package api

import (
	"context"
	"io"
	"time"

	"archetype/backends"
	"archetype/lab"
)

// Engine is everything a screen or a verb can ask for.
//
// Commands return as soon as the wish is durably noted; the work is a job
// whose progress shows in the updates. A command that changes nothing returns
// a job that has already completed.
type Engine interface {
	// Snapshot returns the present state. It must not be modified.
	Snapshot(ctx context.Context) (*Snapshot, error)
	// Watch sends a first update that holds everything, then what changed,
	// coalesced: a slow reader gets fewer and larger updates, never stale
	// ones. The channel is closed when ctx ends or the engine is lost.
	Watch(ctx context.Context) (<-chan *Update, error)

	// Plan says what deploying the file would change, without doing it.
	Plan(ctx context.Context, req DeployRequest) (*Plan, error)
	Deploy(ctx context.Context, req DeployRequest) (*Deployed, error)
	Destroy(ctx context.Context, labName string) (*Job, error)
	// SetNodes starts, stops or restarts nodes; no names means all of the lab.
	SetNodes(ctx context.Context, req NodesRequest) (*Job, error)
	// SetLink cuts or joins a link of the lab. Joining two ends that have no
	// link makes a new one, as Edit does.
	SetLink(ctx context.Context, req LinkRequest) (*Job, error)
	// Edit adds nodes and links to a lab that runs, removes some, and has nodes
	// made from other images. The lab
	// differs from its file then, until the file is deployed again. A new
	// link may have an end whose cable is cut: that cable is taken out.
	Edit(ctx context.Context, req EditRequest) (*Job, error)
	// Images lists the images that a node of the lab can be made from on this
	// machine: all that its provider has.
	Images(ctx context.Context, req ImagesRequest) ([]Image, error)
	// Impair makes a link worse than a cable, or as good as one again.
	Impair(ctx context.Context, req ImpairRequest) (*Job, error)
	// SetNetwork moves all links of a lab to another network, one at a time,
	// while its nodes run. If one cannot be moved, all go back. Asked again on
	// the way, it returns the job that is under way.
	SetNetwork(ctx context.Context, req NetworkRequest) (*Job, error)
	// SetPolicy says what is done about drift in a lab, and SetDrift has what
	// has drifted set right, or left as it is.
	SetPolicy(ctx context.Context, req PolicyRequest) error
	SetDrift(ctx context.Context, req DriftRequest) (*Job, error)
	CancelJob(ctx context.Context, id string) error

	Exec(ctx context.Context, labName, node string, req ExecRequest) (ExecResult, error)
	Console(ctx context.Context, labName, node string, size Size) (Console, error)
	Logs(ctx context.Context, labName, node string, opt LogOptions) (io.ReadCloser, error)
	Stats(ctx context.Context, labName string) ([]NodeStats, error)
	// Capture is what passes an end of a link from now on, as a stream in
	// pcap's format, in which a record without bytes stands for as many frames
	// as its length says that were lost. It ends when that interface goes down or
	// away.
	Capture(ctx context.Context, req CaptureRequest) (io.ReadCloser, error)
	// Traffic is how much has passed ends of links so far; those that cannot be
	// asked at present are left out.
	Traffic(ctx context.Context, req TrafficRequest) ([]Traffic, error)
	// Backends says which providers and networks there are, what each and
	// each pair needs, and whether they are available.
	Backends(ctx context.Context) ([]BackendInfo, error)
	// Close ends this use of the engine. Labs go on running.
	Close() error
}

// DeployRequest asks for a file's lab to be made so.
type DeployRequest struct {
	File     string            `json:"file"`               // absolute path
	Env      map[string]string `json:"env,omitempty"`      // for ${VAR} in the file
	Vars     []string          `json:"vars,omitempty"`     // absolute paths of a template's variables; none: those beside the file
	Provider string            `json:"provider,omitempty"` // empty: the file's, the kind's or the default
	Network  string            `json:"network,omitempty"`
	Policy   lab.Policy        `json:"policy,omitempty"` // for drift; empty: as it is, or the default
}

// Deployed is the answer to a deploy that has begun.
type Deployed struct {
	Job      *Job         `json:"job"`
	Plan     *Plan        `json:"plan"`
	Warnings []Diagnostic `json:"warnings,omitempty"`
}

// Plan is the difference between a file and what is deployed.
type Plan struct {
	Lab            string       `json:"lab"`
	New            bool         `json:"new"` // the lab is not deployed at all
	NodesAdded     []string     `json:"nodes_added,omitempty"`
	NodesChanged   []Change     `json:"nodes_changed,omitempty"` // will be made anew
	NodesRemoved   []string     `json:"nodes_removed,omitempty"`
	NodesUnchanged int          `json:"nodes_unchanged"`
	LinksAdded     []string     `json:"links_added,omitempty"` // "a:if -- b:if"
	LinksChanged   []Change     `json:"links_changed,omitempty"`
	LinksRemoved   []string     `json:"links_removed,omitempty"`
	LinksUnchanged int          `json:"links_unchanged"`
	Warnings       []Diagnostic `json:"warnings,omitempty"`
}

// Change is a node or link that differs, and in which fields.
type Change struct {
	Name   string   `json:"name"`
	Fields []string `json:"fields"`
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool {
	return !p.New && len(p.NodesAdded)+len(p.NodesChanged)+len(p.NodesRemoved)+
		len(p.LinksAdded)+len(p.LinksChanged)+len(p.LinksRemoved) == 0
}

// NodesRequest is a wish for some nodes of a lab.
type NodesRequest struct {
	Lab   string      `json:"lab"`
	Nodes []string    `json:"nodes,omitempty"`
	Verb  lab.JobVerb `json:"verb"` // start, stop or restart
}

// LinkRequest is a wish for one link of a lab, either way round.
type LinkRequest struct {
	Lab  string       `json:"lab"`
	A    lab.Endpoint `json:"a"`
	B    lab.Endpoint `json:"b"`
	Wish lab.LinkWish `json:"wish"`
}

// EditRequest changes a lab's topology without a file.
type EditRequest struct {
	Lab         string            `json:"lab"`
	AddNodes    []lab.Node        `json:"add_nodes,omitempty"`
	AddTexts    []NodeText        `json:"add_texts,omitempty"`    // nodes to add, beside AddNodes
	RemoveNodes []string          `json:"remove_nodes,omitempty"` // their links go with them
	AddLinks    []lab.Link        `json:"add_links,omitempty"`
	RemoveLinks [][2]lab.Endpoint `json:"remove_links,omitempty"`
	SetImages   map[string]string `json:"set_images,omitempty"` // by node, which is started anew with it
}

// ImagesRequest names the node.
type ImagesRequest struct {
	Lab  string `json:"lab"`
	Node string `json:"node"`
}

// NodeText is a node as a topology file has it below its name: text, or fields
// one by one.
type NodeText struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
	// Fields are key=value, as topology.NodeFields reads them, where there is no
	// file. Without a kind it is linux.
	Fields []string `json:"fields,omitempty"`
	// File has the text, where a file does. Relative paths start at Folder.
	// Both are absolute.
	File   string            `json:"file,omitempty"`
	Folder string            `json:"folder"`
	Env    map[string]string `json:"env,omitempty"` // of whoever asks, for variables
}

// CaptureRequest names an end of a link of the lab.
type CaptureRequest struct {
	Lab string       `json:"lab"`
	End lab.Endpoint `json:"end"`
}

// TrafficRequest names ends of links of the lab.
type TrafficRequest struct {
	Lab  string         `json:"lab"`
	Ends []lab.Endpoint `json:"ends"`
	// Tunnels asks after the tunnels that links are, too, and their far ends,
	// which may take a moment.
	Tunnels bool `json:"tunnels,omitempty"`
}

// Traffic is what has passed an interface since it was made, as its node sees it.
type Traffic struct {
	End             lab.Endpoint `json:"end"`
	Sent            uint64       `json:"sent"` // bytes
	Received        uint64       `json:"received"`
	SentPackets     uint64       `json:"sent_packets"`
	ReceivedPackets uint64       `json:"received_packets"`
	Tunnel          *Tunnel      `json:"tunnel,omitempty"` // that the link is, where it was asked for
}

// ImpairRequest is what a link is to suffer. nil leaves a direction as it is.
type ImpairRequest struct {
	Lab   string          `json:"lab"`
	A     lab.Endpoint    `json:"a"`
	B     lab.Endpoint    `json:"b"`
	FromA *lab.Impairment `json:"from_a,omitempty"` // frames that leave A
	FromB *lab.Impairment `json:"from_b,omitempty"`
}

// NetworkRequest is a wish for the network that makes a lab's links.
type NetworkRequest struct {
	Lab     string `json:"lab"`
	Network string `json:"network"`
}

// PolicyRequest is a wish for what is done about drift in a lab.
type PolicyRequest struct {
	Lab    string     `json:"lab"`
	Policy lab.Policy `json:"policy"`
}

// DriftRequest says what is to be done about nodes and links that have
// drifted; none named: all of the lab.
type DriftRequest struct {
	Lab   string            `json:"lab"`
	Nodes []string          `json:"nodes,omitempty"`
	Links [][2]lab.Endpoint `json:"links,omitempty"`
	Leave bool              `json:"leave,omitempty"` // leave them so; else set them right
}

// What the engine hands through between its users and the backends.
type (
	ExecRequest = backends.ExecRequest
	ExecResult  = backends.ExecResult
	Console     = backends.Console
	Size        = backends.Size
	LogOptions  = backends.LogOptions
	Need        = backends.Need
	Image       = backends.Image
)

// NeedPackage is the sort of need that a package on the machine meets.
const NeedPackage = backends.NeedPackage

// Diagnostic is something to say about a file, at a place in it.
type Diagnostic = lab.Diagnostic

// What a BackendInfo can be about.
const (
	TypeProvider = string(backends.RoleProvider)
	TypeNetwork  = string(backends.RoleNetwork)
	TypePair     = "pair"    // a provider and a network together
	TypeOutside  = "outside" // a sort of link that leaves a lab
)

// BackendInfo describes a provider, a network, a pair of both or a sort of
// link that leaves a lab.
type BackendInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
	backends.Availability
	// Needs is all that it needs of the machine, there or not.
	Needs []Need `json:"needs,omitempty"`
}

// NodeStats is what a node consumes.
type NodeStats struct {
	Node      string        `json:"node"`
	CPU       time.Duration `json:"cpu"`    // nanoseconds since its start
	Memory    uint64        `json:"memory"` // bytes
	Processes int           `json:"processes"`
}
