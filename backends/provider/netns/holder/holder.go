// Package holder is the small process that owns what must outlive the
// program: the user namespace of a rootless machine, each embedded node's
// network namespace and init, and the engine. It decides nothing; it does as
// it is told over a socket and says what it holds.
package holder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"archetype/backends"
)

// Verb is the argument with which the program is started as the holder, and
// InitVerb the one with which it is started as a node's init.
const (
	Verb     = "holder"
	InitVerb = "init"
)

// protocol changes when a holder and a client of different builds would not
// understand each other.
const protocol = 2

// Config says where a holder is found and of which sort it is.
type Config struct {
	Dir      string // for its socket and lock
	Rootless bool   // it owns a user namespace
	Log      string // file for what goes wrong in it; empty: nowhere
	// Join, where not nil, names a user namespace in which a rootless holder is
	// to live, or none: then it gets one of its own. It is asked when a holder
	// is started, which fails where it has an error.
	Join func() (string, error)
}

func (c Config) socket() string { return filepath.Join(c.Dir, "holder.sock") }
func (c Config) lock() string   { return filepath.Join(c.Dir, "holder.lock") }

// Info is what a holder says of itself.
type Info struct {
	PID      int    `json:"pid"`
	Protocol int    `json:"protocol"`
	Rootless bool   `json:"rootless"`
	Panel    string `json:"panel"`  // path of the namespace for bridges and hosts' ends of links
	Engine   int    `json:"engine"` // PID, 0 when none runs
	Nodes    int    `json:"nodes"`
}

// Status is what the holder knows of a node.
type Status struct {
	backends.NodeStatus
	Netns  string // path of its network namespace
	Folder string // made when the node first needs it
	Log    string // path of its log
	LogAt  int64  // where in its log the latest start begins, in bytes
	Said   string // what its log will begin with, while there is no such file
}

// brief is without what only whoever asks for many nodes does not know: most
// of a status.
func (s Status) brief() Status {
	s.Labels = nil
	return s
}

// Node is what the holder must know to hold one.
type Node struct {
	Ref    backends.NodeRef
	Folder string            // the node's own; it goes with the node
	Labels map[string]string // kept for whoever lists nodes
	Config json.RawMessage   // for its init
}

type request struct {
	Op    string           `json:"op"`
	Ref   backends.NodeRef `json:"ref,omitzero"`
	Node  *Node            `json:"node,omitempty"`
	Grace time.Duration    `json:"grace,omitempty"`
	Argv  []string         `json:"argv,omitempty"`
	Env   []string         `json:"env,omitempty"`
	Log   string           `json:"log,omitempty"`
}

type response struct {
	Error   string   `json:"error,omitempty"`
	Missing bool     `json:"missing,omitempty"` // the error is that there is no such node
	Info    *Info    `json:"info,omitempty"`
	Nodes   []Status `json:"nodes,omitempty"`
	PID     int      `json:"pid,omitempty"`
	Started bool     `json:"started,omitempty"`
}

func self(fd *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd.Fd()) }
