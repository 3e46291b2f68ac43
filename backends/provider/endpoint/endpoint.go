// Package endpoint says whether a service that makes nodes can be spoken to
// where it is said to be: the same for all of them.
package endpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"syscall"

	"archetype/backends"
)

// Endpoint is where a service is, as a URL, and who says so.
type Endpoint struct{ Host, From string }

// Path is the socket of an endpoint on this machine; any other is no use to
// nodes whose interfaces are to be wired here, and the answer says so.
func (e Endpoint) Path() (string, *backends.Availability) {
	u, err := url.Parse(e.Host)
	if err != nil || u.Scheme != "unix" {
		return "", &backends.Availability{Reason: fmt.Sprintf("the endpoint %s (%s) is not on this machine", e.Host, e.From),
			Fix: "links need the containers' network namespaces here: use a unix:// endpoint, or run this program on that machine"}
	}
	return u.Path, nil
}

// Service is one as its users are told of it.
type Service struct {
	Name    string // as in "there is no NAME at …"
	Install string // what to do where there is none
	Permit  string // what to do where its socket may not be used
}

// Look looks at the service's socket, which costs nothing where there is none.
// It returns nil where it may be read and written.
func (s Service) Look(path string) *backends.Availability {
	err := syscall.Access(path, 6)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &backends.Availability{Reason: "no permission to use " + path, Fix: s.Permit, Absent: true}
	default:
		return &backends.Availability{Reason: "there is no " + s.Name + " at " + path, Fix: s.Install, Absent: true}
	}
}
