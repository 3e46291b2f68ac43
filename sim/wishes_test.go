package sim_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing/synctest"
	"time"

	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
)

var labNames = []string{"alpha", "beta"}

// topologyText is a lab made up: a few nodes of several kinds, a few links.
func (d *driver) topologyText(name string) string {
	var b strings.Builder
	nodes := 2 + d.rng.IntN(4)
	fmt.Fprintf(&b, "name: %s\ntopology:\n  nodes:\n", name)
	for i := range nodes {
		kind := "linux"
		if d.rng.IntN(5) == 0 {
			kind = probingKind
		}
		fmt.Fprintf(&b, "    n%d: {kind: %s", i, kind)
		if d.rng.IntN(4) == 0 {
			fmt.Fprintf(&b, ", env: {V: \"%d\"}", d.rng.IntN(3))
		}
		switch d.rng.IntN(8) {
		case 0:
			fmt.Fprintf(&b, ", startup-delay: %d", 1+d.rng.IntN(20))
		case 1:
			if i > 0 { // waits for an earlier one, so that none waits for itself
				stage, until := waits[d.rng.IntN(len(waits))], waits[d.rng.IntN(len(waits))]
				fmt.Fprintf(&b, ", stages: {%s: {wait-for: [{node: n%d, stage: %s}]}}", stage, d.rng.IntN(i), until)
			}
		case 2:
			b.WriteString(", exec: [\"true\"]")
		}
		b.WriteString("}\n")
	}
	next := make([]int, nodes)
	links, tunnel := d.rng.IntN(nodes+2), d.rng.IntN(3) == 0
	if links > 0 || tunnel {
		b.WriteString("  links:\n")
	}
	if tunnel {
		fmt.Fprintf(&b, "    - {type: vxlan, endpoint: {node: n%d, interface: eth9}, remote: 192.0.2.2, vni: %d}\n", d.rng.IntN(nodes), 7+d.rng.IntN(2))
	}
	for range links {
		x, y := d.rng.IntN(nodes), d.rng.IntN(nodes)
		if x == y {
			y = (y + 1) % nodes
		}
		next[x]++
		next[y]++
		mtu := ""
		if d.rng.IntN(4) == 0 {
			mtu = ", mtu: 1400"
		}
		fmt.Fprintf(&b, "    - {endpoints: [\"n%d:eth%d\", \"n%d:eth%d\"]%s}\n", x, next[x], y, next[y], mtu)
	}
	return b.String()
}

// waits are stages that a node waits at, and for.
var waits = []lab.Stage{lab.StageCreate, lab.StageCreateLinks, lab.StageConfigure, lab.StageHealthy}

// probingKind is ready when a command in the node says so.
const probingKind = "bird"

// ask lets a user ask for something, or two at once.
func (d *driver) ask() {
	d.askOnce()
	if d.rng.IntN(8) == 0 {
		synctest.Wait()
		d.count("two clients at once")
		d.askOnce()
	}
}

func (d *driver) askOnce() {
	ctx := context.Background()
	e := d.e
	s, _ := e.Snapshot(ctx)
	n := d.rng.IntN(108)
	if len(s.Labs) == 0 || n < 20 {
		name := labNames[d.rng.IntN(len(labNames))]
		file := filepath.Join(d.dir, name+".clab.yml")
		if err := os.WriteFile(file, []byte(d.topologyText(name)), 0o600); err != nil {
			d.Fatal(err)
		}
		req := api.DeployRequest{File: file}
		if d.rng.IntN(4) == 0 {
			req.Network = sim.SwitchName
		}
		d.begin("deploy "+name, func() error { _, err := e.Deploy(ctx, req); return err })
		return
	}
	l := s.Labs[d.rng.IntN(len(s.Labs))]
	switch {
	case n < 26:
		d.begin("destroy "+l.Name, func() error { _, err := e.Destroy(ctx, l.Name); return err })
	case n < 55 && len(l.Nodes) > 0:
		req := api.NodesRequest{Lab: l.Name, Verb: []lab.JobVerb{lab.JobStart, lab.JobStop, lab.JobRestart}[d.rng.IntN(3)]}
		if d.rng.IntN(4) > 0 {
			req.Nodes = []string{l.Nodes[d.rng.IntN(len(l.Nodes))].Name}
		}
		d.begin(fmt.Sprintf("%s %s %v", req.Verb, l.Name, req.Nodes), func() error { _, err := e.SetNodes(ctx, req); return err })
	case n < 75 && len(l.Links) > 0:
		d.askLink(e, l)
	case n < 88:
		d.askEdit(e, l)
	case n < 90:
		p := lab.Policies()[d.rng.IntN(3)]
		d.begin(fmt.Sprintf("policy %s %s", l.Name, p), func() error { return e.SetPolicy(ctx, api.PolicyRequest{Lab: l.Name, Policy: p}) })
	case n < 93:
		req := api.DriftRequest{Lab: l.Name, Leave: d.rng.IntN(2) == 0}
		d.begin(fmt.Sprintf("drift %+v", req), func() error { _, err := e.SetDrift(ctx, req); return err })
	case n < 96:
		to := []string{sim.CableName, sim.SwitchName}[d.rng.IntN(2)]
		d.begin("swap "+l.Name+" to "+to, func() error {
			_, err := e.SetNetwork(ctx, api.NetworkRequest{Lab: l.Name, Network: to})
			return err
		})
	case n < 104:
		d.visit(e, l)
	default:
		var running []string
		for _, j := range s.Jobs {
			if !j.State.Ended() {
				running = append(running, j.ID)
			}
		}
		if len(running) > 0 {
			id := running[d.rng.IntN(len(running))]
			d.begin("cancel "+id, func() error { return e.CancelJob(ctx, id) })
		}
	}
}

