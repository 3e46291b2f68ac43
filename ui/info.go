package ui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
)

// short is a duration for people: three digits of it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func bytes(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// facts lines up names and values; those without a value are left out.
func facts(pairs ...string) []string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, fmt.Sprintf("%-11s %s", pairs[i], clean(pairs[i+1])))
		}
	}
	return out
}

// bootText is how far the boot has come, and how long it will take.
func bootText(n *api.Node) string {
	text := n.ProgressText
	if n.Actual == lab.NodeStarting {
		text = fmt.Sprintf("%d%% %s", n.Progress, text)
	}
	if left := n.Left(time.Now()); left != "" {
		text += ", " + left
	}
	return text
}

// earnedBy is the line of the log that earned the per cent, where that is not
// what is shown anyway.
func earnedBy(n *api.Node) string {
	if n.ProgressLine == n.ProgressText {
		return ""
	}
	return n.ProgressLine
}

// nodeInfo shows all that is known of a node, with what it consumes now.
func (m *Model) nodeInfo() tea.Cmd {
	n, l := m.node(), m.lab()
	state := string(n.Actual)
	if !n.Actual.Matches(n.Desired) {
		state += ", should be " + string(n.Desired)
	}
	since := ""
	if !n.Since.IsZero() {
		since = n.Since.Local().Format("2 Jan 15:04:05") + " (" + short(time.Since(n.Since)) + ")"
	}
	pid := ""
	if n.PID != 0 {
		pid = fmt.Sprint(n.PID)
	}
	text := facts("state", state, "since", since, "error", n.Error, "boot", bootText(n), "earned by", earnedBy(n), "kind", n.Kind, "image", n.Image, "group", n.Group,
		"provider", n.Provider, "identifier", n.Identifier, "management", strings.TrimSpace(n.ManagementIPv4+" "+n.ManagementIPv6), "pid", pid, "screen", n.Screen)
	text = append(text, m.tried(l, n)...)
	text = append(text, facts("drift", m.driftText(n.Drift))...)
	var links []string
	for _, k := range l.Links {
		a, b := k.A, k.B
		if strings.HasPrefix(b, n.Name+":") {
			a, b = b, a
		}
		if strings.HasPrefix(a, n.Name+":") {
			_, iface, _ := strings.Cut(a, ":")
			links = append(links, fmt.Sprintf("  %-10s %s %s  %s", iface, m.glyphs.Arrow, b, m.linkState(k)))
		}
	}
	name, labName := n.Name, l.Name
	return m.ask("about "+name, func(ctx context.Context, e api.Engine) resultMsg {
		if stats, err := e.Stats(ctx, labName); err == nil {
			for _, s := range stats {
				if s.Node == name {
					text = append(text, facts("consumes", fmt.Sprintf("%s of memory, %s of CPU since its start, %s", bytes(s.Memory), short(s.CPU), plural(s.Processes, "process")))...)
				}
			}
		}
		if len(links) > 0 {
			text = append(append(text, "", "links"), links...)
		}
		return resultMsg{title: name, text: text}
	})
}

// tried says how often a node was tried in vain, and why while its error is not shown.
func (m *Model) tried(l *api.Lab, n *api.Node) []string {
	text := tries(n.Retries, n.RetryAt)
	if n.Retries == 0 || n.Error != "" {
		return text
	}
	for _, e := range slices.Backward(m.snap.Events) {
		if e.Lab == l.Name && e.Node == n.Name && e.Level == api.LevelError {
			return append(text, facts("because", e.Text)...)
		}
	}
	return text
}

// tries says how often something was tried in vain, and when next.
func tries(n int, at time.Time) []string {
	if n == 0 {
		return nil
	}
	text := api.Times(n)
	if left := time.Until(at); left > 0 {
		text += ", next in " + short(left)
	}
	return facts("tried", text)
}

func (m *Model) driftText(d api.Drift) string {
	switch {
	case d.Held && d.Left:
		return fmt.Sprintf("%s; left so: %s sets it right", d.What, m.keyOf("set right"))
	case d.Held:
		return fmt.Sprintf("%s; left alone: %s sets it right, %s leaves it", d.What, m.keyOf("set right"), m.keyOf("leave so"))
	}
	return d.What
}

// linkInfo shows all that is known of a link; of one that is a tunnel also what
// is known of that at this moment.
func (m *Model) linkInfo() tea.Cmd {
	k := m.link()
	vlan, mtu := "", ""
	if k.VLAN != 0 {
		vlan = fmt.Sprint(k.VLAN)
	}
	if k.MTU != 0 {
		mtu = fmt.Sprint(k.MTU)
	}
	text := facts("ends", k.A+" -- "+k.B, "state", string(k.Actual), "should be", string(k.Desired),
		"carrier", string(k.Carrier), "worsened by", impairText(k), "made by", k.Network, "VLAN", vlan, "MTU", mtu, "error", k.Error, "drift", m.driftText(k.Drift))
	text = append(text, tries(k.Retries, k.RetryAt)...)
	keys := []string{"", fmt.Sprintf("%s cuts it, %s joins it, %s worsens it, %s removes it.", m.keyOf("cut"), m.keyOf("join"), m.keyOf("worsen a link"), m.keyOf("remove"))}
	end, err := lab.ParseEndpoint(k.A)
	if err != nil || !k.Outside.Tunnel() {
		m.push(&message{title: "link", text: append(text, keys...)})
		return nil
	}
	req := api.TrafficRequest{Lab: m.labName, Ends: []lab.Endpoint{end}, Tunnels: true}
	return m.ask("about "+k.A, func(ctx context.Context, e api.Engine) resultMsg {
		if found, err := e.Traffic(ctx, req); err == nil && len(found) == 1 && found[0].Tunnel != nil {
			text = append(text, tunnelFacts(found[0].Tunnel)...)
		}
		return resultMsg{title: "link", text: append(text, keys...)}
	})
}

// tunnelFacts are where a tunnel leads, what fits through it and what has passed.
func tunnelFacts(t *api.Tunnel) []string {
	return append([]string{"", "tunnel"}, facts("state", string(t.State), "VNI", fmt.Sprint(t.VNI), "remote", t.Remote, "from", t.From(),
		"UDP port", fmt.Sprint(t.UDPPort), "MTU", t.Fits()+" bytes on the way", "sent", t.Out(), "received", t.In(), "about", t.About())...)
}

func (m *Model) readEvent() {
	events := m.shownEvents()
	if m.events.at >= len(events) {
		return
	}
	e := events[m.events.at]
	m.push(&message{title: e.Time.Local().Format("2 Jan 15:04:05"), text: append(facts("lab", e.Lab, "node", e.Node, "link", e.Link, "level", string(e.Level)), "", clean(e.Text))})
}
