package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/lab"
)

func (a *app) inspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect [LAB]",
		Short:             "Show a lab's nodes and links, or all labs",
		Args:              args(0, 1),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e api.Engine) error {
				snap, err := e.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				if len(args) == 0 {
					return a.showLabs(snap, asJSON)
				}
				l := snap.Lab(args[0])
				if l == nil {
					return noLab(snap, args[0])
				}
				tunnels := tunnelsOf(cmd.Context(), e, l)
				if asJSON {
					return a.json(labJSON(l, tunnels))
				}
				stats, _ := e.Stats(cmd.Context(), l.Name) // without them the rest is still worth showing
				a.showLab(l, stats)
				a.showTunnels(l, tunnels)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func noLab(snap *api.Snapshot, name string) error {
	var names []string
	for _, l := range snap.Labs {
		names = append(names, l.Name)
	}
	err := api.Errorf(api.CodeNotFound, "no lab %s is deployed", name)
	if near := lab.Closest(name, names); near != "" {
		err.Hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		err.Hint = "there is " + strings.Join(names, ", ")
	} else {
		err.Hint = "no lab is deployed at all"
	}
	return err
}

// The names in these are a contract that scripts rely on.
type (
	nodeOut struct {
		Name         string        `json:"name"`
		Kind         string        `json:"kind"`
		Provider     string        `json:"provider"`
		Identifier   string        `json:"identifier"`
		Desired      lab.NodeWish  `json:"desired"`
		Actual       lab.NodeState `json:"actual"`
		Progress     int           `json:"progress"`
		ProgressText string        `json:"progress_text"`
		ProgressLine string        `json:"progress_line,omitempty"`
		Typical      float64       `json:"typical_boot_seconds,omitzero"`
		Error        string        `json:"error"`
		PID          int           `json:"pid"`

		Tries   int       `json:"tries"` // since it was last healthy
		NextTry time.Time `json:"next_try,omitzero"`
		Drift   api.Drift `json:"drift,omitzero"`

		ManagementIPv4 string `json:"mgmt_ipv4,omitempty"`
		ManagementIPv6 string `json:"mgmt_ipv6,omitempty"`
		Screen         string `json:"screen,omitempty"`
	}
	linkOut struct {
		A       string        `json:"a"`
		B       string        `json:"b"`
		Desired lab.LinkWish  `json:"desired"`
		Actual  lab.LinkState `json:"actual"`
		Carrier lab.Carrier   `json:"carrier"`
		VLAN    int           `json:"vlan"`
		Error   string        `json:"error"`

		MTU     int             `json:"mtu,omitempty"`
		ImpairA lab.Impairment  `json:"impair_a,omitzero"` // suffered by what leaves A
		ImpairB lab.Impairment  `json:"impair_b,omitzero"`
		Network string          `json:"network,omitempty"` // that made it
		Outside lab.OutsideType `json:"outside,omitempty"` // what B is when it is no node of the lab

		Tries   int       `json:"tries"`
		NextTry time.Time `json:"next_try,omitzero"`
		Drift   api.Drift `json:"drift,omitzero"`

		Tunnel *api.Tunnel `json:"tunnel,omitempty"` // that the link is, where it leaves the lab by one
	}
	labOut struct {
		Lab   api.Info  `json:"lab"`
		Nodes []nodeOut `json:"nodes"`
		Links []linkOut `json:"links"`
	}
)

func nodeJSON(n *api.Node) nodeOut {
	return nodeOut{n.Name, n.Kind, n.Provider, n.Identifier, n.Desired, n.Actual, n.Progress, n.ProgressText, n.ProgressLine, n.Typical.Seconds(), n.Error, n.PID,
		n.Retries, n.RetryAt, n.Drift, n.ManagementIPv4, n.ManagementIPv6, n.Screen}
}

func linkJSON(k *api.Link) linkOut {
	return linkOut{k.A, k.B, k.Desired, k.Actual, k.Carrier, k.VLAN, k.Error, k.MTU, k.ImpairA, k.ImpairB, k.Network, k.Outside,
		k.Retries, k.RetryAt, k.Drift, nil}
}

func labJSON(l *api.Lab, tunnels map[string]*api.Tunnel) labOut {
	return labOut{l.Info, list(l.Nodes, nodeJSON), list(l.Links, func(k *api.Link) linkOut {
		out := linkJSON(k)
		out.Tunnel = tunnels[k.A]
		return out
	})}
}

// tunnelsOf is what is known of the tunnels by which links leave the lab, by
// their ends in it: nothing of those that are not made.
func tunnelsOf(ctx context.Context, e api.Engine, l *api.Lab) map[string]*api.Tunnel {
	req := api.TrafficRequest{Lab: l.Name, Tunnels: true}
	for _, k := range l.Links {
		if a, err := lab.ParseEndpoint(k.A); err == nil && k.Outside.Tunnel() && !k.Leaving {
			req.Ends = append(req.Ends, a)
		}
	}
	out := map[string]*api.Tunnel{}
	if len(req.Ends) == 0 {
		return out
	}
	found, _ := e.Traffic(ctx, req) // without it the rest is still worth showing
	for _, t := range found {
		out[t.End.String()] = t.Tunnel
	}
	return out
}

func list[T, U any](in []T, f func(T) U) []U {
	out := make([]U, len(in)) // never null in JSON
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func (a *app) showLabs(snap *api.Snapshot, asJSON bool) error {
	if asJSON {
		return a.json(list(snap.Labs, func(l *api.Lab) api.Info { return l.Info }))
	}
	if len(snap.Labs) == 0 {
		fmt.Fprintln(a.out, "No lab is deployed. Make one with: archetype deploy FILE")
		return nil
	}
	rows := [][]string{{"LAB", "STATE", "NODES", "LINKS", "PROVIDER", "NETWORK", "FILE"}}
	for _, l := range snap.Labs {
		nodes, links := counts(l)
		rows = append(rows, []string{l.Name, string(l.State), nodes, links, l.Provider, l.Network, l.File})
	}
	a.table(rows)
	return nil
}

func counts(l *api.Lab) (nodes, links string) {
	t := l.Tally()
	return fmt.Sprintf("%d/%d", t.Running, len(l.Nodes)), fmt.Sprintf("%d/%d", t.Up, len(l.Links))
}

func (a *app) showLab(l *api.Lab, stats []api.NodeStats) {
	figures := map[string]api.NodeStats{}
	for _, s := range stats {
		figures[s.Node] = s
	}
	nodes, links := counts(l)
	links += " links up"
	if n := l.Tally().Dark; n > 0 {
		links += fmt.Sprintf(", %d without carrier", n)
	}
	now := time.Now()
	fmt.Fprintf(a.out, "%s  %s  %s nodes running  %s  %s, %s\n%s\n\n", l.Name, l.State, nodes, links, l.Provider, l.Network, l.File)
	if l.Policy.Holds() {
		fmt.Fprintf(a.out, "drift is left alone: the policy is %s\n\n", l.Policy)
	}
	for _, s := range l.Silent {
		fmt.Fprintf(a.out, "%s does not answer, and what it makes is shown as it was: %s\n\n", s.Backend, s.Why)
	}
	for _, name := range l.Extra {
		fmt.Fprintf(a.out, "%s bears the lab's label and is no part of it; archetype gc --remove removes it\n\n", name)
	}
	rows := [][]string{{"NODE", "KIND", "STATE", "WANTED", "PID", "CPU", "MEMORY", "ABOUT"}}
	managed := slices.ContainsFunc(l.Nodes, func(n *api.Node) bool { return n.ManagementAddress() != "" })
	if managed {
		rows[0] = slices.Insert(rows[0], 4, "ADDRESS")
	}
	for _, n := range l.Nodes {
		state := string(n.Actual)
		if n.Actual == lab.NodeStarting {
			state += " " + strconv.Itoa(n.Progress) + "%"
		}
		pid := ""
		if n.PID > 0 {
			pid = strconv.Itoa(n.PID)
		}
		cpu, memory := "", ""
		if s, ok := figures[n.Name]; ok {
			cpu, memory = fmt.Sprintf("%.1fs", s.CPU.Seconds()), fmt.Sprintf("%.1fMB", float64(s.Memory)/1e6)
		}
		row := []string{n.Name, n.Kind, state, string(n.Desired), pid, cpu, memory, firstOf(n.About(now), aboutBoot(n))}
		if managed {
			row = slices.Insert(row, 4, n.ManagementAddress())
		}
		rows = append(rows, row)
	}
	a.table(rows)
	if len(l.Links) == 0 {
		return
	}
	fmt.Fprintln(a.out)
	rows = [][]string{{"LINK", "", "STATE", "WANTED", "CARRIER", "ABOUT"}}
	for _, k := range l.Links {
		rows = append(rows, []string{k.A, k.B, string(k.Actual), string(k.Desired), string(k.Carrier), k.About(now)})
	}
	a.table(rows)
}

// showTunnels tells of each tunnel where it leads, what fits through it and what
// has passed.
func (a *app) showTunnels(l *api.Lab, tunnels map[string]*api.Tunnel) {
	rows := [][]string{{"TUNNEL", "VNI", "FROM", "TO", "UDP", "MTU", "SENT", "RECEIVED", "ABOUT"}}
	for _, k := range l.Links {
		if t := tunnels[k.A]; t != nil {
			rows = append(rows, []string{k.A, strconv.Itoa(int(t.VNI)), t.From(), t.Remote, strconv.Itoa(int(t.UDPPort)), t.Fits(),
				t.Out(), t.In(), t.About()})
		}
	}
	if len(rows) > 1 {
		fmt.Fprintln(a.out)
		a.table(rows)
	}
}

// aboutBoot is how far a node has come, what earned that, and how long the rest
// will take.
func aboutBoot(n *api.Node) string {
	text := n.ProgressText
	if n.Actual != lab.NodeStarting {
		return text
	}
	if left := n.Left(time.Now()); left != "" {
		text = left + ": " + text
	}
	if n.ProgressLine != "" && n.ProgressLine != n.ProgressText {
		text += " (" + n.ProgressLine + ")"
	}
	return text
}

// table aligns columns; it is for people and may change.
func (a *app) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], ansi.StringWidth(c))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c + strings.Repeat(" ", widths[i]-ansi.StringWidth(c)+2))
		}
		fmt.Fprintln(a.out, strings.TrimRight(b.String(), " "))
	}
}
