package ui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/internal/keys"
	"archetype/lab"
	"archetype/settings"
	"archetype/themes"
)

// settingRows are all settings, in their order.
func (m *Model) settingRows() []setting {
	fixed := func(text string) func(*Model) string { return func(*Model) string { return text } }
	c := m.opt.Choices
	out := []setting{
		{head: "new labs", name: "provider", value: fixed(c.Provider),
			about: "What runs the nodes of a lab whose file, kinds and command line name no other.",
			choices: func(m *Model) []choice {
				return inUse(m.settings.available(api.TypeProvider), c.Provider)
			}, set: m.saver("provider", "new labs run on %s")},
		{name: "network", value: fixed(c.Network),
			about:   "What makes the links of new labs.",
			choices: func(m *Model) []choice { return inUse(m.settings.available(api.TypeNetwork), c.Network) },
			set:     m.saver("network", "new labs are wired by %s")},
		{name: "ovs mode", value: fixed(c.OVS.Mode),
			about: "How Open vSwitch is used. It counts from the engine's next start: when no lab is deployed and nobody looks.",
			choices: func(*Model) []choice {
				return []choice{{value: "shared", about: "one bridge for all labs"}, {value: "dedicated", about: "one bridge a lab"}}
			}, set: m.saver("ovs.mode", "ovs mode %s from the engine's next start")},
		{name: "ovs datapath", value: fixed(c.OVS.Datapath),
			about: "Who carries frames of Open vSwitch's bridges that are made from the engine's next start on; one that is there keeps its own.",
			choices: func(*Model) []choice {
				return []choice{{value: "auto", about: "the kernel where it can, else the switch itself"}, {value: "kernel", about: "the kernel, or no links"},
					{value: "userspace", about: "the switch itself"}}
			}, set: m.saver("ovs.datapath", "ovs datapath %s from the engine's next start")},
		{name: "boot timeout", value: fixed(c.BootTimeout.String()),
			about: "How long a node may take to boot whose kind names no time, such as 5m or 90s. It counts from the next deploy.",
			set: func(m *Model, v string) tea.Cmd {
				d, err := time.ParseDuration(v)
				if err != nil || d < time.Second {
					m.say(false, "boot timeout: "+v+" is no time of a second or more, such as 5m or 90s")
					return nil
				}
				return m.saver("boot_timeout", "boot timeout %s from the next deploy")(m, d.String())
			}},
	}
	out = append(out, setting{name: "drift", value: fixed(string(c.Drift)),
		about:   "What is done about what is otherwise than wanted though nobody asked for it: a node that died or was paused, a link that came apart. It counts for new labs.",
		choices: func(*Model) []choice { return policyChoices(c.Drift) },
		set:     m.saver("drift", "drift in new labs: %s")})
	if l := m.snapLab(m.settings.lab); l != nil {
		out = append(out, m.labRowsOf(l)...)
	}
	out = append(append(out, m.screenSettings(c)...), m.folderSettings()...)
	return append(out, m.retrySettings(c)...)
}

// retrySettings say when what failed is tried again.
func (m *Model) retrySettings(c settings.Choices) []setting {
	r := c.Retry
	duration := func(key string, is time.Duration, about string) setting {
		name := strings.NewReplacer(".", " ", "_", " ").Replace(key)
		return setting{name: name, value: func(*Model) string { return is.String() }, about: about + " It counts from the next deploy.",
			set: func(m *Model, v string) tea.Cmd {
				if _, err := time.ParseDuration(v); err != nil {
					m.say(false, name+": "+v+" is no time, such as 90s or 5m")
					return nil
				}
				return m.saver(key, name+" %s from the next deploy")(m, v)
			}}
	}
	first := duration("retry.first", r.First, "After how long what failed or drifted is tried again; each time after twice as long.")
	first.head = "tries"
	return []setting{first,
		duration("retry.cap", r.Cap, "The longest pause between two tries."),
		{name: "retry tries", value: func(*Model) string { return strconv.Itoa(r.Tries) }, about: "How many tries in a row there are before a rest. It counts from the next deploy.",
			set: m.saver("retry.tries", "retry tries %s from the next deploy")},
		duration("retry.rest", r.Rest, "How long it rests then, before the tries begin anew."),
		duration("retry.healthy", r.Healthy, "After how long of being well earlier failures are forgotten."),
		duration("look_every", c.LookEvery, "How much time is between two looks at everything, for what no backend has told of."),
	}
}

// labRowsOf are what can be chosen for a lab that is deployed.
func (m *Model) labRowsOf(l *api.Lab) []setting {
	name := l.Name
	return []setting{
		{head: "lab " + name, name: "provider", value: func(*Model) string { return l.Provider },
			about: "What runs its nodes. It stays for as long as the lab does.",
			choices: func(m *Model) []choice {
				out := m.settings.available(api.TypeProvider)
				for i := range out {
					if out[i].value == l.Provider {
						out[i] = choice{value: l.Provider, about: "in use"}
					} else if out[i].why == "" {
						out[i].why, out[i].fix = "running nodes cannot be moved", "destroy the lab and deploy it with another provider for new labs"
					}
				}
				return out
			},
			set: func(*Model, string) tea.Cmd { return nil }},
		{name: "network", value: func(*Model) string { return l.Network },
			about: "What makes its links. They move to another one at a time while the nodes run; nothing crosses a link for the moment that it takes.",
			choices: func(m *Model) []choice {
				out := m.settings.available(api.TypeNetwork)
				for i := range out {
					if out[i].value == l.Network {
						out[i] = choice{value: l.Network, about: "in use"}
					}
				}
				return out
			},
			set: func(m *Model, v string) tea.Cmd { return m.useNetwork(name, v) }},
		{name: "drift", value: func(*Model) string { return string(l.Policy) },
			about:   "What is done about what is otherwise than wanted though nobody asked for it.",
			choices: func(*Model) []choice { return policyChoices(l.Policy) },
			set:     func(m *Model, v string) tea.Cmd { return m.setPolicy(name, lab.Policy(v)) }},
	}
}

