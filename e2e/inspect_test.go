package e2e

import (
	"encoding/json"
	"slices"

	"archetype/lab"
)

// The contract of inspect --json.
type (
	labJSON struct {
		Name, State, File, Provider, Network string
	}
	nodeJSON struct {
		Name, Kind, Provider, Identifier, Desired, Actual string
		Progress                                          int
		ProgressText                                      string `json:"progress_text"`
		ProgressLine                                      string `json:"progress_line"`
		Error                                             string
		PID                                               int
	}
	linkJSON struct {
		A, B, Desired, Actual, Carrier string
		VLAN, MTU                      int
		Error, Network, Outside        string
		ImpairA                        lab.Impairment `json:"impair_a"`
		ImpairB                        lab.Impairment `json:"impair_b"`
		Tunnel                         *struct {
			State, Reason, Local, Remote, Device string
			VNI, MTU                             int
			UDPPort                              int    `json:"udp_port"`
			PathMTU                              int    `json:"path_mtu"`
			Sent                                 uint64 `json:"sent_bytes"`
			Received                             uint64 `json:"received_bytes"`
			Heard                                bool
		}
	}
	inspectJSON struct {
		Lab   labJSON
		Nodes []nodeJSON
		Links []linkJSON
	}
)

func (w *world) inspect(lab string) *inspectJSON {
	w.Helper()
	var v inspectJSON
	w.decode(w.ok("inspect", lab, "--json"), &v)
	return &v
}

func (w *world) decode(text string, v any) {
	w.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		w.Fatalf("%v in %s", err, text)
	}
}

func (l *inspectJSON) node(name string) nodeJSON {
	i := slices.IndexFunc(l.Nodes, func(n nodeJSON) bool { return n.Name == name })
	if i < 0 {
		return nodeJSON{}
	}
	return l.Nodes[i]
}

func (l *inspectJSON) link(a, b string) linkJSON {
	i := slices.IndexFunc(l.Links, func(k linkJSON) bool { return k.A == a && k.B == b || k.A == b && k.B == a })
	if i < 0 {
		return linkJSON{}
	}
	return l.Links[i]
}

// whole reports whether every node runs and every link is up.
func (l *inspectJSON) whole() bool {
	return l.Lab.State == "running" &&
		!slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool { return n.Actual != "running" || n.PID == 0 }) &&
		!slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.Actual != "up" || k.Carrier != "on" })
}

func (w *world) awaitWhole(lab string) *inspectJSON {
	w.Helper()
	var l *inspectJSON
	w.await(lab+" to be whole", func() bool {
		r := w.run("inspect", lab, "--json")
		if r.code != 0 {
			return false
		}
		l = &inspectJSON{}
		w.decode(r.out, l)
		return l.whole()
	})
	return l
}
