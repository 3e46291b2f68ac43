package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// outcome is how one conformance case went with one pair.
type outcome struct {
	order   int // when it first ran
	action  string
	why     string
	elapsed float64
}

// matrix is the conformance suite's result: by pair, and by case within it. A
// pair that was skipped as a whole has no cases.
type matrix struct {
	pairs map[string]outcome            // "provider × network"
	cells map[string]map[string]outcome // pair, case
}

var place = regexp.MustCompile(`^\S*/backends/conformance TestConformance/([^/]+)(?:/([^/]+))?(?:/([^/]+))?$`)

const most = 1 << 20 // tests

// conformance picks the suite's tests out of all.
func conformance(tests map[string]*result) matrix {
	m := matrix{map[string]outcome{}, map[string]map[string]outcome{}}
	networks, missing := map[string]int{}, map[string]outcome{}
	for name, r := range tests {
		p := place.FindStringSubmatch(name)
		if p == nil {
			continue
		}
		o := outcome{order: r.order, action: r.action, why: reason(r), elapsed: r.elapsed}
		if p[2] == "" {
			// A provider whose nodes go from network to network: where it is
			// missing it comes to none of them.
			if o.order *= most; o.action == "skip" {
				missing[p[1]] = o
			}
			continue
		}
		if at, ok := networks[p[2]]; p[3] == "" && (!ok || r.order < at) {
			networks[p[2]] = r.order
		}
		pair := p[1] + " × " + p[2]
		if p[3] == "" {
			// Pairs that run one after the other begin late; their place is that
			// of the test around them.
			o.order *= most
			if around := tests[strings.TrimSuffix(name, "/"+p[2])]; around != nil {
				o.order = around.order*most + r.order
			}
			m.pairs[pair] = o
			continue
		}
		if m.cells[pair] == nil {
			m.cells[pair] = map[string]outcome{}
		}
		m.cells[pair][p[3]] = o
	}
	for provider, o := range missing {
		for n, at := range networks {
			pair := provider + " × " + n
			m.pairs[pair] = outcome{order: o.order + at, action: o.action, why: o.why}
		}
	}
	return m
}

// impossible begins the reason of what nobody can have.
const impossible = "not possible "

var from = regexp.MustCompile(`^\S+\.go:\d+: `)

// reason is what a test said, without where.
func reason(r *result) string {
	return from.ReplaceAllString(strings.TrimSpace(strings.Join(noise(r.output), " ")), "")
}

// ordered lists names in the order in which their tests first ran.
func ordered(at map[string]int) []string {
	var out []string
	for name := range at {
		out = append(out, name)
	}
	sort.Slice(out, func(i, j int) bool { return at[out[i]] < at[out[j]] })
	return out
}

// markdown is the table of outcomes, without times, so that it is the same
// each time. It is empty when the suite did not run.
func (m matrix) markdown() string {
	columns, rows := map[string]int{}, map[string]int{}
	for pair, o := range m.pairs {
		columns[pair] = o.order
		for name, c := range m.cells[pair] {
			if at, ok := rows[name]; !ok || c.order < at {
				rows[name] = c.order
			}
		}
	}
	if len(columns) == 0 {
		return ""
	}
	pairs := ordered(columns)
	var notes []string
	note := func(why string) string {
		i := slices.Index(notes, why)
		if i < 0 {
			notes, i = append(notes, why), len(notes)
		}
		return fmt.Sprintf("[%d]", i+1)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| case | %s |\n|%s\n", strings.Join(pairs, " | "), strings.Repeat(" --- |", len(pairs)+1))
	count := map[string]int{}
	for _, name := range ordered(rows) {
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(name, "-", " "))
		for _, pair := range pairs {
			o, ran := m.cells[pair][name]
			if !ran {
				if o = m.pairs[pair]; !strings.HasPrefix(o.why, impossible) {
					o.why = "not run: " + o.why
				}
			}
			cell := "FAIL"
			switch o.action {
			case "pass":
				cell = "pass"
			case "skip":
				cell = "– " + note(o.why)
			}
			count[o.action]++
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n%d pairs, %d cases each: %d passed, %d failed, %d skipped.\n", len(pairs), len(rows), count["pass"], count["fail"]+count[""], count["skip"])
	for i, why := range notes {
		fmt.Fprintf(&b, "\n[%d] %s\n", i+1, why)
	}
	return b.String()
}

// elsewhere is the reason of cases that this run has left to `make conformance`.
const elsewhere = "runs only in make conformance"

var footnote = regexp.MustCompile(`(?m)^\[(\d+)\] (.+)$`)

// believe takes what was left to another run from the table in a text.
func (m matrix) believe(text string) {
	_, rest, _ := strings.Cut(text, tableBegins)
	table, _, _ := strings.Cut(rest, tableEnds)
	why := map[string]string{}
	for _, n := range footnote.FindAllStringSubmatch(table, -1) {
		why["– ["+n[1]+"]"] = n[2]
	}
	var pairs []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) < 2 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if pairs == nil {
			pairs = cells
			continue
		}
		for i, cell := range cells[:min(len(cells), len(pairs))] {
			name := strings.ReplaceAll(cells[0], " ", "-")
			o, ok := m.cells[pairs[i]][name]
			if !ok || o.action != "skip" || o.why != elsewhere {
				continue
			}
			if cell == "pass" {
				o.action = "pass"
			} else if w, ok := why[cell]; ok {
				o.why = w
			}
			m.cells[pairs[i]][name] = o
		}
	}
}

// times says how long each pair took.
func (m matrix) times() string {
	at := map[string]int{}
	for pair, o := range m.pairs {
		at[pair] = o.order
	}
	var out []string
	for _, pair := range ordered(at) {
		out = append(out, fmt.Sprintf("%s %.1f s", pair, m.pairs[pair].elapsed))
	}
	return strings.Join(out, ", ")
}

// A file with the table keeps it between these lines.
const (
	tableBegins = "<!-- table: made by `make conformance` -->\n"
	tableEnds   = "<!-- end of table -->\n"
)

// fit returns a file's text with another table in it, and whether it changed.
func fit(text, table string) (string, bool, error) {
	before, rest, ok := strings.Cut(text, tableBegins)
	old, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return "", false, fmt.Errorf("no place for a table between %q and %q", tableBegins, tableEnds)
	}
	table = "\n" + table + "\n"
	return before + tableBegins + table + tableEnds + after, old != table, nil
}

// write puts the table into a file.
func write(file, table string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, changed, err := fit(string(data), table)
	if err != nil || !changed {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
