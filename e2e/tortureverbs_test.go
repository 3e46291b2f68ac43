package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
)

// verb is something to ask for.
func (o *torture) verb() []string {
	i := o.random.IntN(len(o.labs))
	l := o.labs[i]
	node := l.nodes[o.random.IntN(len(l.nodes))]
	var ends []string
	if len(l.links) > 0 {
		k := l.links[o.random.IntN(len(l.links))]
		ends = k[:]
	}
	link := func(verb string, more ...string) []string {
		if ends == nil {
			return []string{"inspect", l.name}
		}
		return slices.Concat([]string{"link", verb, l.name}, ends, more)
	}
	switch o.random.IntN(27) {
	case 0:
		return []string{"destroy", l.name, "--yes"}
	case 1, 2, 3, 4:
		l = o.p.randomLab(o.random, l.name)
		o.labs[i] = l
		return o.deployWords(l)
	case 5:
		return []string{"stop", l.name, node}
	case 6:
		return []string{"start", l.name, node}
	case 7:
		return []string{"restart", l.name, node}
	case 8:
		return []string{[]string{"start", "stop", "restart"}[o.random.IntN(3)], l.name}
	case 9:
		return link("disconnect")
	case 10:
		return link("connect")
	case 11:
		if o.p.provider == "libvirt" { // a machine that starts without an interface does not get it back by a deploy
			return []string{"drift", "fix", l.name}
		}
		return link("remove")
	case 12:
		return link("impair", "--rate", fmt.Sprintf("%dmbit", 1+o.random.IntN(50)))
	case 13:
		return link("impair", "--clear")
	case 14: // a cable that no file knows
		l.next++
		other := l.nodes[o.random.IntN(len(l.nodes))]
		if o.p.provider == "libvirt" || node == other { // a machine has no more interfaces than it had at its boot
			return []string{"drift", "fix", l.name}
		}
		return []string{"link", "connect", l.name, fmt.Sprintf("%s:eth%d", node, l.next), fmt.Sprintf("%s:eth%d", other, l.next)}
	case 15:
		return []string{"node", "add", l.name, fmt.Sprintf("x%d", o.random.IntN(2)), "--kind", "linux", "--provider", "netns"}
	case 16:
		if o.p.provider == "libvirt" { // nor without those of a link to it
			node = "x1"
		}
		return []string{"node", "remove", l.name, []string{"x0", "x1", node}[o.random.IntN(3)]}
	case 17:
		return []string{"inspect", "--json"}
	case 18:
		return []string{"exec", l.name, node, "--", "sh", "-c", fmt.Sprintf("sleep %d", o.random.IntN(3))}
	case 19:
		return []string{"drift", "policy", l.name, pick(o, []string{"enforce", "enforce", "report", "ask"})}
	case 20:
		return []string{"drift", pick(o, []string{"fix", "leave"}), l.name}
	case 21:
		return []string{"jobs", "cancel", o.aJob(l.name)}
	case 22:
		return [][]string{{"store", "check"}, {"store", "compact"}, {"store", "backup", filepath.Join(o.w.dir, "backup")}}[o.random.IntN(3)]
	case 23:
		return [][]string{{"gc"}, {"gc", "--remove"}, {"doctor"}, {"drift", l.name, "--json"}}[o.random.IntN(4)]
	case 24: // what goes on until somebody ends it
		o.goesOn = true
		return [][]string{{"logs", l.name, node, "-f"}, {"exec", l.name, node, "--", "sleep", "1000"}, {"engine"}}[o.random.IntN(3)]
	case 25:
		if ends == nil {
			return []string{"jobs"}
		}
		o.goesOn = true
		return []string{"capture", l.name, ends[0]}
	default:
		return []string{"network", l.name, []string{o.p.network, o.p.other}[o.random.IntN(2)]}
	}
}

// aJob is one of a lab's that has not ended, if there is one.
func (o *torture) aJob(lab string) string {
	var jobs []jobJSON
	if r := o.w.run("jobs", lab, "--json"); r.code == 0 {
		_ = json.Unmarshal([]byte(r.out), &jobs)
	}
	jobs = slices.DeleteFunc(jobs, func(j jobJSON) bool { return j.State != "pending" && j.State != "running" })
	if len(jobs) == 0 {
		return "0"
	}
	return pick(o, jobs).ID
}
