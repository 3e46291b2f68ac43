package api

import "context"

// Caretaker is what an engine does for what it keeps and for the machine it
// runs on, beside running labs.
type Caretaker interface {
	// Backup writes what is stored to a file, an absolute path, while labs run.
	Backup(ctx context.Context, req BackupRequest) (*Backup, error)
	// Strays finds everything of ours on the machine that no lab owns, and
	// removes it where that is asked for.
	Strays(ctx context.Context, req StraysRequest) ([]Stray, error)
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

// Stray is something of ours that no lab owns.
type Stray struct {
	Backend string `json:"backend"`
	Type    string `json:"type"` // node, links of a lab, network, or folder
	Lab     string `json:"lab"`
	Name    string `json:"name,omitempty"`
	Removed bool   `json:"removed"`
	Error   string `json:"error,omitempty"` // why it could not be removed, or looked for
}
