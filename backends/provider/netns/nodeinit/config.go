// Package nodeinit is what runs as the first process of an embedded node: it
// builds the node's view of the machine, starts its processes, and serves
// commands and consoles.
package nodeinit

import "net/netip"

// Config is all that a node's init must know, handed over as JSON.
type Config struct {
	Hostname   string   `json:"hostname"`
	Folder     string   `json:"folder"` // the node's own, on the machine
	Rootless   bool     `json:"rootless"`
	Hosts      string   `json:"hosts"` // lines for /etc/hosts
	Interfaces []string `json:"interfaces"`
	// Addresses that the interfaces have at every start, by their names.
	Addresses map[string][]netip.Prefix `json:"addresses"`
	Env       []string                  `json:"env"`
	Sysctls   map[string]string         `json:"sysctls"`
	Bridge    string                    `json:"bridge"`
	Groups    []string                  `json:"groups"`
	Folders   []string                  `json:"folders"`
	Files     map[string]string         `json:"files"`
	Mounts    []Mount                   `json:"mounts"`
	Processes []Process                 `json:"processes"`
	Exec      []string                  `json:"exec"`
	Console   []string                  `json:"console"` // shells, the first one found is used

	// Set by who starts the init: the node's view of the machine is built; its
	// steps were taken; and its boot is over, because there was nothing to do.
	Built   bool `json:"built"`
	Stepped bool `json:"stepped"`
	Booted  bool `json:"booted"`

	// Of an idle node without a log, where it is to be once somebody uses the
	// node, and what it begins with.
	Log  string `json:"-"`
	Said string `json:"-"`
}

// Mount brings a file or folder of the machine into the node.
type Mount struct {
	Source   string `json:"source"` // empty: a new empty folder
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
}

// Process is one program of the node.
type Process struct {
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Ready   string   `json:"ready"` // path that exists once it serves
	Restart bool     `json:"restart"`
}

// The descriptors an init is started with, beside the standard ones.
const (
	configFD  = 3
	controlFD = 4 // connections come over it
	signalsFD = 5 // a stub hears of its end on it
	programFD = 6 // what a stub becomes
	machineFD = 7 // the mount namespace that an idle node leaves its own for
)
