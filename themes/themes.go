// Package themes knows the colours and glyphs of the screen, from data files.
package themes

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/goccy/go-yaml"

	"archetype/internal/bounded"
	"archetype/lab"
)

//go:embed *.yaml
var builtin embed.FS

// Role is a use that colours are given to; nothing else names a colour.
type Role string

// The roles. Every theme colours all of them.
const (
	Text         Role = "text"
	Dim          Role = "dim"
	Accent       Role = "accent"
	Title        Role = "title"
	Border       Role = "border"
	BorderFocus  Role = "border_focus"
	Selection    Role = "selection"
	Key          Role = "key"
	Good         Role = "good"
	Busy         Role = "busy"
	Bad          Role = "bad"
	Idle         Role = "idle"
	LinkUp       Role = "link_up"
	LinkBusy     Role = "link_busy"
	LinkDown     Role = "link_down"
	LinkBad      Role = "link_bad"
	LinkSelected Role = "link_selected"
)

// Roles lists all roles.
func Roles() []Role {
	return []Role{Text, Dim, Accent, Title, Border, BorderFocus, Selection, Key, Good, Busy, Bad, Idle,
		LinkUp, LinkBusy, LinkDown, LinkBad, LinkSelected}
}

// Theme gives each role its style.
type Theme struct {
	Name   string
	Dark   bool
	styles map[Role]lipgloss.Style
}

type file struct {
	Name  string         `yaml:"name"`
	Dark  bool           `yaml:"dark"`
	Roles map[Role]paint `yaml:"roles"`
}

type paint struct {
	FG      string `yaml:"fg"`
	BG      string `yaml:"bg"`
	Bold    bool   `yaml:"bold"`
	Reverse bool   `yaml:"reverse"`
}

var hex = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// maxFile bounds a theme, in bytes.
const maxFile = 1 << 20

// Load returns the theme of that name: one of the user's folder, or one that
// comes with the program.
func Load(name, userDir string) (*Theme, error) {
	if userDir != "" {
		path := filepath.Join(userDir, filepath.Base(name)+".yaml")
		data, err := bounded.ReadFile(path, maxFile)
		if err == nil {
			return parse(path, data)
		}
		if !os.IsNotExist(err) {
			return nil, err
		}
	}
	data, err := builtin.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("no theme %s: there are %s, and those in %s", name, strings.Join(Names(), ", "), userDir)
	}
	return parse(name+".yaml", data)
}

// Names lists the themes that come with the program.
func Names() []string {
	entries, err := builtin.ReadDir(".")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

func parse(path string, data []byte) (*Theme, error) {
	var f file
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	t := &Theme{Name: f.Name, Dark: f.Dark, styles: map[Role]lipgloss.Style{}}
	for role, p := range f.Roles {
		if !slices.Contains(Roles(), role) {
			return nil, fmt.Errorf("%s: no role is called %s", path, role)
		}
		s := lipgloss.NewStyle().Bold(p.Bold).Reverse(p.Reverse)
		for _, c := range []struct {
			value string
			set   func(string)
		}{
			{p.FG, func(v string) { s = s.Foreground(lipgloss.Color(v)) }},
			{p.BG, func(v string) { s = s.Background(lipgloss.Color(v)) }},
		} {
			if c.value == "" {
				continue
			}
			if !hex.MatchString(c.value) {
				return nil, fmt.Errorf("%s: role %s: colour %q: write it as #rrggbb", path, role, c.value)
			}
			c.set(c.value)
		}
		t.styles[role] = s
	}
	for _, role := range Roles() {
		if _, ok := t.styles[role]; !ok {
			return nil, fmt.Errorf("%s: role %s has no colour", path, role)
		}
	}
	return t, nil
}

// Style is that of a role.
func (t *Theme) Style(r Role) lipgloss.Style { return t.styles[r] }

// Plain is the theme for terminals without colour: what colour would say is
// said by bold and reverse, and by the shape of glyphs.
func (t *Theme) Plain() *Theme {
	out := &Theme{Name: t.Name, Dark: t.Dark, styles: map[Role]lipgloss.Style{}}
	for _, r := range Roles() {
		s := lipgloss.NewStyle()
		switch r {
		case Selection, Title:
			s = s.Reverse(true)
		case Accent, BorderFocus, Key, Bad, LinkSelected, LinkBad:
			s = s.Bold(true)
		}
		out.styles[r] = s
	}
	return out
}

// Node is the role of a node's state.
func Node(s lab.NodeState) Role {
	switch s {
	case lab.NodeRunning:
		return Good
	case lab.NodeError, lab.NodePaused:
		return Bad
	case lab.NodeStopped, lab.NodeUndeployed:
		return Idle
	}
	return Busy
}

// Link is the role of a link's state.
func Link(s lab.LinkState) Role {
	switch s {
	case lab.LinkUp:
		return LinkUp
	case lab.LinkError:
		return LinkBad
	case lab.LinkDown, lab.LinkUnknown:
		return LinkDown
	}
	return LinkBusy
}

// Lab is the role of a lab's state.
func Lab(s lab.State) Role {
	switch s {
	case lab.StateRunning:
		return Good
	case lab.StateError, lab.StateDegraded:
		return Bad
	case lab.StateStopped, lab.StateUnknown:
		return Idle
	}
	return Busy
}

// Job is the role of a job's state.
func Job(s lab.JobState) Role {
	switch s {
	case lab.JobCompleted:
		return Good
	case lab.JobFailed:
		return Bad
	case lab.JobCancelled:
		return Idle
	}
	return Busy
}

// All lists the themes there are: those that come with the program, and those
// of the user's folder.
func All(userDir string) []string {
	out := Names()
	files, err := filepath.Glob(filepath.Join(userDir, "*.yaml"))
	if userDir == "" || err != nil {
		return out
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".yaml"); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
