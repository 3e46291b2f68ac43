package ui

import (
	"path/filepath"

	tea "charm.land/bubbletea/v2"
)

// Folder is one that the program looks into, for the settings to show.
type Folder struct{ Name, Path, About string }

// folderSettings are where files are kept and looked for.
func (m *Model) folderSettings() []setting {
	topologies := m.opt.Choices.Folders.Topologies
	if topologies == "" {
		topologies = "where the program is started"
	}
	out := []setting{
		{head: "folders", name: "topologies", value: func(*Model) string { return tilde(topologies) },
			about: "Where topology files are looked for to be imported, and where new ones are written.",
			set:   m.folderSaver("folders.topologies", "topology files are in %s")},
		{name: "configurations", value: func(*Model) string { return tilde(m.opt.ConfigsDir) },
			about: "Where configurations of nodes are kept from now on. What was saved before stays where it is.",
			set:   m.folderSaver("folders.configs", "configurations are kept in %s")},
	}
	for _, f := range m.opt.Folders {
		out = append(out, setting{name: f.Name, value: func(*Model) string { return tilde(f.Path) }, about: f.About,
			open: func(m *Model) tea.Cmd {
				m.say(false, f.Name+": this folder goes with the program's own, which ARCHETYPE_HOME moves as a whole")
				return nil
			}})
	}
	return out
}

// folderSaver saves a folder as a whole path.
func (m *Model) folderSaver(key, format string) func(*Model, string) tea.Cmd {
	return func(m *Model, v string) tea.Cmd {
		path, err := filepath.Abs(expand(v))
		if v == "" || err != nil {
			m.say(false, "write a folder's path")
			return nil
		}
		if key == "folders.configs" {
			m.opt.ConfigsDir = path
		}
		return m.saver(key, format)(m, path)
	}
}

// topologiesDir is where topology files are looked for and written.
func (m *Model) topologiesDir() string {
	if dir := m.opt.Choices.Folders.Topologies; dir != "" {
		return dir
	}
	return "."
}
