package ui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/internal/saved"
	"archetype/themes"
)

// configsView shows what a node is configured to do, what was kept of that
// over time, and what differs.
type configsView struct {
	lab, node string
	running   string // what it does now
	read      bool   // it was read
	err       error  // why not
	kept      []saved.Version
	texts     map[string]string // of versions that were looked at
	mark      string            // path of the version that others are compared with
	whole     bool              // the text, and not what differs
	list      list
	top       int // of the text below
	h, rows   int // of the text, and how many lines it has
}

// configsMsg is what was read or kept; nothing read leaves what is shown.
type configsMsg struct {
	v       *configsView
	running *api.Config
	kept    []saved.Version
	fresh   bool // a version was kept
	save    bool // it was asked for
	err     error
}

// configKeys are the keys of the configurations, for the footer and the help.
var configKeys = []viewKey{
	{"esc", "back", "back to the lab"},
	{"s", "save", "keep what the node is configured to do now"},
	{"space", "compare with", "compare others with this one, or no longer"},
	{"d", "whole text", "the whole text, or what differs"},
	{"r", "read again", "read the running configuration once more"},
	{"j k", "choose", "from version to version"},
	{"pgup pgdn", "scroll", "in the text below; g G to its ends"},
	{"q", "", "back to the lab, too"},
	{"?", "help", "these keys"},
}

func (v *configsView) keys() []viewKey {
	out := slices.Clone(configKeys)
	if i := slices.IndexFunc(out, func(k viewKey) bool { return k.key == "d" }); v.whole {
		out[i].hint = "differences"
	}
	return out
}

func (v *configsView) off(key string) bool { return key == "s" && !v.read }

func (m *Model) openConfigs() tea.Cmd {
	v := &configsView{lab: m.labName, node: m.node().Name, texts: map[string]string{}}
	m.configs, m.screen = v, screenConfigs
	return v.readNow(m, false)
}

// readNow reads the running configuration and, if that is asked for, keeps it.
func (v *configsView) readNow(m *Model, save bool) tea.Cmd {
	e, ctx, dir := m.engine, m.ctx, m.opt.ConfigsDir
	return func() tea.Msg {
		out := configsMsg{v: v, save: save}
		c, ok := e.(api.Caretaker)
		if !ok {
			out.err = errors.New("there is no engine at the moment")
		} else {
			out.running, out.err = c.Config(ctx, api.ConfigRequest{Lab: v.lab, Node: v.node})
		}
		if out.err == nil && save {
			_, out.fresh, out.err = saved.Keep(dir, v.lab, v.node, out.running.Text, time.Now())
		}
		kept, err := saved.List(dir, v.lab, v.node)
		out.kept, out.err = kept, errors.Join(out.err, err)
		return out
	}
}

// saveConfigs keeps the running configurations of all that are marked, or of
// the node that is chosen.
func (m *Model) saveConfigs() tea.Cmd {
	var names []string
	for _, n := range m.targets() {
		names = append(names, n.Name)
	}
	dir, labName := m.opt.ConfigsDir, m.labName
	return m.ask("save configuration", func(ctx context.Context, e api.Engine) resultMsg {
		c, ok := e.(api.Caretaker)
		if !ok {
			return resultMsg{err: errors.New("this engine reads no configurations")}
		}
		fresh := 0
		for _, name := range names {
			cfg, err := c.Config(ctx, api.ConfigRequest{Lab: labName, Node: name})
			if err != nil {
				return resultMsg{err: err}
			}
			_, isNew, err := saved.Keep(dir, labName, name, cfg.Text, time.Now())
			if err != nil {
				return resultMsg{err: err}
			}
			if isNew {
				fresh++
			}
		}
		return resultMsg{say: fmt.Sprintf("%s saved, %d as before", plural(fresh, "configuration"), len(names)-fresh)}
	})
}

func (m *Model) configsEvent(msg configsMsg) {
	v := msg.v
	v.kept, v.err = msg.kept, msg.err
	if msg.running != nil {
		v.running, v.read = msg.running.Text, true
	}
	switch {
	case m.configs != v || !msg.save:
	case msg.err != nil:
		m.say(false, "save: "+msg.err.Error())
	case msg.fresh:
		m.say(true, "saved")
	default:
		m.say(true, "it is as it was saved last: nothing new was kept")
	}
}

