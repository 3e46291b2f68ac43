package lab

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// Topology is a lab as its file states it, with every default, kind and group
// already inherited and every variable expanded: what the user wants to exist.
type Topology struct {
	Name   string  `json:"name"`
	Prefix *string `json:"prefix,omitempty"` // nil means the format's own default
	File   string  `json:"file,omitempty"`   // absolute path it was read from
	Nodes  []Node  `json:"nodes"`            // in the order of the file
	Links  []Link  `json:"links"`            // between two nodes, in the order of the file
	// Outside are the links that leave the lab, in the order of the file: each
	// has its Outside set, A is the node's end and B says where it goes.
	Outside []Link `json:"outside,omitempty"`
	// Management is nil where the file says nothing of it.
	Management *Management `json:"mgmt,omitempty"`
}

// Node is one node as the file states it.
type Node struct {
	Name          string            `json:"name"`
	Kind          string            `json:"kind"`
	Type          string            `json:"type,omitempty"`
	Group         string            `json:"group,omitempty"`
	Provider      string            `json:"provider,omitempty"` // empty: the lab's or the kind's choice
	Image         string            `json:"image,omitempty"`
	Entrypoint    string            `json:"entrypoint,omitempty"` // as in the file: split like a shell would
	Cmd           string            `json:"cmd,omitempty"`
	User          string            `json:"user,omitempty"`
	Env           map[string]string `json:"env,omitempty"`
	Exec          []string          `json:"exec,omitempty"`  // run in the node once it is ready, in order
	Binds         []string          `json:"binds,omitempty"` // host:node[:options], host paths absolute
	Labels        map[string]string `json:"labels,omitempty"`
	Sysctls       map[string]string `json:"sysctls,omitempty"`
	StartupConfig string            `json:"startup_config,omitempty"`      // absolute path
	ConfigText    string            `json:"startup_config_text,omitempty"` // when written inline
	MTU           int               `json:"mtu,omitempty"`                 // bytes; 0 means the backend's default
	// Aliases maps the device's own interface names to those the kernel has.
	Aliases   map[string]string `json:"aliases,omitempty"`
	Container Container         `json:"container,omitzero"`
	// StartupDelay is waited before the node is created.
	StartupDelay time.Duration `json:"startup_delay,omitempty"`
	Stages       []StagePlan   `json:"stages,omitempty"` // in the order of Stages
	// EnforceConfig: the file's configuration is used even where the node has
	// one saved. SuppressConfig: the node gets none at all.
	EnforceConfig  bool `json:"enforce_startup_config,omitempty"`
	SuppressConfig bool `json:"suppress_startup_config,omitempty"`
}

// Endpoint names one interface of one node. Its text form is "node:interface".
type Endpoint struct {
	Node      string `json:"node"`
	Interface string `json:"interface"`
}

func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

// ParseEndpoint reads "node:interface". The interface may itself contain
// colons; the node may not.
func ParseEndpoint(s string) (Endpoint, error) {
	node, ifc, ok := strings.Cut(s, ":")
	if !ok || node == "" || ifc == "" {
		return Endpoint{}, fmt.Errorf("%q is not an endpoint: write node:interface", s)
	}
	return Endpoint{Node: node, Interface: ifc}, nil
}

// Bind is a part of the machine that a node sees.
type Bind struct {
	Source  string
	Target  string // absolute, in the node
	Options []string
}

// ParseBind reads "source:/target" or "source:/target:option,option".
func ParseBind(s string) (Bind, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") || strings.Contains(s, "\x00") {
		return Bind{}, fmt.Errorf("bind %q: write source:/target or source:/target:ro", s)
	}
	b := Bind{Source: parts[0], Target: path.Clean(parts[1])}
	if len(parts) == 3 {
		b.Options = strings.Split(parts[2], ",")
	}
	return b, nil
}

// End is one end of a link: an endpoint and what the file says of its
// interface.
type End struct {
	Endpoint
	MAC  string         `json:"mac,omitempty"`
	IPv4 []netip.Prefix `json:"ipv4,omitempty"`
	IPv6 []netip.Prefix `json:"ipv6,omitempty"`
	// Impair is suffered by the frames that leave this end.
	Impair Impairment `json:"impair,omitzero"`
}

// Addresses are all that the file gives the interface.
func (e End) Addresses() []netip.Prefix { return slices.Concat(e.IPv4, e.IPv6) }

// Link is a cable between two ends, as the file states it.
type Link struct {
	A      End               `json:"a"`
	B      End               `json:"b"`
	MTU    int               `json:"mtu,omitempty"` // bytes; 0 means the backend's default
	Labels map[string]string `json:"labels,omitempty"`
	// Outside is nil where both ends are nodes of the lab.
	Outside *Outside `json:"outside,omitempty"`
}

// ID identifies a link within its lab, whichever way round it is written.
func (l Link) ID() string { return LinkID(l.A.Endpoint, l.B.Endpoint) }

// LinkID is the identity of the link between two endpoints, in either order.
func LinkID(a, b Endpoint) string {
	x, y := a.String(), b.String()
	if y < x {
		x, y = y, x
	}
	return x + "|" + y
}

// Impaired reports whether either direction is worse than a cable.
func (l Link) Impaired() bool { return !l.A.Impair.IsZero() || !l.B.Impair.IsZero() }

// Ends returns both ends, A first.
func (l Link) Ends() [2]End { return [2]End{l.A, l.B} }

// End is that of the two ends which is the endpoint given.
func (l Link) End(e Endpoint) End {
	if l.A.Endpoint == e {
		return l.A
	}
	return l.B
}

// AllLinks are those between two nodes and, after them, those that leave the
// lab.
func (t *Topology) AllLinks() []Link {
	return append(t.Links[:len(t.Links):len(t.Links)], t.Outside...)
}

// Node returns the node of that name, and false when there is none.
func (t *Topology) Node(name string) (Node, bool) {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}
