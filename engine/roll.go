package engine

import (
	"fmt"
	"slices"
	"strings"
)

// roll is what a job waits for, by name, so that what is still missing can be
// said in a few words after each of the many steps of a large deploy.
type roll struct {
	nodes, links []entry
	left         func() (nodes, links int)
	rest         func() string // where neither is left
}

type entry struct {
	name    string
	waiting func() bool
}

// fill notes all that the job waits for.
func (r *roll) fill(j *job) {
	r.nodes, r.links = nil, nil
	for n := range j.waitNodes {
		r.nodes = append(r.nodes, entry{n.spec.Name, func() bool { _, ok := j.waitNodes[n]; return ok }})
	}
	for n := range j.staying {
		r.nodes = append(r.nodes, entry{n.spec.Name, func() bool { return j.staying[n] }})
	}
	for name := range j.waitGone {
		r.nodes = append(r.nodes, entry{name, func() bool { return j.waitGone[name] }})
	}
	for l := range j.waitLinks {
		r.links = append(r.links, entry{l.name(), func() bool { _, ok := j.waitLinks[l]; return ok }})
	}
	for l := range j.waitImpair {
		r.links = append(r.links, entry{l.name(), func() bool { _, ok := j.waitImpair[l]; return ok }})
	}
	for _, list := range [][]entry{r.nodes, r.links} {
		slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	}
	r.left = func() (int, int) {
		return len(j.waitNodes) + len(j.staying) + len(j.waitGone), len(j.waitLinks) + len(j.waitImpair)
	}
	r.rest = func() string {
		switch {
		case j.swapsLeft > 0:
			return fmt.Sprintf("%s to move to %s", plural(j.swapsLeft, "link"), j.waitSwap)
		case j.whole:
			return "the clean-up of what the nodes shared"
		}
		return ""
	}
}

// String names the foremost of what is still missing: links only when no node
// is.
func (r *roll) String() string {
	if r.left == nil {
		return ""
	}
	nodes, links := r.left()
	if nodes > 0 {
		return foremost(&r.nodes, nodes)
	}
	if links > 0 {
		return foremost(&r.links, links)
	}
	return r.rest()
}

func foremost(list *[]entry, left int) string {
	const most, slack = 4, 64
	var names []string
	past := 0
	for _, e := range *list {
		if len(names) == most {
			break
		}
		if e.waiting() {
			names = append(names, e.name)
		} else {
			past++
		}
	}
	if past > slack { // they are not passed over again and again
		*list = slices.DeleteFunc(*list, func(e entry) bool { return !e.waiting() })
	}
	text := strings.Join(names, ", ")
	if more := left - len(names); more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}
