package sim_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/sim"
)

// reached are things that the simulation must come to, beside the faults of
// nodes and links: what it never tries, it says nothing of.
var reached = []string{
	"machine rebooted", "unknown extra", "name taken", "clock set", "disk full", "crash", "client hangs up",
	"backend down: " + sim.ProviderName, "backend down: " + sim.CableName, "backend down: " + sim.SwitchName,
	"call fails", "call fails though it was done", "call fails half-way", "event lost", "event repeated", "event out of order", "answer delayed",
	"call: create", "call: stage", "call: start", "call: stop", "call: remove", "call: mend", "call: connect", "call: disconnect",
	"call: provision", "call: delete", "call: impair", "call: release", "call: exec", "call: cleanup",
	"wish: deploy", "wish: destroy", "wish: start", "wish: stop", "wish: restart", "wish: link", "wish: impair", "wish: edit",
	"wish: policy", "wish: drift", "wish: swap", "wish: cancel", "wish: exec", "wish: gc",
	"two clients at once", "two jobs of a lab at once", "two labs", "a tunnel", "an extra is told of",
}

// told are events of the engine that it must come to, and what each is.
var told = map[string]string{
	"all links go back to":                       "swap refused midway",
	"goes on after the engine was started again": "job goes on after a crash",
	"set right":                          "drift set right",
	"its tunnel is gone":                 "tunnel's loss found",
	"different tags":                     "wrong tag found",
	"an interface of it was removed":     "lost interface found",
	"was joined behind our back":         "joined link found",
	": carrier off":                      "lost carrier found",
	"was paused; ":                       "paused node found",
	"was renamed to ":                    "renamed node found",
	"was removed behind our back":        "removed node found",
	"was started again behind our back":  "restarted node found",
	"ended by itself":                    "dead node found",
	"left alone: ":                       "drift left alone",
	"no progress for ":                   "job failed at its deadline",
	"state could not be saved":           "state not saved",
	"does not answer, and what it makes": "backend silent",
	" cancelled":                         "job cancelled",
}

// reach takes in what the engine has come to.
func (d *driver) reach(s *api.Snapshot) {
	count := func(what string, when bool) {
		if when {
			d.counts[what]++
		}
	}
	for i := len(s.Events) - 1; i >= 0 && s.Events[i].Seq > d.heard; i-- {
		for text, what := range told {
			count(what, strings.Contains(s.Events[i].Text, text))
		}
	}
	if n := len(s.Events); n > 0 {
		d.heard = s.Events[n-1].Seq
	}
	jobs := map[string]int{}
	for _, j := range s.Jobs {
		if !j.State.Ended() {
			jobs[j.Lab]++
			count("two jobs of a lab at once", jobs[j.Lab] == 2)
		}
	}
	count("two labs", len(s.Labs) == 2)
	for _, l := range s.Labs {
		count("an extra is told of", len(l.Extra) > 0)
		count("a tunnel", slices.ContainsFunc(l.Links, func(k *api.Link) bool { return k.Outside != "" }))
	}
}

// reachedAll says how often the simulation has come to what, and, after enough
// steps, fails where it never came to what it must.
func reachedAll(t *testing.T, counts map[string]int, steps int) {
	t.Helper()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%s %d", what, counts[what]))
	}
	t.Logf("it came to: %s", strings.Join(all, ", "))
	if steps < 50_000 {
		return
	}
	must := slices.Concat(reached, slices.Collect(maps.Values(told)))
	for _, f := range nodeFaults {
		must = append(must, f.name)
	}
	for _, f := range linkFaults {
		must = append(must, f.name)
	}
	for _, what := range must {
		if counts[what] == 0 {
			t.Errorf("the simulation has never come to this: %s", what)
		}
	}
}
