package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"archetype/internal/fail"
)

const faultLab = "f"

// operation is a verb in which the program is killed.
type operation struct {
	name  string
	nodes int // that the lab's file has then
	verb  []string

	places   []string // that it passes when nobody kills it
	portrait []string // of the world after it
}

// cycles are operations of which the last brings back the state that the first
// begins with: one after the other, nothing has to be prepared.
func (f *faults) cycles() [][]*operation {
	n := f.p.size
	deploy := []string{"deploy", f.file, "--network", f.p.network, "--provider", f.p.provider}
	if f.p.provider == "libvirt" {
		deploy = deploy[:4] // its file names kinds of both sorts
	}
	link := func(verb string) []string { return []string{"link", verb, faultLab, "n0:eth1", "n1:eth2"} }
	return [][]*operation{
		{{name: "destroy", nodes: n, verb: []string{"destroy", faultLab, "--yes"}}, {name: "deploy", nodes: n, verb: deploy}},
		{{name: "apply", nodes: n + 1, verb: deploy}, {name: "apply", nodes: n, verb: deploy}},
		{{name: "stop", nodes: n, verb: []string{"stop", faultLab, "n1"}}, {name: "start", nodes: n, verb: []string{"start", faultLab, "n1"}}},
		{{name: "restart", nodes: n, verb: []string{"restart", faultLab, "n0"}}},
		{{name: "disconnect", nodes: n, verb: link("disconnect")}, {name: "connect", nodes: n, verb: link("connect")}},
		{{name: "swap", nodes: n, verb: []string{"network", faultLab, f.p.other}}, {name: "swap", nodes: n, verb: []string{"network", faultLab, f.p.network}}},
	}
}

// faults kills the program in every operation on one pair.
type faults struct {
	*testing.T
	p         *pair
	file, dir string
	random    *rand.Rand // where only some places are tried
	counts    map[string]count
}

// count is what came of an operation's places.
type count struct{ Places, Killed int }

// TestKilledAtEveryPlace kills the real program, engine or holder, before and
// after each effect on the outside and each write, in each operation. With
// FAULTS=all it does so at all places and writes docs/faults.md; with
// FAULTS=some at a few, which differ from run to run; else at a few that are
// always the same. FAULTS_SEED says which.
func TestKilledAtEveryPlace(t *testing.T) {
	var seed uint64
	if os.Getenv("FAULTS") != "" {
		seed = rand.Uint64()
	}
	if s := os.Getenv("FAULTS_SEED"); s != "" {
		_, _ = fmt.Sscan(s, &seed)
	}
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		killEverywhere(t, seed)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Logf("FAULTS_SEED=%d", seed)
	all := os.Getenv("FAULTS") == "all"
	for i, p := range thePairs() {
		t.Run(p.provider+"-"+p.network, func(t *testing.T) {
			if why := p.missing(); why != "" {
				t.Skip(why)
			}
			if !all {
				t.Parallel()
			}
			counted := filepath.Join(t.TempDir(), "counts")
			alone(t, fmt.Sprintf("E2E_PAIR=%d", i), fmt.Sprintf("FAULTS_SEED=%d", seed), "E2E_COUNTS="+counted)
			if !all || os.Getenv("FAULTS_ONLY") != "" || t.Failed() || t.Skipped() { // what was not counted is no news
				return
			}
			var counts map[string]count
			data, err := os.ReadFile(counted)
			if err == nil {
				err = json.Unmarshal(data, &counts)
			}
			if err != nil {
				t.Fatal(err)
			}
			writeFaults(t, p.name(), counts)
		})
	}
}

