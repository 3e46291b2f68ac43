package lab

// OutsideType says what the far end of a link is when it is no node.
type OutsideType string

// The places a link can go outside the lab.
const (
	OutsideHost        OutsideType = "host"         // an interface on the machine
	OutsideBridge      OutsideType = "bridge"       // a port of a bridge the machine has already
	OutsideOVSBridge   OutsideType = "ovs-bridge"   // a port of an Open vSwitch bridge the machine has already
	OutsideManagement  OutsideType = "mgmt-net"     // a port of the management network's bridge
	OutsideMacvlan     OutsideType = "macvlan"      // a macvlan upon an interface of the machine
	OutsideDummy       OutsideType = "dummy"        // nowhere: an interface without a peer
	OutsideVXLAN       OutsideType = "vxlan"        // a tunnel that ends in the node
	OutsideVXLANStitch OutsideType = "vxlan-stitch" // a tunnel that ends on the machine, joined to the node's interface
)

// OutsideTypes lists every place a link can go outside the lab.
func OutsideTypes() []OutsideType {
	return []OutsideType{OutsideHost, OutsideBridge, OutsideOVSBridge, OutsideManagement, OutsideMacvlan,
		OutsideDummy, OutsideVXLAN, OutsideVXLANStitch}
}

// Tunnel reports whether such a link is a tunnel.
func (t OutsideType) Tunnel() bool { return t == OutsideVXLAN || t == OutsideVXLANStitch }

// Outside is what a file says of the far end of a link that leaves the lab.
// The link's B repeats it as an endpoint, so that the link has an identity:
// "host:eth9", "bridge-name:port", "mgmt-net:port", "macvlan:eth0", "dummy:-",
// "vxlan:remote/vni".
type Outside struct {
	Type OutsideType `json:"type"`
	// Interface is on the machine: to be made and named so (host, bridge,
	// ovs-bridge, mgmt-net), or there already and built upon (macvlan).
	Interface string `json:"interface,omitempty"`
	Bridge    string `json:"bridge,omitempty"` // the machine's, for bridge and ovs-bridge
	Mode      string `json:"mode,omitempty"`   // of macvlan: bridge (empty), vepa, passthru, private or source
	// The rest is VXLAN's. Remote is an address or a name.
	Remote          string `json:"remote,omitempty"`
	VNI             int    `json:"vni,omitempty"`
	DestinationPort int    `json:"dst_port,omitempty"` // UDP; 0 means DefaultVXLANPort
	SourcePort      int    `json:"src_port,omitempty"` // UDP; 0: the kernel's choice
	Parent          string `json:"parent,omitempty"`   // interface the tunnel leaves by; empty: by the route
}

// DefaultVXLANPort is the UDP port of a tunnel that names none, as
// containerlab has it: not 4789, which other overlays and firewalls hold.
const DefaultVXLANPort = 14789
