package api

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what sort of failure an Error is.
type Code string

// What a caller can tell apart.
const (
	CodeFailed      Code = "failed"       // it was tried and did not work
	CodeBadFile     Code = "bad_file"     // the file is wrong; see Diagnostics
	CodeUsage       Code = "usage"        // the request makes no sense
	CodeNotFound    Code = "not_found"    // no such lab, node, link or job
	CodeConflict    Code = "conflict"     // not now: something else is in the way
	CodeUnavailable Code = "unavailable"  // the machine cannot do it; Hint says what would help
	CodeLost        Code = "engine_lost"  // the engine ended or cannot be reached
	CodeVersion     Code = "wrong_engine" // the engine running is of another version
)

// Error is a failure that keeps its sort and its advice across a socket.
type Error struct {
	Code        Code         `json:"code"`
	Message     string       `json:"message"`
	Hint        string       `json:"hint,omitempty"`
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// Errorf makes an Error of the code given.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err, CodeFailed when it carries none and "" when
// err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}