// screenSettings are those that only this screen heeds.
func (m *Model) screenSettings(c settings.Choices) []setting {
	before, auto := m.theme, m.autoTheme
	return []setting{
		{head: "screen", name: "theme", value: func(*Model) string { return c.Theme },
			about: "The colours. auto follows the terminal's background; files in " + m.opt.ThemesDir + " add more.",
			choices: func(m *Model) []choice {
				out := []choice{{value: "auto", about: "light or dark, as the terminal is"}}
				for _, name := range themes.All(m.opt.ThemesDir) {
					out = append(out, choice{value: name})
				}
				return inUse(out, c.Theme)
			},
			set:    (*Model).keepTheme,
			moved:  (*Model).tryTheme,
			cancel: func(m *Model) { m.setTheme(before); m.autoTheme = auto }},
		{name: "glyphs", value: func(*Model) string { return c.Glyphs },
			about: "The shapes of states, links and frames.",
			choices: func(*Model) []choice {
				return []choice{{value: "auto", about: "as the locale says"}, {value: "utf8", about: "● ◐ ○ ━ ┄"}, {value: "ascii", about: "@ % o = :, for any terminal and font"}}
			},
			set: func(m *Model, v string) tea.Cmd {
				m.glyphs = themes.GlyphsFor(v)
				m.canvas.SetGlyphs(m.glyphs)
				return m.saver("glyphs", "glyphs %s")(m, v)
			}},
		{name: "console key", value: func(*Model) string { return m.opt.ConsoleKey },
			about: "The key that a console does not pass on to its node: it leaves it, and leads to others. Write it as ctrl+].",
			set: func(m *Model, v string) tea.Cmd {
				prefix, err := keys.Parse(v)
				if err != nil {
					m.say(false, "console key: "+err.Error())
					return nil
				}
				m.prefix, m.opt.ConsoleKey = prefix, v
				return m.saver("console_key", "console key %s")(m, v)
			}},
		{name: "key set", value: (*Model).keySet, about: "The keys of all actions, each of which can have another one.", open: (*Model).keySetPicker},
	}
}

// available are the providers or networks, each with whether it can be used.
func (v *settingsView) available(sort string) []choice {
	if v.backends == nil {
		return []choice{{value: "", about: "looking at what there is"}}
	}
	var out []choice
	for _, b := range v.backends {
		if b.Type != sort {
			continue
		}
		c := choice{value: b.Name, about: b.Detail}
		if !b.OK {
			c.why, c.fix = b.Reason, b.Fix
		}
		out = append(out, c)
	}
	// What can be used comes first, and stays in sight however much cannot.
	slices.SortStableFunc(out, func(a, b choice) int {
		switch {
		case (a.why == "") == (b.why == ""):
			return 0
		case a.why == "":
			return -1
		}
		return 1
	})
	return out
}

// inUse marks what a setting is set to.
func inUse(all []choice, value string) []choice {
	for i := range all {
		if all[i].value != value || all[i].why != "" {
			continue
		}
		if all[i].about != "" {
			all[i].about = "; " + all[i].about
		}
		all[i].about = "in use" + all[i].about
	}
	return all
}

// saver saves a setting and says so; format has one %s for the value.
func (m *Model) saver(key, format string) func(*Model, string) tea.Cmd {
	return func(m *Model, value string) tea.Cmd {
		save := m.opt.Save
		if save == nil || value == "" {
			return nil
		}
		return func() tea.Msg {
			return command(func() resultMsg {
				c, err := save(key, value)
				if err != nil {
					return resultMsg{what: "not saved", err: err}
				}
				return resultMsg{say: fmt.Sprintf(format, value), pick: func(m *Model) { m.opt.Choices = c }}
			})
		}
	}
}

// keepTheme uses a theme from now on.
func (m *Model) keepTheme(name string) tea.Cmd {
	if !m.tryThemeTold(name) {
		return nil
	}
	cmds := []tea.Cmd{m.saver("theme", "theme %s")(m, name)}
	if m.autoTheme {
		cmds = append(cmds, tea.RequestBackgroundColor)
	}
	return tea.Batch(cmds...)
}

// tryTheme shows one for as long as it is looked at.
func (m *Model) tryTheme(name string) {
	m.tryThemeTold(name)
	m.flash = ""
}

func (m *Model) tryThemeTold(name string) bool {
	if m.colourless {
		m.say(false, "theme: NO_COLOR is set")
		return false
	}
	m.autoTheme = name == "auto"
	if m.autoTheme {
		name = "dark" // until the terminal has said what it is
	}
	t, err := themes.Load(name, m.opt.ThemesDir)
	if err != nil {
		m.say(false, err.Error())
		return false
	}
	m.setTheme(t)
	return true
}
