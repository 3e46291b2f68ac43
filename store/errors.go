package store

import (
	"errors"
	"fmt"
)

// What Open can say about a database that it did not open. The file is left
// as it is in every case.
var (
	// ErrLocked: another process holds the database.
	ErrLocked = errors.New("the database is held by another process")
	// ErrNewer: a later version of Archetype wrote the database.
	ErrNewer = errors.New("the database was written by a newer version")
	// ErrCorrupt: the file is no database, or a damaged one.
	ErrCorrupt = errors.New("the database is damaged")
)

// The constraints a record can break.
const (
	ConstraintKey        = "key"        // empty, or with characters keys cannot have
	ConstraintValue      = "value"      // a state, wish or verb that does not exist
	ConstraintTransition = "transition" // a step the state machine does not have
	ConstraintReference  = "reference"  // names a lab, node or link that is not there
	ConstraintUnique     = "unique"     // an interface that another link uses, a number that another job has
)

// ConstraintError says that a record was refused, and why. Err may hold a
// *lab.TransitionError or *lab.InvalidStateError.
type ConstraintError struct {
	Record     string // lab, node, link, job or event
	Key        string
	Constraint string // one of the constants above
	Err        error
}

func (e *ConstraintError) Error() string {
	return fmt.Sprintf("%s %q: %s: %v", e.Record, e.Key, e.Constraint, e.Err)
}

func (e *ConstraintError) Unwrap() error { return e.Err }
