package topology

import (
	"cmp"
	"fmt"
	"slices"

	"archetype/lab"
)

// maxErrors and maxWarnings bound what is said of one file: one error for each
// node of the largest. Who shows them to a person shows few.
const maxErrors, maxWarnings = maxNodes, 200

// repeated is a warning and how often it applied.
type repeated struct {
	lab.Diagnostic
	times int
}

func (r *reader) errorAt(line, column int, hint, format string, a ...any) {
	r.fails++
	if r.fails <= maxErrors {
		r.diagnose(lab.SeverityError, line, column, hint, fmt.Sprintf(format, a...))
	}
}

func (r *reader) warnAt(line, column int, hint, format string, a ...any) {
	r.warns++
	if r.warns <= maxWarnings {
		r.diagnose(lab.SeverityWarning, line, column, hint, fmt.Sprintf(format, a...))
	}
}

// warnOnce gives a warning for the first place only, and counts the others.
func (r *reader) warnOnce(key string, line, column int, format string, a ...any) {
	r.tellOnce(lab.SeverityWarning, key, line, column, format, a...)
}

// errorOnce is warnOnce for an error.
func (r *reader) errorOnce(key string, line, column int, format string, a ...any) {
	r.fails++
	r.tellOnce(lab.SeverityError, key, line, column, format, a...)
}

func (r *reader) tellOnce(s lab.Severity, key string, line, column int, format string, a ...any) {
	if r.once == nil {
		r.once = map[string]*repeated{}
	}
	if w := r.once[key]; w != nil {
		w.times++
		return
	}
	r.once[key] = &repeated{Diagnostic: r.diagnostic(s, line, column, "", fmt.Sprintf(format, a...)), times: 1}
}

func (r *reader) diagnose(s lab.Severity, line, column int, hint, message string) {
	r.diags = append(r.diags, r.diagnostic(s, line, column, hint, message))
}

func (r *reader) diagnostic(s lab.Severity, line, column int, hint, message string) lab.Diagnostic {
	p := r.place(line, column)
	if p.rendered > 0 {
		message += fmt.Sprintf(" [line %d of the rendered text]", p.rendered)
	}
	return lab.Diagnostic{Severity: s, File: p.file, Line: p.line, Column: p.column, Message: message, Hint: hint}
}

// place is where something stands for the user.
type place struct {
	file         string
	line, column int
	rendered     int // line of the rendered text; 0 where the file is no template
}

// place turns a place in the text that YAML was read from into one in the
// user's file, through replaced variables and templates.
func (r *reader) place(line, column int) place {
	line, column = r.src.place(line, column)
	if r.rendered == nil {
		return place{file: r.file, line: line, column: column}
	}
	return r.rendered.place(line, column)
}

// errorIn records an error at a place of a file as it was written.
func (r *reader) errorIn(file string, line, column int, hint, format string, a ...any) {
	r.fails++
	r.diags = append(r.diags, lab.Diagnostic{Severity: lab.SeverityError, File: file, Line: max(line, 1), Column: max(column, 1),
		Message: fmt.Sprintf(format, a...), Hint: hint})
}

// settle brings the diagnostics into the order of the file, and says how many
// were left out.
func (r *reader) settle() {
	for _, w := range r.once {
		if w.times > 1 {
			w.Hint = fmt.Sprintf("%d times in this file", w.times)
		}
		r.diags = append(r.diags, w.Diagnostic)
	}
	r.once = nil
	slices.SortStableFunc(r.diags, func(a, b lab.Diagnostic) int {
		if a.File != b.File { // the topology's own file first
			return cmp.Or(cmp.Compare(boolInt(a.File != r.file), boolInt(b.File != r.file)), cmp.Compare(a.File, b.File))
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Column != b.Column {
			return a.Column - b.Column
		}
		return cmp.Compare(a.Message, b.Message)
	})
	if r.fails > maxErrors {
		r.diagnose(lab.SeverityError, 1, 1, "", fmt.Sprintf("there are more errors than these %d", maxErrors))
	}
	if r.warns > maxWarnings {
		r.diagnose(lab.SeverityWarning, 1, 1, "", fmt.Sprintf("there are more warnings than these %d", maxWarnings))
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
