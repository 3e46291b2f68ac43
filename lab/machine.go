package lab

import "slices"

// machine is a finite set of states and the transitions legal between them.
// The zero value knows no state.
type machine[S ~string] struct {
	what   string
	states []S
	next   map[S][]S
}

func (m machine[S]) valid(s S) bool { return slices.Contains(m.states, s) }

// can reports whether from → to is legal. Staying put is always legal for a
// state the machine knows: writing a fact twice is writing it once.
func (m machine[S]) can(from, to S) bool {
	if !m.valid(from) || !m.valid(to) {
		return false
	}
	return from == to || slices.Contains(m.next[from], to)
}

func (m machine[S]) check(from, to S) error {
	if !m.valid(to) {
		return &InvalidStateError{What: m.what, State: string(to)}
	}
	if !m.valid(from) {
		return &InvalidStateError{What: m.what, State: string(from)}
	}
	if !m.can(from, to) {
		return &TransitionError{What: m.what, From: string(from), To: string(to)}
	}
	return nil
}

func (m machine[S]) parse(s string) (S, error) {
	if v := S(s); m.valid(v) {
		return v, nil
	}
	return "", &InvalidStateError{What: m.what, State: s}
}
