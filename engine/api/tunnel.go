package api

import (
	"fmt"

	"archetype/lab"
)

// Tunnel is what is known of a tunnel from its near end.
type Tunnel struct {
	State   lab.TunnelState `json:"state"`
	Reason  string          `json:"reason,omitempty"` // why it is not active
	VNI     uint32          `json:"vni"`
	Local   string          `json:"local"`
	Remote  string          `json:"remote"`
	Device  string          `json:"device,omitempty"` // of this machine, by which it leaves
	UDPPort uint16          `json:"udp_port"`
	PathMTU int             `json:"path_mtu,omitempty"` // bytes of an IP packet that arrives whole on the way
	MTU     int             `json:"mtu"`                // bytes of a frame's payload
	// Counters since it was made; Heard says whether anything ever came.
	Sent            uint64 `json:"sent_bytes"`
	SentPackets     uint64 `json:"sent_packets"`
	Received        uint64 `json:"received_bytes"`
	ReceivedPackets uint64 `json:"received_packets"`
	Lost            uint64 `json:"lost_packets"` // dropped, or with errors
	Heard           bool   `json:"heard"`
}

// From is the address that the tunnel sends from, and by which interface.
func (t *Tunnel) From() string {
	if t.Device == "" {
		return t.Local
	}
	return t.Local + " by " + t.Device
}

// Fits is what fits through the tunnel, and of what that is left.
func (t *Tunnel) Fits() string {
	if t.PathMTU == 0 {
		return fmt.Sprint(t.MTU)
	}
	return fmt.Sprintf("%d of %d", t.MTU, t.PathMTU)
}

// Out is what was sent to the far end.
func (t *Tunnel) Out() string { return passed(t.SentPackets, t.Sent) }

// In is what came from there.
func (t *Tunnel) In() string { return passed(t.ReceivedPackets, t.Received) }

func passed(packets, bytes uint64) string { return fmt.Sprintf("%d (%d bytes)", packets, bytes) }

// About says why the tunnel carries nothing, as far as that can be told from
// its near end.
func (t *Tunnel) About() string {
	why := t.Reason
	if why == "" && !t.Heard {
		why = "nothing has ever come from the far end"
	}
	if t.Lost == 0 {
		return why
	}
	lost := fmt.Sprintf("%d lost", t.Lost)
	if why == "" {
		return lost
	}
	return why + "; " + lost
}
