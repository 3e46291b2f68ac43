package lab

import (
	"net/netip"
	"time"
)

// Container is what the file says of a node that only a provider of
// containers can heed. Sizes are in bytes.
type Container struct {
	PullPolicy     string   `json:"image_pull_policy,omitempty"` // IfNotPresent, Always or Never; empty is the first
	Privileged     *bool    `json:"privileged,omitempty"`        // nil: as the kind has it
	Capabilities   []string `json:"cap_add,omitempty"`           // without the CAP_ before them
	Devices        []string `json:"devices,omitempty"`           // host[:node[:rwm]]
	Ports          []string `json:"ports,omitempty"`             // [[address:]host-port:]node-port[/protocol]
	ShmSize        int64    `json:"shm_size,omitempty"`
	Memory         int64    `json:"memory,omitempty"`
	CPU            float64  `json:"cpu,omitempty"` // cores
	CPUSet         string   `json:"cpu_set,omitempty"`
	Tmpfs          []string `json:"tmpfs,omitempty"`        // path[:options], by path
	Volumes        []string `json:"volumes,omitempty"`      // name:path[:options] of the engine's own volumes, or path of a nameless one
	SecurityOpt    []string `json:"security_opt,omitempty"` // as the engine takes them
	Ulimits        []string `json:"ulimits,omitempty"`      // name=soft[:hard]
	RestartPolicy  string   `json:"restart_policy,omitempty"`
	AutoRemove     bool     `json:"auto_remove,omitempty"`
	NetworkMode    string   `json:"network_mode,omitempty"` // of the management side: bridge (empty), none, host or container:NAME
	ManagementIPv4 string   `json:"mgmt_ipv4,omitempty"`    // address without a prefix length
	ManagementIPv6 string   `json:"mgmt_ipv6,omitempty"`
	Hostname       string   `json:"hostname,omitempty"` // empty: the node's name
	Aliases        []string `json:"aliases,omitempty"`  // further names of the node in the management network
	PIDMode        string   `json:"pid_mode,omitempty"` // empty, host or container:NAME
	CgroupMode     string   `json:"cgroupns_mode,omitempty"`
	CgroupParent   string   `json:"cgroup_parent,omitempty"`
	DNS            *DNS     `json:"dns,omitempty"`

	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
}

// DNS is how a node finds names.
type DNS struct {
	Servers []string `json:"servers,omitempty"`
	Search  []string `json:"search,omitempty"`
	Options []string `json:"options,omitempty"`
}

// Healthcheck is a command that the container engine runs again and again.
type Healthcheck struct {
	Test        []string      `json:"test"` // CMD, CMD-SHELL or NONE first, as the engine takes it
	Interval    time.Duration `json:"interval,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	StartPeriod time.Duration `json:"start_period,omitempty"`
	Retries     int           `json:"retries,omitempty"`
}

// Management is the network by which the machine itself reaches the nodes,
// where the provider has one.
type Management struct {
	Network        string `json:"network,omitempty"` // the engine's name of it; empty: "clab"
	Bridge         string `json:"bridge,omitempty"`  // name of the interface on the machine
	IPv4Subnet     string `json:"ipv4_subnet,omitempty"`
	IPv4Gateway    string `json:"ipv4_gw,omitempty"`
	IPv4Range      string `json:"ipv4_range,omitempty"`
	IPv6Subnet     string `json:"ipv6_subnet,omitempty"`
	IPv6Gateway    string `json:"ipv6_gw,omitempty"`
	IPv6Range      string `json:"ipv6_range,omitempty"`
	MTU            int    `json:"mtu,omitempty"` // bytes; 0: the engine's default
	ExternalAccess *bool  `json:"external_access,omitempty"`
	// SkipUnused: the network is not made when no node would be in it.
	SkipUnused    bool              `json:"skip_when_unused,omitempty"`
	DriverOptions map[string]string `json:"driver_opts,omitempty"`
}

// The subnets of a management network where the file names none:
// containerlab's.
const (
	managementIPv4 = "172.20.20.0/24"
	managementIPv6 = "3fff:172:20:20::/64"
)

// Subnets are those of the network. One that is empty, or "auto", is left to
// the engine.
func (m *Management) Subnets() (v4, v6 string) {
	if m == nil || m.IPv4Subnet == "" && m.IPv6Subnet == "" {
		return managementIPv4, managementIPv6
	}
	return m.IPv4Subnet, m.IPv6Subnet
}

// External reports whether other machines may reach the nodes, which is so
// unless the file says otherwise.
func (m *Management) External() bool { return m.ExternalAccess == nil || *m.ExternalAccess }

// ManagementAddresses are those that the file gives to nodes in the management
// network.
func (t *Topology) ManagementAddresses() []netip.Addr {
	var out []netip.Addr
	for _, n := range t.Nodes {
		for _, s := range []string{n.Container.ManagementIPv4, n.Container.ManagementIPv6} {
			if a, err := netip.ParseAddr(s); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}