func killEverywhere(t *testing.T, seed uint64) {
	var i int
	_, _ = fmt.Sscan(os.Getenv("E2E_PAIR"), &i)
	f := &faults{T: t, p: thePairs()[i], dir: t.TempDir(), counts: map[string]count{}}
	if os.Getenv("FAULTS") != "all" {
		f.random = rand.New(rand.NewPCG(seed, uint64(i)))
	}
	f.p.here(t)
	f.p.w.env = append(f.p.w.env, fail.Env+"="+f.dir)
	f.file = f.p.w.file("f.clab.yml", f.p.lab(faultLab, f.p.size))
	cycles := f.cycles()
	if f.random != nil { // the first makes the lab; of the others but apply, which takes long, one stands for all
		cycles = [][]*operation{cycles[0], cycles[2+f.random.IntN(len(cycles)-2)]}
	}
	f.p.w.ok(cycles[0][1].verb...)
	for _, ops := range cycles {
		if only := os.Getenv("FAULTS_ONLY"); only != "" && !slices.ContainsFunc(ops, func(o *operation) bool { return o.name == only }) {
			continue
		}
		f.cycle(ops)
		if t.Failed() {
			return
		}
	}
	data, err := json.Marshal(f.counts)
	if err == nil {
		err = os.WriteFile(os.Getenv("E2E_COUNTS"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.random == nil {
		f.p.daemonsGo()
	}
}

func (f *faults) cycle(ops []*operation) {
	for range 2 { // the second time nothing is done that is done but once
		for _, op := range ops {
			f.learn(op)
		}
	}
	for round, more := 0, true; more; round++ {
		more = false
		for _, op := range ops {
			place := ""
			if round < len(op.places) {
				place, more = op.places[round], true
			}
			f.killedAt(op, place)
			if f.Failed() {
				return
			}
		}
	}
}

// learn carries an operation out and notes which places it passes, each once,
// and what the world is like then.
func (f *faults) learn(op *operation) {
	f.p.w.write(f.file, f.p.lab(faultLab, op.nodes))
	passed := filepath.Join(f.dir, fail.Passed)
	if err := os.WriteFile(passed, nil, 0o600); err != nil {
		f.Fatal(err)
	}
	f.p.w.ok(op.verb...)
	f.rest(op.name)
	data, err := os.ReadFile(passed)
	if err != nil {
		f.Fatal(err)
	}
	if err := os.Remove(passed); err != nil {
		f.Fatal(err)
	}
	seen := map[string]bool{}
	for place := range strings.Lines(string(data)) {
		seen[strings.TrimSpace(place)] = true
	}
	op.places = slices.Sorted(maps.Keys(seen))
	if f.random != nil {
		f.random.Shuffle(len(op.places), func(i, j int) { op.places[i], op.places[j] = op.places[j], op.places[i] })
		op.places = op.places[:min(1, len(op.places))]
	}
	op.portrait = f.settled()
}

// settled is the portrait once it stays the same.
func (f *faults) settled() []string {
	last := f.p.portrait()
	f.p.w.await("the world to settle", func() bool {
		now := f.p.portrait()
		same := slices.Equal(now, last)
		last = now
		return same
	})
	return last
}

// rest waits until the lab is as it is wished, or not there.
func (f *faults) rest(after string) {
	f.p.w.await("rest after "+after, func() bool {
		r := f.p.w.run("inspect", faultLab, "--json")
		if r.code != 0 {
			return true
		}
		l := &inspectJSON{}
		f.p.w.decode(r.out, l)
		return l.rests() && !f.p.w.works(faultLab)
	})
}

// works reports whether a job of the lab has not ended.
func (w *world) works(lab string) bool {
	w.Helper()
	r := w.run("jobs", lab, "--json")
	var jobs []struct{ State string }
	if r.code == 0 {
		w.decode(r.out, &jobs)
	}
	return slices.ContainsFunc(jobs, func(j struct{ State string }) bool { return j.State == "pending" || j.State == "running" })
}

// rests reports whether all is as it is wished.
func (l *inspectJSON) rests() bool {
	return !slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool {
		return n.Desired == "running" && n.Actual != "running" || n.Desired == "stopped" && n.Actual != "stopped" && n.Actual != "undeployed"
	}) && !slices.ContainsFunc(l.Links, func(k linkJSON) bool {
		return k.Desired != k.Actual && l.runs(endOf(k.A)) && l.runs(endOf(k.B))
	})
}

// runs reports whether a node does; a place outside always does.
func (l *inspectJSON) runs(node string) bool {
	n := l.node(node)
	return n.Name == "" || n.Actual == "running"
}

func endOf(end string) string {
	node, _, _ := strings.Cut(end, ":")
	return node
}

// killedAt kills the program at a place of an operation, starts it again, and
// wants all to be as it is when nobody kills it.
func (f *faults) killedAt(op *operation, place string) {
	w := f.p.w
	w.write(f.file, f.p.lab(faultLab, op.nodes))
	at := filepath.Join(f.dir, fail.At)
	if place != "" {
		if err := os.WriteFile(at+".new", []byte(place), 0o600); err != nil {
			f.Fatal(err)
		}
		if err := os.Rename(at+".new", at); err != nil {
			f.Fatal(err)
		}
	}
	holder := w.holder()
	r := w.run(op.verb...)
	when := op.name
	if place != "" {
		c := f.counts[op.name]
		c.Places++
		if os.Remove(at) != nil { // it was taken away: somebody came there
			c.Killed++
			when += " killed at " + place
			if os.Getenv("E2E_TELL") != "" {
				fmt.Fprintln(os.Stderr, f.p.name(), when)
			}
		}
		f.counts[op.name] = c
	}
	// Another engine: the lab comes to rest as it is wished.
	f.rest(when)
	// Asked for once more, it is done, and once only.
	if again := w.run(op.verb...); again.code != 0 && op.name != "destroy" {
		f.Fatalf("%s: %s\nand once more: %s", when, r, again)
	}
	f.rest(when)
	if op.name == "stop" && w.holder() != holder { // what does not run went with it, and is made by its start
		w.ok("start", faultLab, "n1")
		w.ok(op.verb...)
		f.rest(when)
	}
	now := f.p.portrait()
	if slices.Equal(now, op.portrait) || became(func() bool {
		now = f.p.portrait()
		return slices.Equal(now, op.portrait)
	}) {
		if op.name != "destroy" {
			f.p.mustAgree(f.T, faultLab)
		}
		return
	}
	f.Errorf("%s: %s\nis more and is less than without a kill:\n%s", when, r, difference(now, op.portrait))
}
