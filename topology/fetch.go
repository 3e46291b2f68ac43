package topology

import (
	"archetype/internal/download"
	"archetype/lab"
)

// got is what a fetch came to.
type got struct {
	path string
	err  error
}

// fetched is the path of a file of the web. Each is fetched once, however many
// nodes have it.
func (r *reader) fetched(n *lab.Node, v *value, of, address, what string) (string, bool) {
	have, ok := r.fetches[address]
	switch {
	case ok:
	case r.opt.Fetch == nil || !labName.MatchString(of): // which is an error by itself
		have.err = download.Check(address)
	default:
		var old error
		have.path, old, have.err = r.opt.Fetch(of, address)
		if old != nil {
			r.warnAt(v.line, v.column, "", "node %q: %s: the one that was fetched before is used: %v", n.Name, what, old)
		}
	}
	if !ok {
		if r.fetches == nil {
			r.fetches = map[string]got{}
		}
		r.fetches[address] = have
	}
	if have.err != nil {
		r.errorAt(v.line, v.column, "", "node %q: %s: %v", n.Name, what, have.err)
		return "", false
	}
	return have.path, true
}
