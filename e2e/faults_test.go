//go:build faults

package e2e

import (
	"cmp"
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

// An operation is a verb at which the engine is killed, and what must be true
// before and, in the end, after it.
type operation struct {
	name   string
	before [][]string // verbs that make the state in which it is asked for
	file   string     // what the file says when the verb runs; empty: as before
	verb   []string
	after  func(f *faults)
}

// faults kills the engine at every place that an operation passes, one after
// the other, on one pair of provider and network.
type faults struct {
	*world
	base        string // the lab's file
	told, shown bool
}

const faultLab = "f"

func operations(base, network, other string) []operation {
	deploy := []string{"deploy", base, "--network", network}
	whole := func(links int) func(*faults) {
		return func(f *faults) { f.whole(links) }
	}
	return []operation{
		{"deploy", [][]string{{"destroy", faultLab, "--yes"}}, "", deploy, whole(4)},
		{"apply", [][]string{deploy}, ring(faultLab, 5), []string{"deploy", base}, whole(5)},
		{"stop", [][]string{deploy}, "", []string{"stop", faultLab, "n1"}, func(f *faults) { f.stopped("n1") }},
		{"start", [][]string{deploy, {"stop", faultLab, "n1"}}, "", []string{"start", faultLab, "n1"}, whole(4)},
		{"restart", [][]string{deploy}, "", []string{"restart", faultLab, "n1"}, whole(4)},
		{"disconnect", [][]string{deploy}, "", []string{"link", "disconnect", faultLab, "n0:eth1", "n1:eth2"}, func(f *faults) { f.cut() }},
		{"connect", [][]string{deploy, {"link", "disconnect", faultLab, "n0:eth1", "n1:eth2"}}, "",
			[]string{"link", "connect", faultLab, "n0:eth1", "n1:eth2"}, whole(4)},
		{"swap", [][]string{{"destroy", faultLab, "--yes"}, deploy}, "", []string{"network", faultLab, other}, whole(4)},
		{"destroy", [][]string{{"destroy", faultLab, "--yes"}, deploy}, "", []string{"destroy", faultLab, "--yes"}, (*faults).gone},
	}
}

// TestKilledAtEveryPlace kills the engine at each place around each effect on
// the outside and each write, in each operation. With FAULTS=all it does so at
// all of them and writes docs/faults.md; else at some, which differ from run
// to run: FAULTS_SEED says which.
func TestKilledAtEveryPlace(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("FAULTS_SEED"); s != "" {
		_, _ = fmt.Sscan(s, &seed)
	}
	all := os.Getenv("FAULTS") == "all"
	t.Logf("FAULTS_SEED=%d", seed)
	table := map[string]map[string]int{}
	for i, pair := range [][2]string{{"veth", "linuxbridge"}, {"linuxbridge", "veth"}} {
		if !all && seed%2 != uint64(i) {
			continue
		}
		t.Run("netns/"+pair[0], func(t *testing.T) {
			f := &faults{world: newWorld(t, asRoot)}
			f.base = f.file("f.clab.yml", ring(faultLab, 4))
			random := rand.New(rand.NewPCG(seed, 0))
			done := map[string]int{}
			for _, op := range operations(f.base, pair[0], pair[1]) {
				for _, place := range f.places(op) {
					if all || random.IntN(16) == 0 {
						f.killedAt(op, place)
						done[op.name]++
					}
				}
			}
			table["netns × "+pair[0]] = done
		})
	}
	if all && !t.Failed() {
		writeFaults(t, table)
	}
}

// prepare makes the state in which the operation is asked for.
func (f *faults) prepare(op operation) {
	f.Helper()
	f.write(f.base, ring(faultLab, 4))
	for _, args := range op.before {
		if r := f.run(args...); r.code != 0 && args[0] != "destroy" {
			f.Fatalf("before %s: %s", op.name, r)
		}
	}
	f.run("engine", "stop") // so that the next one heeds the environment of the verb
	if op.file != "" {
		f.write(f.base, op.file)
	}
}

// places are those that the operation passes, each once.
func (f *faults) places(op operation) []string {
	f.Helper()
	f.prepare(op)
	log := filepath.Join(f.dir, "places-"+op.name)
	f.with(fail.EnvLog+"="+log, func() { f.ok(op.verb...) })
	op.after(f)
	f.run("engine", "stop")
	data, err := os.ReadFile(log)
	if err != nil {
		f.Fatal(err)
	}
	seen := map[string]bool{}
	for place := range strings.Lines(string(data)) {
		seen[strings.TrimSpace(place)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (f *faults) with(env string, do func()) {
	before := f.env
	f.env = append(slices.Clone(f.env), env)
	defer func() { f.env = before }()
	do()
}

func (f *faults) killedAt(op operation, place string) {
	f.Helper()
	f.Cleanup(func() {
		if f.Failed() && !f.told {
			f.told = true
			f.Logf("%s killed at %s", op.name, place)
		}
	})
	f.prepare(op)
	var r result
	f.with(fail.EnvAt+"="+place, func() { r = f.run(op.verb...) })
	// Another engine, without the fault: the lab comes to rest as it is wished.
	f.await(op.name+" killed at "+place+" to come to rest", func() bool {
		l := &inspectJSON{}
		r := f.run("inspect", faultLab, "--json")
		if r.code != 0 {
			return true // the lab was not stored yet, or is gone
		}
		f.decode(r.out, l)
		return !slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool {
			return n.Desired == "running" && n.Actual != "running" || n.Desired == "stopped" && n.Actual != "stopped"
		}) && !slices.ContainsFunc(l.Links, func(k linkJSON) bool { return k.Desired == "up" && k.Actual != "up" })
	})
	// Asked for once more, it is done, and once only.
	if again := f.run(op.verb...); again.code != 0 && op.name != "destroy" {
		f.Fatalf("%s killed at %s:\n%s\nand once more: %s", op.name, place, r, again)
	}
	op.after(f)
	if f.Failed() {
		f.Fatalf("%s killed at %s", op.name, place)
	}
}

// whole: every node runs once, every link is there once.
func (f *faults) whole(links int) {
	f.Helper()
	f.Cleanup(func() {
		if f.Failed() && !f.shown {
			f.shown = true
			f.Logf("%s", f.run("inspect", faultLab))
		}
	})
	l := f.awaitWhole(faultLab)
	if len(l.Links) != links {
		f.Errorf("%d links, of %d", len(l.Links), links)
	}
	f.each(l, nil)
}

func (f *faults) each(l *inspectJSON, down []string) {
	f.Helper()
	inits := f.inits(faultLab)
	for _, n := range l.Nodes {
		want := []int{n.PID}
		if slices.Contains(down, n.Name) {
			want = nil
		}
		if !slices.Equal(inits[n.Name], want) {
			f.Errorf("%s: inits %v, wanted %v", n.Name, inits[n.Name], want)
		}
		delete(inits, n.Name)
	}
	if len(inits) > 0 {
		f.Errorf("inits of nobody: %v", inits)
	}
	if l.Lab.Network == "linuxbridge" {
		if n := f.bridges(f.holder()); n != len(l.Links) {
			f.Errorf("%d bridges for %d links", n, len(l.Links))
		}
	}
}

func (f *faults) stopped(name string) {
	f.Helper()
	var l *inspectJSON
	f.await(name+" to be stopped", func() bool {
		l = f.inspect(faultLab)
		return slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool { return n.Name == name && n.Actual == "stopped" }) &&
			!slices.ContainsFunc(l.Nodes, func(n nodeJSON) bool { return n.Name != name && n.Actual != "running" })
	})
	f.each(l, []string{name})
}

func (f *faults) cut() {
	f.Helper()
	f.await("one link to be down", func() bool {
		return slices.ContainsFunc(f.inspect(faultLab).Links, func(k linkJSON) bool { return k.Actual == "down" })
	})
	if f.ping(faultLab, "n0", "10.1.0.2") {
		f.Error("a cut link carries packets")
	}
}

func (f *faults) gone() {
	f.Helper()
	f.await("nothing of the lab to be left", func() bool {
		return f.run("inspect", faultLab).code != 0 && len(f.inits(faultLab)) == 0
	})
	f.await("no process to be left", func() bool { return len(f.processes()) == 0 })
}

func writeFaults(t *testing.T, table map[string]map[string]int) {
	var b strings.Builder
	b.WriteString("# Killed at every place\n\nWritten by `make faults`. The engine of the real program is killed, as by a power cut, at each place\n" +
		"around each call to a provider or a network and around each write, in each operation; then another engine\n" +
		"starts. The number of places at which it was killed; at every one of them the lab came to rest as it was\n" +
		"wished, the operation could be asked for again, and no process, interface or bridge was left over.\n\n")
	pairs := slices.Sorted(maps.Keys(table))
	names := []string{"deploy", "apply", "start", "stop", "restart", "connect", "disconnect", "swap", "destroy"}
	fmt.Fprintf(&b, "| pair | %s | all |\n|%s\n", strings.Join(names, " | "), strings.Repeat(" --- |", len(names)+2))
	for _, pair := range pairs {
		sum := 0
		fmt.Fprintf(&b, "| %s |", pair)
		for _, name := range names {
			fmt.Fprintf(&b, " %d |", table[pair][name])
			sum += table[pair][name]
		}
		fmt.Fprintf(&b, " %d |\n", sum)
	}
	if err := os.WriteFile(cmp.Or(os.Getenv("FAULTS_DOC"), "../docs/faults.md"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
