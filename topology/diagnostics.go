package topology

import (
	"cmp"
	"fmt"
	"slices"

	"archetype/lab"
)

// maxErrors and maxWarnings bound what is said of one file.
const maxErrors, maxWarnings = 200, 200

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
	if r.once == nil {
		r.once = map[string]*repeated{}
	}
	if w := r.once[key]; w != nil {
		w.times++
		return
	}
	r.once[key] = &repeated{Diagnostic: r.diagnostic(lab.SeverityWarning, line, column, "", fmt.Sprintf(format, a...)), times: 1}
}

func (r *reader) diagnose(s lab.Severity, line, column int, hint, message string) {
	r.diags = append(r.diags, r.diagnostic(s, line, column, hint, message))
}

func (r *reader) diagnostic(s lab.Severity, line, column int, hint, message string) lab.Diagnostic {
	return lab.Diagnostic{Severity: s, File: r.file, Line: line, Column: column, Message: message, Hint: hint}
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
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Column != b.Column {
			return a.Column - b.Column
		}
		return cmp.Compare(a.Message, b.Message)
	})
	if n := r.fails - maxErrors; n > 0 {
		r.diagnose(lab.SeverityError, 1, 1, "", fmt.Sprintf("and %d more errors", n))
	}
	if n := r.warns - maxWarnings; n > 0 {
		r.diagnose(lab.SeverityWarning, 1, 1, "", fmt.Sprintf("and %d more warnings", n))
	}
}
