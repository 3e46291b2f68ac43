package store

import (
	"net/netip"
	"time"

	"archetype/lab"
)

// Lab is a deployed lab and the topology it was deployed from.
type Lab struct {
	Name     string       `json:"name"`
	File     string       `json:"file,omitempty"`
	Provider string       `json:"provider,omitempty"`
	Network  string       `json:"network,omitempty"`
	Topology lab.Topology `json:"topology"`
	// Configs are the startup configurations that the topology gives by their
	// files, as they were when it was applied, by node.
	Configs    map[string][]byte `json:"configs,omitempty"`
	Created    time.Time         `json:"created"`
	Destroying bool              `json:"destroying,omitempty"`
	// NetworkBefore is set while links are moved from there to Network.
	NetworkBefore string `json:"network_before,omitempty"`
	// Policy is what is done about drift; empty: as the settings say.
	Policy lab.Policy `json:"policy,omitempty"`
	// Partial says that the lab was taken up from what ran, without a record, and
	// no file was applied since: there may be links of it that nobody knows.
	Partial bool `json:"partial,omitempty"`
}

// Node is what is wished of a node and what was last seen of it. A first
// record may start in any state, because truth can be rebuilt from what runs.
type Node struct {
	Lab          string        `json:"lab"`
	Name         string        `json:"name"`
	Kind         string        `json:"kind"`
	Provider     string        `json:"provider,omitempty"`
	Identifier   string        `json:"identifier,omitempty"`
	Desired      lab.NodeWish  `json:"desired"`
	Actual       lab.NodeState `json:"actual"`
	Progress     int           `json:"progress,omitempty"` // per cent
	ProgressText string        `json:"progress_text,omitempty"`
	Error        string        `json:"error,omitempty"`
	Since        time.Time     `json:"since"`
	Hash         string        `json:"hash,omitempty"` // of what it was last made from
	Retries      int           `json:"retries,omitempty"`
	// Drift is what is otherwise than wanted though nobody has asked for it,
	// and DriftLeft that the user leaves it so.
	Drift     string `json:"drift,omitempty"`
	DriftLeft bool   `json:"drift_left,omitempty"`
}

// Link is what is wished of a link and what was last seen of it.
type Link struct {
	Lab     string        `json:"lab"`
	A       lab.Endpoint  `json:"a"`
	B       lab.Endpoint  `json:"b"`
	Desired lab.LinkWish  `json:"desired"`
	Actual  lab.LinkState `json:"actual"`
	Error   string        `json:"error,omitempty"`
	// AddressesA and AddressesB are what the file gave the interfaces: they are
	// taken from one that outlives the link.
	AddressesA []netip.Prefix `json:"addresses_a,omitempty"`
	AddressesB []netip.Prefix `json:"addresses_b,omitempty"`
	// MTU is what the file gave them, as well.
	MTU int `json:"mtu,omitempty"`
	// Outside is what B is when it is no node.
	Outside *lab.Outside `json:"outside,omitempty"`
	// Network made what there is of it; empty: none did.
	Network string `json:"network,omitempty"`
	// Drift and DriftLeft are as those of a node.
	Drift     string `json:"drift,omitempty"`
	DriftLeft bool   `json:"drift_left,omitempty"`
}

// Job is one user action and how far it got.
type Job struct {
	ID       string       `json:"id"`
	Lab      string       `json:"lab"`
	Verb     lab.JobVerb  `json:"verb"`
	Target   string       `json:"target,omitempty"`
	Owner    string       `json:"owner,omitempty"`
	State    lab.JobState `json:"state"`
	Done     int          `json:"done,omitempty"`
	Total    int          `json:"total,omitempty"`
	Text     string       `json:"text,omitempty"`
	Error    string       `json:"error,omitempty"`
	Created  time.Time    `json:"created"`
	Ended    time.Time    `json:"ended,omitzero"`
	Deadline time.Time    `json:"deadline,omitzero"`
}

// Event is something that happened. Seq grows by one with each event ever
// stored.
type Event struct {
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Lab   string    `json:"lab,omitempty"`
	Node  string    `json:"node,omitempty"`
	Link  string    `json:"link,omitempty"`
	Job   string    `json:"job,omitempty"`
	Text  string    `json:"text"`
}
