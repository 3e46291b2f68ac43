package lab

import "fmt"

// InvalidStateError says that a value is not a state of the machine named by
// What, such as "node" or "link".
type InvalidStateError struct{ What, State string }

func (e *InvalidStateError) Error() string {
	return fmt.Sprintf("%q is not a %s state", e.State, e.What)
}

// TransitionError says that a step is not legal for the machine named by What.
type TransitionError struct{ What, From, To string }

func (e *TransitionError) Error() string {
	return fmt.Sprintf("a %s cannot go from %s to %s", e.What, e.From, e.To)
}
