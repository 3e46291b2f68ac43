package backends

// NeedSort says what sort of thing a backend needs of the machine.
type NeedSort string

// The sorts of needs.
const (
	NeedRoot       NeedSort = "root"
	NeedUserns     NeedSort = "user namespace"
	NeedCapability NeedSort = "capability"
	NeedDaemon     NeedSort = "daemon"
	NeedSocket     NeedSort = "socket"
	NeedKernel     NeedSort = "kernel"
	NeedPackage    NeedSort = "package"
)

// Need is one thing that a provider or a network needs of the machine.
type Need struct {
	Sort NeedSort `json:"sort"`
	Name string   `json:"name"`
	Why  string   `json:"why"`
	// Optional is what only a part of the backend needs, which Why names.
	Optional bool   `json:"optional,omitempty"`
	OK       bool   `json:"ok"`
	Reason   string `json:"reason,omitempty"` // why not, in words for a person
	Fix      string `json:"fix,omitempty"`    // what would help
}

// Role is the side of a pair that a backend is.
type Role string

// The roles of backends.
const (
	RoleProvider Role = "provider"
	RoleNetwork  Role = "network"
)

// Needs knows what backends need and what of it is there.
type Needs interface {
	// Of lists what a backend needs, looked for now. Found is what the backend
	// says of itself, which decides about its daemon. Deep has what is only
	// optional tried as well, which takes milliseconds.
	Of(role Role, name string, found Availability, deep bool) []Need
}

// SetNeeds says who knows what backends need.
func (r *Registry) SetNeeds(n Needs) { r.needs = n }

// Needs lists what a backend needs; nothing when nobody knows.
func (r *Registry) Needs(role Role, name string, found Availability, deep bool) []Need {
	if r.needs == nil {
		return nil
	}
	return r.needs.Of(role, name, found, deep)
}

// Allowed is what a backend says of itself, or of the first thing that it
// cannot do without and does not have.
func Allowed(found Availability, needs []Need) Availability {
	for _, n := range needs {
		if !n.OK && !n.Optional && (found.OK || n.Sort == NeedRoot || n.Sort == NeedCapability) {
			return Availability{Reason: n.Reason, Fix: n.Fix}
		}
	}
	return found
}
