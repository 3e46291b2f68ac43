package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/internal/packets"
	"archetype/lab"
	"archetype/themes"
)

// What is kept of a capture: packets, and bytes of them.
const (
	keepPackets = 20000
	keepBytes   = 32 << 20
)

// captureView shows the packets that pass an end of a link.
type captureView struct {
	end    string
	cancel func()
	told   atomic.Bool

	mu    sync.Mutex
	fresh []*packets.Packet // read, but not yet shown
	ended string
	file  *os.File // that they are written to, nil while they are not
	out   *packets.Writer
	wrote int
	// missed went from fresh before they were looked at, lost the kernel had no
	// room for.
	missed, lost int

	all    []*packets.Packet
	bytes  int
	gone   int // packets that are kept no more
	filter string
	match  []*packets.Packet // of all, as far as looked, those that the filter shows
	looked int
	by     string // the filter that they were looked through by
	list   list
	follow bool
	h      int
}

type captureMsg struct{ v *captureView }

// captureKeys are the keys of a capture, for the footer and the help.
var captureKeys = []viewKey{
	{"esc", "back", "end the capture, back to the lab; first without the filter, if there is one"},
	{"enter", "whole packet", "all that is in the packet, layer by layer"},
	{"f", "follow", "follow what comes, or stay"},
	{"/", "filter", "show only packets with these words; ! turns it round"},
	{"w", "write", "write what was captured and what comes to a pcap file, or no longer"},
	{"c", "clear", "forget what was captured"},
	{"j k", "choose", "packet by packet; space, pgup and pgdown by pages"},
	{"g G", "ends", "to the first packet and the last"},
	{"q", "", "back to the lab, too"},
	{"?", "help", "these keys"},
}

func (v *captureView) keys() []viewKey { return captureKeys }

func (v *captureView) off(key string) bool { return key == "enter" && len(v.all) == 0 }

// capturePicker captures at the link that is chosen or, from a node, at one
// of its interfaces.
func (m *Model) capturePicker() tea.Cmd {
	var ends []string
	var items []pickItem
	add := func(end, other string) {
		ends = append(ends, end)
		items = append(items, pickItem{name: end, about: m.glyphs.Arrow + " " + other})
	}
	if m.focus == paneLinks {
		k := m.link()
		add(k.A, k.B)
		if k.Outside == "" {
			add(k.B, k.A)
		}
	} else {
		for _, k := range m.cables(m.node(), "") {
			if strings.HasPrefix(k.A, m.node().Name+":") {
				add(k.A, k.B)
			} else {
				add(k.B, k.A)
			}
		}
	}
	if len(ends) == 1 {
		return m.openCapture(ends[0])
	}
	m.push(newPicker("capture at which end?", items, func(m *Model, i int) tea.Cmd { return m.openCapture(ends[i]) }))
	return nil
}

func needEnd(m *Model) string {
	switch {
	case onLinks(m) && m.link() == nil:
		return "no link is selected"
	case !onLinks(m) && m.node() == nil:
		return "no node is selected"
	case !onLinks(m) && len(m.cables(m.node(), "")) == 0:
		return m.node().Name + " has no link"
	}
	return ""
}

