package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKilledAtRandom kills the engine or the holder every few hundred
// milliseconds while random operations are carried out on labs of random
// sizes. In the end all is as it is wished, inspect says what the machine
// says, and nothing is left. TORTURE says for how long on each pair,
// FAULTS_SEED what happens.
func TestKilledAtRandom(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("TORTURE"))
	if err != nil {
		t.Skip("runs only in make torture (TORTURE=1m kills for a minute on each pair)")
	}
	seed := rand.Uint64()
	if s := os.Getenv("FAULTS_SEED"); s != "" {
		_, _ = fmt.Sscan(s, &seed)
	}
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		var i int
		_, _ = fmt.Sscan(os.Getenv("E2E_PAIR"), &i)
		torture(t, thePairs()[i], span, rand.New(rand.NewPCG(seed, uint64(i))))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Logf("FAULTS_SEED=%d", seed)
	for i, p := range thePairs() {
		t.Run(p.provider+"-"+p.network, func(t *testing.T) {
			if why := p.missing(); why != "" {
				t.Skip(why)
			}
			alone(t, fmt.Sprintf("E2E_PAIR=%d", i), fmt.Sprintf("FAULTS_SEED=%d", seed))
		})
	}
}

func torture(t *testing.T, p *pair, span time.Duration, random *rand.Rand) {
	p.here(t)
	w := p.w
	labs := []string{"one", "two"}
	sizes := map[string]int{}
	verb := func(name string) []string {
		n := max(1, sizes[name])
		node := fmt.Sprintf("n%d", random.IntN(n))
		i := random.IntN(n)
		ends := []string{name, fmt.Sprintf("n%d:eth1", i), fmt.Sprintf("n%d:eth2", (i+1)%n)}
		switch random.IntN(10) {
		case 0:
			return []string{"destroy", name, "--yes"}
		case 1, 2, 3:
			sizes[name] = 2 + random.IntN(3)
			return []string{"deploy", w.file(name+".clab.yml", strings.ReplaceAll(p.lab(name, sizes[name]), "lab-mgmt", "lab-mgmt-"+name)), "--network", p.network}
		case 4:
			return []string{"stop", name, node}
		case 5:
			return []string{"start", name, node}
		case 6:
			return []string{"restart", name, node}
		case 7:
			return append([]string{"link", "disconnect"}, ends...)
		case 8:
			return append([]string{"link", "connect"}, ends...)
		default:
			return []string{"network", name, []string{p.network, p.other}[random.IntN(2)]}
		}
	}
	var kills, verbs int
	over := time.After(span)
	var runs []*background
	for killing := true; killing; {
		name := labs[random.IntN(len(labs))]
		runs = append(runs, w.begin(verb(name)...))
		verbs++
		select {
		case <-time.After(time.Duration(100+random.IntN(400)) * time.Millisecond):
		case <-over:
			killing = false
		}
		victim := w.engine()
		if random.IntN(5) == 0 {
			victim = w.holder()
		}
		if victim != 0 {
			w.strike(victim)
			kills++
		}
		runs = slices.DeleteFunc(runs, ended)
		for len(runs) > 6 { // no more at once than a few people would do
			_ = runs[0].wait()
			runs = runs[1:]
		}
		reportCrash(t, w)
	}
	for _, b := range runs {
		_ = b.wait()
	}
	for _, name := range labs {
		if !became(func() bool {
			r := w.run("inspect", name, "--json")
			if r.code != 0 {
				return true
			}
			l := &inspectJSON{}
			w.decode(r.out, l)
			return l.rests() && !w.works(name)
		}) {
			t.Fatalf("%s does not come to rest: %s\n%s", name, w.run("inspect", name), w.run("jobs", name))
		}
		if w.run("inspect", name).code == 0 {
			p.mustAgree(t, name)
			w.ok("destroy", name, "--yes")
		}
	}
	w.await("no process to be left", func() bool { return len(w.processes()) == 0 })
	for _, line := range p.portrait() {
		sort, what, _ := strings.Cut(line, " ")
		switch sort {
		case "file":
			if !strings.Contains(what, "/labs/") && !strings.Contains(what, "/run/"+p.provider) {
				continue
			}
		case "namespace":
			if !strings.Contains(what, "archetype:") && !strings.Contains(what, "archetype-") {
				continue
			}
		case "container":
			if strings.HasPrefix(what, "network ") && !strings.Contains(what, "lab-mgmt") {
				continue
			}
		}
		t.Errorf("left over: %s", line)
	}
	t.Logf("%s: %d verbs, %d kills", p.name(), verbs, kills)
	if os.Getenv("E2E_TELL") != "" {
		fmt.Fprintf(os.Stderr, "%s: %d verbs, %d kills in %s\n", p.name(), verbs, kills, span)
	}
}

// reportCrash wants no engine to have ended by itself.
func reportCrash(t *testing.T, w *world) {
	t.Helper()
	if log, err := os.ReadFile(w.state() + "/engine.log"); err == nil && strings.Contains(string(log), "goroutine ") {
		t.Fatalf("an engine crashed:\n%s", log)
	}
}
