package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"

	"archetype/engine/api"
	"archetype/internal/plain"
	"archetype/lab"
)

func (a *app) shower(asJSON bool) shower {
	switch {
	case asJSON:
		return &jsonShow{app: a}
	case isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb":
		return &barShow{out: colorprofile.NewWriter(os.Stdout, os.Environ()), plainShow: plainShow{out: a.out}}
	}
	return &plainShow{out: a.out}
}

// plainShow writes a line per change.
type plainShow struct {
	out     io.Writer
	seen    map[string]string
	planned *api.Plan
}

func (p *plainShow) plan(plan *api.Plan) {
	p.planned = plan
	fmt.Fprint(p.out, planText(plan))
}

// planText says what a deploy changes, before it does.
func planText(p *api.Plan) string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	switch {
	case p.New:
		fmt.Fprintf(&b, "%s: %s and %s to make\n", p.Lab, plural(len(p.NodesAdded), "node"), plural(len(p.LinksAdded), "link"))
		return b.String()
	case p.Empty():
		fmt.Fprintf(&b, "%s: nothing changed\n", p.Lab)
		return b.String()
	}
	fmt.Fprintf(&b, "%s: %s and %s stay as they are\n", p.Lab, plural(p.NodesUnchanged, "node"), plural(p.LinksUnchanged, "link"))
	return b.String() + changesText(p)
}

// changesText lists what a deploy changes: before, what will be, and after,
// what was.
func changesText(p *api.Plan) string {
	var b strings.Builder
	list := func(sign, what string, names []string) {
		for _, n := range names {
			fmt.Fprintf(&b, "  %s %s %s\n", sign, what, n)
		}
	}
	changed := func(what string, cs []api.Change) {
		for _, c := range cs {
			fmt.Fprintf(&b, "  ~ %s %s (%s)\n", what, c.Name, strings.Join(c.Fields, ", "))
		}
	}
	list("+", "node", p.NodesAdded)
	changed("node", p.NodesChanged)
	list("-", "node", p.NodesRemoved)
	list("+", "link", p.LinksAdded)
	changed("link", p.LinksChanged)
	list("-", "link", p.LinksRemoved)
	return b.String()
}

func (p *plainShow) update(_ *api.Snapshot, u *api.Update, job *api.Job) {
	p.warn(told(u, job))
	if p.seen == nil {
		p.seen = map[string]string{}
	}
	say := func(what, text string) {
		if p.seen[what] != text {
			p.seen[what] = text
			if !u.Full { // the first update is how things were before
				fmt.Fprintf(p.out, "%s  %-24s %s\n", clock(time.Now()), what, text)
			}
		}
	}
	for _, l := range u.Labs {
		if l.Name != job.Lab {
			continue
		}
		for _, n := range l.Nodes {
			text := string(n.Actual)
			if n.Actual == lab.NodeStarting && n.Progress > 0 {
				text = fmt.Sprintf("%s %d%% %s", text, n.Progress, n.ProgressText)
			}
			if n.Error != "" {
				text += ": " + n.Error
			}
			say(n.Name, text)
		}
		if job.Verb == lab.JobDestroy {
			continue // the links go with their nodes
		}
		for _, k := range l.Links {
			text := string(k.Actual)
			if k.Error != "" {
				text += ": " + k.Error
			}
			say(k.A+" -- "+k.B, text)
		}
	}
}

// told are the events that a person is to hear of and that no node or link
// shows as its state, such as a command of the file that failed.
func told(u *api.Update, job *api.Job) (out []*api.Event) {
	if u.Full { // how things were before
		return nil
	}
	for _, ev := range u.Events {
		own := ev.Level == api.LevelError && ev.Node == "" && ev.Link == "" && ev.Job == ""
		if ev.Lab == job.Lab && (ev.Level == api.LevelWarn || own) {
			out = append(out, ev)
		}
	}
	return out
}

func (p *plainShow) warn(events []*api.Event) {
	for _, ev := range events {
		fmt.Fprintf(p.out, "%s  %-24s %s: %s\n", clock(ev.Time), firstOf(ev.Node, ev.Link, ev.Lab), ev.Level, ev.Text)
	}
}