func (m *Model) openCapture(name string) tea.Cmd {
	e := m.engine
	end, err := lab.ParseEndpoint(name)
	switch {
	case e == nil:
		m.say(false, "there is no engine at the moment")
		return nil
	case err != nil:
		m.say(false, err.Error())
		return nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	v := &captureView{end: name, cancel: cancel, follow: true}
	m.capture, m.screen = v, screenCapture
	req, send := api.CaptureRequest{Lab: m.labName, End: end}, m.send
	go m.guard(func() {
		tell := func() {
			if v.told.CompareAndSwap(false, true) {
				time.AfterFunc(frameTime, func() { send(captureMsg{v}) })
			}
		}
		err := v.read(ctx, e, req, tell)
		v.mu.Lock()
		v.ended = "it has ended: the interface went down, or away"
		if err != nil && !errors.Is(err, io.EOF) {
			v.ended = err.Error()
		}
		v.mu.Unlock()
		tell()
	})
	return nil
}

func (v *captureView) read(ctx context.Context, e api.Engine, req api.CaptureRequest, tell func()) error {
	stream, err := e.Capture(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	r, err := packets.NewReader(stream)
	for err == nil {
		var p *packets.Packet
		if p, err = r.Next(); err == nil {
			v.take(p)
			tell()
		}
	}
	return err
}

// take keeps a packet and, if that is wished for, writes it.
func (v *captureView) take(p *packets.Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lost += p.Lost; p.Lost > 0 {
		return
	}
	v.fresh = append(v.fresh, p)
	if len(v.fresh) > 2*keepPackets { // more than is kept comes between two looks
		v.missed += keepPackets
		v.fresh = append(v.fresh[:0], v.fresh[keepPackets:]...)
	}
	v.put(p)
}

func (v *captureView) put(p *packets.Packet) {
	if v.out == nil {
		return
	}
	if err := v.out.Write(p); err != nil {
		v.ended = "the file: " + err.Error()
		_ = v.file.Close()
		v.file, v.out = nil, nil
		return
	}
	v.wrote++
}

func (v *captureView) close() {
	v.cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		_ = v.file.Close()
		v.file, v.out = nil, nil
	}
}

func (m *Model) captureEvent(msg captureMsg) {
	v := msg.v
	v.told.Store(false)
	v.mu.Lock()
	fresh := v.fresh
	v.gone += v.missed
	v.fresh, v.missed = nil, 0
	v.mu.Unlock()
	for _, p := range fresh {
		v.bytes += p.Length
	}
	v.all = append(v.all, fresh...)
	drop := 0
	for drop < len(v.all) && (len(v.all)-drop > keepPackets || v.bytes > keepBytes) {
		v.bytes -= v.all[drop].Length
		drop++
	}
	if drop > 0 {
		rows := v.drop(v.all[:drop])
		v.all = append([]*packets.Packet(nil), v.all[drop:]...)
		v.gone += drop
		v.list.at, v.list.top = max(0, v.list.at-rows), max(0, v.list.top-rows)
	}
}

func (v *captureView) shown() []*packets.Packet {
	if v.filter == "" {
		return v.all
	}
	if v.by != v.filter {
		v.by = v.filter
		v.lookAnew()
	}
	for ; v.looked < len(v.all); v.looked++ {
		if p := v.all[v.looked]; matches(v.filter, p.Source, p.Destination, p.Protocol, p.Info) {
			v.match = append(v.match, p)
		}
	}
	return v.match
}

// lookAnew forgets what the filter has shown.
func (v *captureView) lookAnew() { v.match, v.looked = nil, 0 }

// drop forgets the first of all packets, and says how many of them are shown.
func (v *captureView) drop(old []*packets.Packet) (rows int) {
	v.looked = max(0, v.looked-len(old))
	for _, p := range old {
		if len(v.match) > 0 && v.match[0] == p {
			v.match = v.match[1:]
			rows++
		}
	}
	if v.filter == "" {
		return len(old)
	}
	return rows
}

func (v *captureView) move(by int) {
	n := len(v.shown())
	v.list.move(by, n)
	v.follow = v.follow && by > 0 && v.list.at == n-1
}

func (v *captureView) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	switch name {
	case "space", "ctrl+f":
		name = "pgdown"
	case "ctrl+b":
		name = "pgup"
	}
	switch name {
	case "esc", "q":
		if v.filter != "" && name == "esc" {
			v.filter = ""
			return nil
		}
		v.close()
		m.capture, m.screen = nil, screenMain
		if v.wrote > 0 {
			m.say(true, plural(v.wrote, "packet")+" written")
		}
	case "ctrl+c":
		return tea.Quit
	case "enter":
		if rows := v.shown(); v.list.at < len(rows) {
			p := rows[v.list.at]
			m.push(&message{title: "packet of " + fmt.Sprint(p.Length) + " bytes", text: append([]string{p.String(), ""}, p.Layers()...)})
		}
	case "f":
		v.follow = !v.follow
	case "w":
		return v.write(m)
	case "c":
		v.all, v.bytes, v.gone = nil, 0, 0
		v.lookAnew()
	case "/":
		before := v.filter
		m.push(&prompt{title: "filter the packets", text: "Words that must be in a packet's line; ! in front: that must not.", in: newInput(v.filter), low: true,
			change: func(_ *Model, s string) { v.filter = s },
			done:   func(_ *Model, s string) tea.Cmd { v.filter = s; return nil },
			cancel: func(*Model) { v.filter = before }})
	case "?":
		return m.help()
	case "ctrl+p":
		m.say(false, "commands work in the lab: esc goes there")
	default:
		if n := len(v.shown()); v.list.key(name, n, v.h) {
			v.follow = v.list.at == n-1 && (name == "G" || name == "end" || v.follow)
		}
	}
	return nil
}

