package ui

import (
	"context"
	"slices"
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/lab"
)

// TestWhyANodeIsTriedAgain: while it starts once more, what went wrong is still told.
func TestWhyANodeIsTriedAgain(t *testing.T) {
	s := ring(2)
	n := s.Labs[0].Nodes[0]
	n.Actual, n.Retries = lab.NodeStarting, 2
	for _, text := range []string{"the first time", "not ready in time", "of another"} {
		s.Events = append(s.Events, &api.Event{Lab: "ring", Node: n.Name, Level: api.LevelError, Text: text})
	}
	s.Events[2].Node = "n2"
	s.Events = append(s.Events, &api.Event{Lab: "ring", Node: n.Name, Level: api.LevelInfo, Text: "pending"})
	text := shown(t, s).tried(s.Labs[0], n)
	if !slices.ContainsFunc(text, func(l string) bool {
		return strings.HasPrefix(l, "because ") && strings.HasSuffix(l, " not ready in time")
	}) {
		t.Errorf("it says %q", text)
	}
}

// tunnels is an engine that knows of a tunnel at each end it is asked about.
type tunnels struct {
	api.Engine
	api.Tunnel
}

func (e tunnels) Traffic(_ context.Context, req api.TrafficRequest) ([]api.Traffic, error) {
	out := make([]api.Traffic, len(req.Ends))
	for i, end := range req.Ends {
		if out[i].End = end; req.Tunnels {
			out[i].Tunnel = &e.Tunnel
		}
	}
	return out, nil
}

// TestATunnelIsToldOf: of a link that is a tunnel, what is known of that now.
func TestATunnelIsToldOf(t *testing.T) {
	s := ring(3)
	k := s.Labs[0].Links[0]
	k.B, k.Outside = "vxlan:192.0.2.2/77", lab.OutsideVXLAN
	m := shown(t, s)
	for heard, want := range map[bool]string{false: "nothing has ever come", true: "7 (9000 bytes)"} {
		e := tunnels{Tunnel: api.Tunnel{State: lab.TunnelActive, VNI: 77, Local: "192.0.2.1", Remote: "192.0.2.2", Device: "nic",
			UDPPort: 14789, PathMTU: 1500, MTU: 1450, SentPackets: 5, Sent: 600, Heard: heard}}
		if heard {
			e.ReceivedPackets, e.Received = 7, 9000
		}
		m.engine = e
		m.focus, m.links.at = paneLinks, slices.IndexFunc(m.shownLinks(), func(l *api.Link) bool { return l == k })
		m.Update(m.linkInfo()())
		text := m.View().Content
		for _, w := range []string{"VNI", "77", "192.0.2.2", "192.0.2.1 by nic", "14789", "1450 of 1500", "5 (600 bytes)", want} {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in\n%s", w, text)
			}
		}
		m.dialogs = nil
	}
}
