package ui

import tea "charm.land/bubbletea/v2"

// fullView is a screen that has the terminal, and all keys, to itself.
type fullView interface {
	// keys are for the footer and the help.
	keys() []viewKey
	// off reports whether one of them would do nothing at present.
	off(key string) bool
	key(m *Model, k tea.KeyPressMsg) tea.Cmd
	lines(m *Model, w, h int) []string
}

// viewKey is a key of a fullView: what the footer says, if it is there, and
// what the help does.
type viewKey struct{ key, hint, about string }

// fullView is the one that is shown, or nil.
func (m *Model) fullView() fullView {
	switch {
	case m.screen == screenLogs && m.logs != nil:
		return m.logs
	case m.screen == screenCapture && m.capture != nil:
		return m.capture
	case m.screen == screenConfigs && m.configs != nil:
		return m.configs
	case m.screen == screenSettings && m.settings != nil:
		return m.settings
	}
	return nil
}

func viewHints(v fullView) []hint {
	var out []hint
	for _, k := range v.keys() {
		if k.hint != "" {
			out = append(out, hint{k.key, k.hint, v.off(k.key)})
		}
	}
	return out
}