func (d *driver) askLink(e *engine.Engine, l *api.Lab) {
	ctx := context.Background()
	k := l.Links[d.rng.IntN(len(l.Links))]
	a, _ := lab.ParseEndpoint(k.A)
	b, _ := lab.ParseEndpoint(k.B)
	if d.rng.IntN(4) == 0 {
		bad := lab.Impairment{Delay: time.Duration(d.rng.IntN(3)) * 10 * time.Millisecond}
		d.begin("impair "+k.ID(), func() error {
			_, err := e.Impair(ctx, api.ImpairRequest{Lab: l.Name, A: a, B: b, FromA: &bad})
			return err
		})
		return
	}
	wish := []lab.LinkWish{lab.WishUp, lab.WishDown}[d.rng.IntN(2)]
	d.begin("link "+k.ID()+" "+string(wish), func() error {
		_, err := e.SetLink(ctx, api.LinkRequest{Lab: l.Name, A: a, B: b, Wish: wish})
		return err
	})
}

func (d *driver) askEdit(e *engine.Engine, l *api.Lab) {
	req := api.EditRequest{Lab: l.Name}
	any := func() string {
		if len(l.Nodes) == 0 {
			return "n0"
		}
		return l.Nodes[d.rng.IntN(len(l.Nodes))].Name
	}
	switch d.rng.IntN(4) {
	case 0:
		name := fmt.Sprintf("x%d", d.rng.IntN(3))
		req.AddNodes = []lab.Node{{Name: name, Kind: "linux"}}
		if d.rng.IntN(2) == 0 {
			req.AddLinks = []lab.Link{d.newLink(name, any())}
		}
	case 1:
		req.RemoveNodes = []string{any()}
	case 2:
		if len(l.Links) > 0 {
			k := l.Links[d.rng.IntN(len(l.Links))]
			a, _ := lab.ParseEndpoint(k.A)
			b, _ := lab.ParseEndpoint(k.B)
			req.RemoveLinks = [][2]lab.Endpoint{{a, b}}
		}
	default:
		req.AddLinks = []lab.Link{d.newLink(any(), any())}
	}
	d.begin(fmt.Sprintf("edit %+v", req), func() error { _, err := e.Edit(context.Background(), req); return err })
}

func (d *driver) newLink(a, b string) lab.Link {
	end := func(n string) lab.End {
		return lab.End{Endpoint: lab.Endpoint{Node: n, Interface: fmt.Sprintf("eth%d", 1+d.rng.IntN(6))}}
	}
	return lab.Link{A: end(a), B: end(b)}
}

// begin sends a request off; its answer may take a while.
func (d *driver) begin(what string, do func() error) {
	o := &op{what: what}
	d.ops = append(d.ops, o)
	d.note("wish: %s", what)
	word, _, _ := strings.Cut(what, " ")
	d.count("wish: " + word)
	go func() {
		err := do()
		d.mu.Lock()
		o.err, o.done = err, true
		d.mu.Unlock()
	}()
}