// text is that of a row: the first is what runs, the others what was kept.
func (v *configsView) text(row int) string {
	if row <= 0 || row > len(v.kept) {
		return v.running
	}
	k := v.kept[row-1]
	if t, ok := v.texts[k.Path]; ok {
		return t
	}
	t, err := k.Text()
	if err != nil {
		t = err.Error()
	}
	v.texts[k.Path] = t
	return t
}

// base is the row that the chosen one is compared with, 0 or less for none.
func (v *configsView) base() int {
	for i, k := range v.kept {
		if k.Path == v.mark {
			return i + 1
		}
	}
	if v.list.at < len(v.kept) {
		return v.list.at + 1
	}
	return 0
}

func (v *configsView) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	switch name {
	case "esc", "q":
		m.configs, m.screen = nil, screenMain
	case "ctrl+c":
		return tea.Quit
	case "s":
		return v.readNow(m, true)
	case "r":
		return v.readNow(m, false)
	case "d":
		v.whole, v.top = !v.whole, 0
	case "space":
		if i := v.list.at; i > 0 && i <= len(v.kept) {
			if p := v.kept[i-1].Path; v.mark == p {
				v.mark = ""
			} else {
				v.mark = p
			}
		}
	case "pgdown", "ctrl+d", "ctrl+f":
		v.top += v.h
	case "pgup", "ctrl+u", "ctrl+b":
		v.top -= v.h
	case "g", "home":
		v.top = 0
	case "G", "end":
		v.top = v.rows
	case "?":
		return m.help()
	case "ctrl+p":
		m.say(false, "commands work in the lab: esc goes there")
	default:
		if v.list.key(name, len(v.kept)+1, 1) {
			v.top = 0
		}
	}
	return nil
}

func (v *configsView) when(row int) string {
	if row <= 0 {
		return "running now"
	}
	return v.kept[row-1].At.Local().Format("2 Jan 2006 15:04:05")
}

func (v *configsView) lines(m *Model, w, h int) []string {
	high := max(3, min(len(v.kept)+1, h/3))
	v.list.fit(len(v.kept)+1, high)
	var out []string
	for i := v.list.top; i <= len(v.kept) && len(out) < high; i++ {
		mark := " "
		if i > 0 && v.kept[i-1].Path == v.mark {
			mark = m.glyphs.Mark
		}
		line := mark + m.fit(v.when(i), 22)
		switch {
		case i == 0 && v.err != nil && !v.read:
			line += m.paint(themes.Bad, clean(v.err.Error()))
		case i == 0 && !v.read:
			line += m.paint(themes.Dim, "is being read")
		default:
			line += m.paint(themes.Dim, plural(strings.Count(v.text(i), "\n"), "line"))
		}
		if i == v.list.at {
			out = append(out, m.chosen(line, w-2, true))
		} else {
			out = append(out, m.fit(" "+line, w-2))
		}
	}
	title := fmt.Sprintf("configurations of %s, %d saved", v.node, len(v.kept))
	out = m.frame(title, "", out, w, high+2, true)
	return append(out, v.content(m, w, h-high-2)...)
}

// content is the text of what is chosen, or how it differs from another.
func (v *configsView) content(m *Model, w, h int) []string {
	title, base := v.when(v.list.at), v.base()
	all := strings.Split(strings.TrimSuffix(v.text(v.list.at), "\n"), "\n")
	compared := !v.whole && base > 0 && base != v.list.at && (v.list.at > 0 || v.read)
	if compared {
		title = "from " + v.when(base) + " to " + title
		if all = saved.Diff(v.text(base), v.text(v.list.at)); all == nil {
			all = []string{"They are alike. d shows the whole text."}
		}
	}
	v.h, v.rows = h-2, len(all)
	v.top = max(0, min(v.top, len(all)-v.h))
	var out []string
	for _, line := range all[v.top:min(len(all), v.top+v.h)] {
		role := themes.Text
		switch {
		case compared && strings.HasPrefix(line, "+"):
			role = themes.Good
		case compared && strings.HasPrefix(line, "-"):
			role = themes.Bad
		case compared && strings.HasPrefix(line, "@@"):
			role = themes.Dim
		}
		out = append(out, m.fit(m.paint(role, " "+clean(strings.ReplaceAll(line, "\t", "    "))), w-2))
	}
	foot := ""
	if len(all) > v.h {
		foot = fmt.Sprintf("lines %d to %d of %d", v.top+1, min(len(all), v.top+v.h), len(all))
	}
	return m.frame(title, foot, out, w, h, false)
}
