package privilege

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/internal/installed"
)

// Table looks things up for one process: the one that runs labs.
type Table struct {
	// Rootless: labs live in a user namespace, and this process in it.
	Rootless bool
}

var _ backends.Needs = Table{}

// Of implements backends.Needs.
func (t Table) Of(role backends.Role, name string, found backends.Availability, deep bool) []backends.Need {
	var out []backends.Need
	var can map[string]error // what of the kernel was tried
	for _, r := range table {
		if r.role != role || r.name != name || !t.in(r.in) {
			continue
		}
		if !deep && (r.optional || r.sort == kernel) {
			continue // the backend itself tries what it cannot do without
		}
		if r.sort == kernel && can == nil {
			can = try()
		}
		out = append(out, t.look(r, found, can))
	}
	return out
}

func (t Table) in(w world) bool {
	return w == anywhere || (w == rootless) == t.Rootless
}

func (t Table) look(r row, found backends.Availability, can map[string]error) backends.Need {
	need := backends.Need{Sort: r.sort, Name: r.what, Why: r.why, Optional: r.optional, OK: true}
	miss := func(reason, fix string) {
		need.OK, need.Reason, need.Fix = false, reason, fix
	}
	switch r.sort {
	case root:
		if t.Rootless || os.Geteuid() != 0 {
			miss("it needs root: "+r.why, r.fix)
		}
	case userns:
		if !t.Rootless {
			miss("the labs are not in a user namespace", r.fix)
		}
	case capab:
		if !capable(r.what) {
			miss(fmt.Sprintf("it needs the capability %s, which this root lacks: %s", r.what, r.why), r.fix)
		}
	case pack:
		if !installed.Program(r.what) {
			miss(r.what+" is not installed", r.fix)
		}
	case daemon, socket:
		if !found.OK {
			miss(found.Reason, found.Fix)
		}
	case kernel:
		if err := can[r.what]; err != nil {
			miss(fmt.Sprintf("this kernel has no %s (%v)", r.what, err), r.fix)
		}
	}
	return need
}

var capabilities = map[string]int{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_SETUID": unix.CAP_SETUID,
	"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT,
	"CAP_SETPCAP": unix.CAP_SETPCAP,
}

// capable reports whether this process has a capability in effect. When the
// kernel does not say, it has: the work itself will tell.
func capable(name string) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return true
	}
	c := capabilities[name]
	return data[c/32].Effective&(1<<(c%32)) != 0
}

// Text is the table for the documents: a row for each need of each backend.
func Text() string {
	var b strings.Builder
	b.WriteString("| backend | where | needs | what for |\n| --- | --- | --- | --- |\n")
	for _, r := range table {
		where := map[world]string{anywhere: "everywhere", rootful: "as root", rootless: "without root"}[r.in]
		what := string(r.sort) + " `" + r.what + "`"
		if string(r.sort) == r.what {
			what = r.what
		}
		if r.optional {
			what += " (optional)"
		}
		fmt.Fprintf(&b, "| %s %s | %s | %s | %s |\n", r.role, r.name, where, what, r.why)
	}
	return b.String()
}
