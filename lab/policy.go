package lab

import "slices"

// Policy says what is done about drift: what of a lab is otherwise than it is
// wanted to be though nobody has asked for it.
type Policy string

// The policies.
const (
	PolicyEnforce Policy = "enforce" // it is set right
	PolicyReport  Policy = "report"  // it is shown, and left alone until somebody acts
	PolicyAsk     Policy = "ask"     // it is left alone, and the user is asked
)

// Policies lists every policy.
func Policies() []Policy { return []Policy{PolicyEnforce, PolicyReport, PolicyAsk} }

// Valid reports whether p is a policy.
func (p Policy) Valid() bool { return slices.Contains(Policies(), p) }

// Holds reports whether drift is left alone under p.
func (p Policy) Holds() bool { return p == PolicyReport || p == PolicyAsk }
