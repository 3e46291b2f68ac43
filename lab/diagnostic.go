package lab

import (
	"fmt"
	"strings"
)

// Severity says how bad a diagnostic is.
type Severity string

// The severities of a diagnostic.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Diagnostic is something to say about a file, at a place in it.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`   // from 1; 0 when not known
	Column   int      `json:"column,omitempty"` // from 1
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to do, or what was meant
}

// String has the form that editors and people know:
// "file:line:column: error: message (hint)".
func (d Diagnostic) String() string {
	var b strings.Builder
	if d.File != "" {
		b.WriteString(d.File)
		if d.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", d.Line, d.Column)
		}
		b.WriteString(": ")
	}
	if d.Severity != "" {
		b.WriteString(string(d.Severity) + ": ")
	}
	b.WriteString(d.Message)
	if d.Hint != "" {
		b.WriteString(" (" + d.Hint + ")")
	}
	return b.String()
}

// shownErrors and shownWarnings are how much a person is shown of one file.
const shownErrors, shownWarnings = 10, 25

// Few are the first of many diagnostics, for a person to read, with how many
// more errors and warnings there are at the end.
func Few(ds []Diagnostic) []Diagnostic {
	var out []Diagnostic
	errs, warns := 0, 0
	for _, d := range ds {
		n, limit := &warns, shownWarnings
		if d.Severity == SeverityError {
			n, limit = &errs, shownErrors
		}
		if *n++; *n <= limit {
			out = append(out, d)
		}
	}
	if n := warns - shownWarnings; n > 0 {
		out = append(out, furtherOnes(SeverityWarning, n))
	}
	if n := errs - shownErrors; n > 0 {
		out = append(out, furtherOnes(SeverityError, n))
	}
	return out
}

func furtherOnes(s Severity, n int) Diagnostic {
	what := string(s)
	if n > 1 {
		what += "s"
	}
	return Diagnostic{Severity: s, Message: fmt.Sprintf("and %d more %s", n, what), Hint: "archetype check --json lists all"}
}

// FileError says that a file cannot be used, and everything that is wrong
// with it. It may hold warnings beside the errors.
type FileError struct{ Diagnostics []Diagnostic }

func (e *FileError) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}