// write asks for a file, or ends the one that is written.
func (v *captureView) write(m *Model) tea.Cmd {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		m.say(true, fmt.Sprintf("%s written to %s", plural(v.wrote, "packet"), v.file.Name()))
		_ = v.file.Close()
		v.file, v.out = nil, nil
		return nil
	}
	name := m.labName + "-" + strings.ReplaceAll(v.end, ":", "-") + ".pcap"
	m.push(&prompt{title: "write to which pcap file?", text: "What was captured and what comes; a file of that name is kept.", in: newInput(name), low: true,
		suggest: suggestPaths, done: func(m *Model, path string) tea.Cmd {
			if err := v.begin(expand(path)); err != nil {
				m.say(false, err.Error())
			}
			return nil
		}})
	return nil
}

func (v *captureView) begin(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.out, err = packets.NewWriter(f); err != nil {
		return errors.Join(err, f.Close())
	}
	v.file, v.wrote = f, 0
	for _, list := range [][]*packets.Packet{v.all, v.fresh} {
		for _, p := range list {
			v.put(p)
		}
	}
	return nil
}

func (v *captureView) lines(m *Model, w, h int) []string {
	rows := v.shown()
	v.h = h - 3
	if v.follow {
		v.list.at = len(rows) - 1
	}
	v.list.fit(len(rows), v.h)
	from, to := 11, 11
	for i := v.list.top; i < len(rows) && i < v.list.top+v.h; i++ {
		from, to = max(from, len(rows[i].Source)), max(to, len(rows[i].Destination))
	}
	from, to = min(from, max(11, w/5)), min(to, max(11, w/5))
	format := "15:04:05.000000"
	if w < wideW {
		format = "15:04:05.000"
	}
	line := func(at, source, destination, protocol, info string) string {
		return m.fit(at, len(format)) + "  " + m.fit(source, from) + "  " + m.fit(destination, to) + "  " + m.fit(protocol, 8) + "  " + info
	}
	out := []string{m.fit(m.paint(themes.Dim, " "+line("time", "source", "destination", "protocol", "info")), w-2)}
	for i := v.list.top; i < len(rows) && i < v.list.top+v.h; i++ {
		p := rows[i]
		text := line(p.Time.Local().Format(format), p.Source, p.Destination, p.Protocol, p.Info)
		if i == v.list.at {
			out = append(out, m.chosen(text, w-2, true))
		} else {
			out = append(out, m.fit(" "+text, w-2))
		}
	}
	if len(rows) == 0 {
		text := "nothing has passed yet"
		if v.filter != "" && len(v.all) > 0 {
			text = "no packet matches; esc shows all"
		}
		out = append(out, m.fit(m.paint(themes.Dim, " "+text), w-2))
	}
	return m.frame("capture at "+v.end+filtered(v.filter), v.foot(len(rows)), out, w, h, true)
}

func (v *captureView) foot(rows int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := plural(len(v.all)+v.gone, "packet")
	if v.gone > 0 {
		text += fmt.Sprintf(", the first %d no longer kept", v.gone)
	}
	if v.lost > 0 {
		text += fmt.Sprintf(", %d lost: more came than could be taken", v.lost)
	}
	if rows != len(v.all) {
		text += fmt.Sprintf(", %d shown", rows)
	}
	if v.file != nil {
		text += fmt.Sprintf(", %d written to %s", v.wrote, tilde(v.file.Name()))
	}
	switch {
	case v.ended != "":
		return text + ", " + clean(v.ended)
	case v.follow:
		return text + ", follows"
	}
	return text
}

func (v *captureView) mouse(e tea.Mouse, clicked, turned bool) {
	if turned {
		v.move(wheelBy(e))
	} else if i := v.list.top + e.Y - 3; clicked && e.Y >= 3 && i < len(v.shown()) {
		v.list.at, v.follow = i, false
	}
}
