package ui

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

// flow is what passed an end of a link between two looks.
type flow struct {
	api.Traffic
	at      time.Time
	out, in float64 // bits a second, negative while unknown
}

type trafficMsg struct {
	lab  string
	list []api.Traffic
	at   time.Time
}

// watchingLinks reports whether the screen shows what passes links: as with
// nodes, it is looked at only while it is seen.
func (m *Model) watchingLinks() bool {
	return m.screen == screenMain && m.focus == paneLinks && m.areas[paneLinks].w > wideRow
}

// lookLinks asks for the links in sight.
func (m *Model) lookLinks() tea.Cmd {
	links, h := m.shownLinks(), m.areas[paneLinks].h
	req := api.TrafficRequest{Lab: m.labName}
	for i := m.links.top; i < len(links) && i < m.links.top+h; i++ {
		if a, err := lab.ParseEndpoint(links[i].A); err == nil && !links[i].Leaving {
			req.Ends = append(req.Ends, a)
		}
	}
	e, ctx := m.engine, m.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, 5*lookEvery)
		defer cancel()
		list, err := e.Traffic(ctx, req)
		if err != nil {
			list = nil // it may be gone since; the next look tells
		}
		return trafficMsg{req.Lab, list, time.Now()}
	}
}

func (m *Model) trafficEvent(msg trafficMsg) tea.Cmd {
	if m.flows == nil || msg.lab != m.labName {
		m.flows = map[string]flow{}
	}
	for _, t := range msg.list {
		f := flow{t, msg.at, -1, -1}
		if old, ok := m.flows[t.End.String()]; ok && t.Sent >= old.Sent && t.Received >= old.Received {
			if d := msg.at.Sub(old.at).Seconds(); d > 0 {
				f.out, f.in = 8*float64(t.Sent-old.Sent)/d, 8*float64(t.Received-old.Received)/d
			}
		}
		m.flows[t.End.String()] = f
	}
	return tea.Tick(lookEvery, func(time.Time) tea.Msg { return lookMsg{} })
}

// The widths of a link's state and of a rate, where both stand in columns.
const stateW, rateW = 16, 11

// passing is what passes a link, there and back.
func (m *Model) passing(k *api.Link) string {
	f, ok := m.flows[k.A]
	if !ok || f.out < 0 {
		return m.fit("", 2*rateW)
	}
	return m.paint(themes.Dim, m.fit(rate(f.out), rateW)+m.fit(rate(f.in), rateW))
}

// rate is a number of bits a second, for people.
func rate(bits float64) string {
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s"} {
		if bits < 9999.5 {
			return fmt.Sprintf("%.0f %s", bits, unit)
		}
		bits /= 1000
	}
	return fmt.Sprintf("%.1f Gbit/s", bits)
}
