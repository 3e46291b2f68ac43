package api

import "context"

// Caretaker is what an engine does for what it keeps and for the machine it
// runs on, beside running labs.
type Caretaker interface {
	// Backup writes what is stored to a file, an absolute path, while labs run.
	Backup(ctx context.Context, req BackupRequest) (*Backup, error)
	// Strays finds everything of ours on the machine that no lab owns, and
	// removes it where that is asked for.
	Strays(ctx context.Context, req StraysRequest) (*Strays, error)
	// Config reads a node's running configuration out of it, as its kind says.
	Config(ctx context.Context, req ConfigRequest) (*Config, error)
}

// ConfigRequest names the node.
type ConfigRequest struct {
	Lab  string `json:"lab"`
	Node string `json:"node"`
}

// Config is what a node is configured to do.
type Config struct {
	Lab  string `json:"lab"`
	Node string `json:"node"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// BackupRequest says where to.
type BackupRequest struct {
	File string `json:"file"` // absolute
}

// Backup is one that was made.
type Backup struct {
	File string `json:"file"`
	Size int64  `json:"size"` // bytes
}

// StraysRequest says whether strays are to be removed.
type StraysRequest struct {
	Remove bool `json:"remove"`
}

// Strays are what was found.
type Strays struct {
	Found []Stray `json:"found"`
	// Unseen are backends that are not available and that nothing is known to
	// have been made with.
	Unseen []Unseen `json:"unseen"`
}

// Unseen is a backend that could not be asked.
type Unseen struct {
	Backend string `json:"backend"`
	Reason  string `json:"reason"`
}

// Stray is something of ours that no lab owns.
type Stray struct {
	Backend string `json:"backend"`
	Type    string `json:"type"` // node, links of a lab, folder, or what a backend calls it
	Lab     string `json:"lab"`
	Name    string `json:"name,omitempty"`
	Removed bool   `json:"removed"`
	Error   string `json:"error,omitempty"` // why it is left alone, could not be removed, or looked for
}
