package ui

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
)

// openFile deploys a file that is not deployed yet, and shows one that is.
func (m *Model) openFile(file string) tea.Cmd {
	env := m.opt.Env
	return m.ask("open "+filepath.Base(file), func(ctx context.Context, e api.Engine) resultMsg {
		req := api.DeployRequest{File: file, Env: env}
		plan, err := e.Plan(ctx, req)
		if err != nil {
			return resultMsg{err: err}
		}
		if !plan.New {
			say := ""
			if !plan.Empty() {
				say = "the file differs from what runs: D applies it"
			}
			return resultMsg{open: plan.Lab, say: say}
		}
		d, err := e.Deploy(ctx, req)
		if err != nil {
			return resultMsg{err: err}
		}
		return resultMsg{open: d.Plan.Lab, job: d.Job, say: warned(d.Warnings)}
	})
}

func warned(ws []api.Diagnostic) string {
	switch len(ws) {
	case 0:
		return ""
	case 1:
		return ws[0].Message
	}
	return fmt.Sprintf("%s (and %d more: archetype check says all)", ws[0].Message, len(ws)-1)
}

// deploy shows what a file would change, and does it when that is wanted.
func (m *Model) deploy(file string) tea.Cmd {
	env := m.opt.Env
	if abs, err := filepath.Abs(expand(file)); err == nil {
		file = abs
	}
	plan := m.ask("deploy "+filepath.Base(file), func(ctx context.Context, e api.Engine) resultMsg {
		p, err := e.Plan(ctx, api.DeployRequest{File: file, Env: env})
		if err != nil {
			return resultMsg{err: err}
		}
		if !p.New && p.Empty() {
			return resultMsg{open: p.Lab, say: p.Lab + ": nothing changed"}
		}
		if p.New || len(p.NodesChanged)+len(p.NodesRemoved)+len(p.LinksChanged)+len(p.LinksRemoved) == 0 {
			d, err := e.Deploy(ctx, api.DeployRequest{File: file, Env: env})
			if err != nil {
				return resultMsg{err: err}
			}
			return resultMsg{open: d.Plan.Lab, job: d.Job, say: warned(d.Warnings)}
		}
		return resultMsg{title: file, text: planLines(p), open: p.Lab}
	})
	if plan == nil {
		return nil
	}
	return func() tea.Msg {
		r, ok := plan().(resultMsg)
		if ok && r.text != nil {
			return planMsg{file: file, lab: r.open, lines: r.text}
		}
		return r
	}
}

// planMsg is a difference that takes something away: it is asked about.
type planMsg struct {
	file, lab string
	lines     []string
}

func (m *Model) askPlan(p planMsg) {
	m.open(p.lab)
	m.push(newPicker("apply "+filepath.Base(p.file)+"?", append([]pickItem{{name: "apply", about: "make it so"}, {name: "leave it"}}, planItems(p.lines)...),
		func(m *Model, i int) tea.Cmd {
			if i != 0 {
				return nil
			}
			env := m.opt.Env
			return m.ask("deploy "+p.lab, func(ctx context.Context, e api.Engine) resultMsg {
				d, err := e.Deploy(ctx, api.DeployRequest{File: p.file, Env: env})
				if err != nil {
					return resultMsg{err: err}
				}
				return resultMsg{job: d.Job, say: warned(d.Warnings)}
			})
		}))
}

func planItems(lines []string) []pickItem {
	out := make([]pickItem, len(lines))
	for i, l := range lines {
		out[i] = pickItem{name: "  " + l}
	}
	return out
}

func planLines(p *api.Plan) []string {
	var out []string
	add := func(sign, what string, names []string) {
		for _, n := range names {
			out = append(out, sign+" "+what+" "+n)
		}
	}
	change := func(what string, cs []api.Change) {
		for _, c := range cs {
			out = append(out, "~ "+what+" "+c.Name+" ("+strings.Join(c.Fields, ", ")+")")
		}
	}
	add("+", "node", p.NodesAdded)
	change("node", p.NodesChanged)
	add("-", "node", p.NodesRemoved)
	add("+", "link", p.LinksAdded)
	change("link", p.LinksChanged)
	add("-", "link", p.LinksRemoved)
	return append(out, fmt.Sprintf("%d nodes and %d links stay as they are", p.NodesUnchanged, p.LinksUnchanged))
}

func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// deployAgain applies the file of the lab that is chosen; without one, any.
func (m *Model) deployAgain() tea.Cmd {
	if l := m.snapLab(m.target()); l != nil && l.File != "" {
		return m.deploy(l.File)
	}
	return m.importFile()
}

// How far topology files are looked for, from their folder on.
const (
	lookDeep = 3   // folders down
	lookMost = 200 // files
)

// topologyFiles finds the files near at hand, and those of the labs.
func (m *Model) topologyFiles() []string {
	seen := map[string]bool{}
	var out []string
	add := func(path string) {
		if abs, err := filepath.Abs(path); err == nil && !seen[abs] && len(out) < lookMost {
			seen[abs] = true
			out = append(out, abs)
		}
	}
	for _, l := range m.snap.Labs {
		if l.File != "" {
			add(l.File)
		}
	}
	root := m.topologiesDir()
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || strings.Count(strings.Trim(strings.TrimPrefix(path, root), "/"), "/") >= lookDeep):
			return fs.SkipDir
		case !d.IsDir() && (strings.HasSuffix(path, ".clab.yml") || strings.HasSuffix(path, ".clab.yaml")):
			add(path)
		}
		return nil
	})
	return out
}

// importFile offers the topology files near at hand, or takes a path.
func (m *Model) importFile() tea.Cmd {
	if m.snap == nil {
		m.say(false, "there is no engine at the moment")
		return nil
	}
	files := m.topologyFiles()
	deployed := map[string]string{}
	for _, l := range m.snap.Labs {
		deployed[l.File] = l.Name
	}
	items := []pickItem{{name: "another file", about: "type its path"}}
	for _, f := range files {
		about := filepath.Dir(f)
		if l := deployed[f]; l != "" {
			about = "deployed as " + l
		}
		items = append(items, pickItem{name: filepath.Base(f), about: about})
	}
	m.push(newPicker("deploy which topology file?", items, func(m *Model, i int) tea.Cmd {
		if i == 0 {
			m.filePrompt()
			return nil
		}
		return m.deploy(files[i-1])
	}))
	return nil
}

func (m *Model) filePrompt() {
	m.push(&prompt{title: "deploy", text: "Path of a topology file:", in: newInput(""), suggest: suggestPaths,
		done: func(m *Model, v string) tea.Cmd {
			if v = strings.TrimSpace(v); v == "" {
				return nil
			}
			return m.deploy(v)
		}})
}

// suggestPaths are the folders and topology files that begin like a value.
func suggestPaths(value string) []string {
	hits, err := filepath.Glob(expand(value) + "*")
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range hits {
		switch st, err := os.Stat(h); {
		case err != nil:
		case st.IsDir():
			out = append(out, h+"/")
		case strings.HasSuffix(h, ".yml") || strings.HasSuffix(h, ".yaml"):
			out = append(out, h)
		}
	}
	sort.Strings(out)
	return out
}

// tilde shortens a path in the user's home.
func tilde(path string) string {
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		if rest, ok := strings.CutPrefix(path, home+"/"); ok {
			return "~/" + rest
		}
	}
	return path
}