func (p *plainShow) end(job *api.Job, l *api.Lab, nodes []*api.Node, links []*api.Link) {
	for _, n := range nodes {
		fmt.Fprintf(p.out, "node %s is %s%s\n", n.Name, n.Actual, because(n.Error))
	}
	for _, k := range links {
		fmt.Fprintf(p.out, "link %s -- %s is %s%s\n", k.A, k.B, k.Actual, because(k.Error))
	}
	took := ""
	if !job.Ended.IsZero() {
		took = " after " + job.Took(job.Ended).Round(10*time.Millisecond).String()
	}
	what := string(job.Verb) + " of " + job.Lab
	if job.Target != "" {
		what += " " + job.Target
	}
	fmt.Fprintf(p.out, "%s: %s%s%s\n", what, job.State, took, because(job.Error))
	if job.Result != "" {
		fmt.Fprintln(p.out, job.Result)
	}
	if l != nil && job.Verb == lab.JobDeploy && job.State == lab.JobCompleted {
		if p.planned != nil && !p.planned.New {
			fmt.Fprint(p.out, changesText(p.planned))
		}
		fmt.Fprintf(p.out, "%s running, %s up. Look at it with: archetype %s\n",
			plural(len(l.Nodes)-len(nodes), "node"), plural(len(l.Links)-len(links), "link"), l.File)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// barShow draws progress in place, at the bottom of what was written.
type barShow struct {
	plainShow
	out   io.Writer
	lines int
	last  time.Time
}

// frame is how often bars are drawn at most.
const frame = 50 * time.Millisecond

func (b *barShow) clear() {
	if b.lines > 0 {
		fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", b.lines)
		b.lines = 0
	}
}

func bar(percent, width int) string {
	n := max(0, min(width, percent*width/100))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

func (b *barShow) update(snap *api.Snapshot, u *api.Update, job *api.Job) {
	if events := told(u, job); len(events) > 0 {
		b.clear()
		b.warn(events)
	}
	if time.Since(b.last) < frame && !job.State.Ended() {
		return
	}
	b.last = time.Now()
	l := snap.Lab(job.Lab)
	if l == nil {
		return
	}
	cols, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		cols, rows = 80, 24
	}
	ready, up, permille := 0, 0, 0
	var busy []string
	for _, n := range l.Nodes {
		if n.Actual.Matches(n.Desired) {
			ready++
			permille += 100
			continue
		}
		if n.Actual == lab.NodeStarting {
			permille += n.Progress
		}
		if len(busy) < min(8, rows-4) {
			busy = append(busy, fmt.Sprintf("  %-16s %s %3d%%  %s", n.Name, bar(n.Progress, 20), n.Progress, firstOf(n.Error, leftAnd(n), string(n.Actual))))
		}
	}
	for _, k := range l.Links {
		if k.Actual.Matches(k.Desired) {
			up++
		}
	}
	total := 100
	if len(l.Nodes) > 0 {
		total = permille / len(l.Nodes)
	}
	lines := append([]string{fmt.Sprintf("%s %s %3d%%  %d/%d nodes  %d/%d links", job.Verb, bar(total, 30), total, ready, len(l.Nodes), up, len(l.Links))}, busy...)
	b.clear()
	for _, line := range lines {
		fmt.Fprintln(b.out, lipgloss.NewStyle().MaxWidth(cols-1).Render(plain.Text(line)))
	}
	b.lines = len(lines)
}

func (b *barShow) end(job *api.Job, l *api.Lab, nodes []*api.Node, links []*api.Link) {
	b.clear()
	b.plainShow.end(job, l, nodes, links)
}

// leftAnd is what a booting node does, after how long it will probably take.
func leftAnd(n *api.Node) string {
	if left := n.Left(time.Now()); left != "" {
		return left + "  " + n.ProgressText
	}
	return n.ProgressText
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// jsonShow writes an object per line; each has a type.
type jsonShow struct{ app *app }

func (j *jsonShow) plan(p *api.Plan) {
	_ = j.app.json(map[string]any{"type": "plan", "plan": p})
}

func (j *jsonShow) update(_ *api.Snapshot, u *api.Update, job *api.Job) {
	for _, l := range u.Labs {
		if l.Name != job.Lab {
			continue
		}
		for _, n := range l.Nodes {
			_ = j.app.json(map[string]any{"type": "node", "lab": l.Name, "node": nodeJSON(n)})
		}
		for _, k := range l.Links {
			_ = j.app.json(map[string]any{"type": "link", "lab": l.Name, "link": linkJSON(k)})
		}
	}
	for _, ev := range u.Events {
		if !u.Full && (ev.Lab == "" || ev.Lab == job.Lab) {
			_ = j.app.json(map[string]any{"type": "event", "event": ev})
		}
	}
	for _, x := range u.Jobs {
		if x.ID == job.ID {
			_ = j.app.json(map[string]any{"type": "job", "job": x})
		}
	}
}

func (j *jsonShow) end(job *api.Job, l *api.Lab, nodes []*api.Node, links []*api.Link) {
	out := map[string]any{"type": "result", "ok": job.State == lab.JobCompleted && len(nodes)+len(links) == 0,
		"state": job.State, "error": job.Error, "result": job.Result, "nodes": list(nodes, nodeJSON), "links": list(links, linkJSON)}
	if l != nil {
		out["lab"] = l.Info
	}
	_ = j.app.json(out)
}

// secret is what a line says of something that is to be kept to oneself.
var secret = regexp.MustCompile(`(?i)[\w-]*(?:passw|secret|token|community|credential|api[_-]?key)[\w-]*["']?\s*[:=]\s*([^\s,}][^,}]*)`)

// covered is a line with what is secret in it covered, byte by byte.
func covered(line string) string {
	for _, at := range secret.FindAllStringSubmatchIndex(line, -1) {
		line = line[:at[2]] + strings.Repeat("*", at[3]-at[2]) + line[at[3]:]
	}
	return line
}

// showDiagnostics prints the first ones, each with its line of the file and a
// mark below the place.
func showDiagnostics(w io.Writer, ds []api.Diagnostic) {
	w = plain.NewWriter(w)
	files := map[string][]string{}
	for _, d := range lab.Few(ds) {
		fmt.Fprintln(w, d.String())
		if d.File == "" || d.Line < 1 {
			continue
		}
		lines, ok := files[d.File]
		if !ok {
			if data, err := os.ReadFile(d.File); err == nil && len(data) < 4<<20 {
				lines = strings.Split(string(data), "\n")
			}
			files[d.File] = lines
		}
		if d.Line > len(lines) {
			continue
		}
		line := covered(strings.TrimRight(lines[d.Line-1], "\r"))
		if len(line) > 160 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			continue
		}
		before := []rune(line)
		before = before[:min(max(d.Column-1, 0), len(before))]
		pad := strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return ' '
		}, string(before))
		fmt.Fprintf(w, "%6d | %s\n       | %s^\n", d.Line, line, pad)
	}
}
