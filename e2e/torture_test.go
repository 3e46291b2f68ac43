package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestKilledAtRandom kills the engine or the holder every few hundred
// milliseconds, ends it, or halts it for a while, while random operations are
// carried out on labs of random form. Every few seconds it lets the labs come
// to rest: inspect says then what the machine says, the file can be deployed,
// its cables carry, and after destroy the machine is as it was before. TORTURE
// says for how long on each pair, FAULTS_SEED what happens.
func TestKilledAtRandom(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("TORTURE"))
	if err != nil {
		t.Skip("runs only in make torture (TORTURE=1m kills for a minute on each pair)")
	}
	seed := rand.Uint64()
	if s := os.Getenv("FAULTS_SEED"); s != "" {
		_, _ = fmt.Sscan(s, &seed)
	}
	pairs := slices.Concat(thePairs(), morePairs())
	if given := os.Getenv(envSandbox); given != "" {
		program = given
		var i int
		_, _ = fmt.Sscan(os.Getenv("E2E_PAIR"), &i)
		(&torture{p: pairs[i], random: rand.New(rand.NewPCG(seed, uint64(i)))}).run(t, span)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a machine of its own")
	}
	t.Logf("FAULTS_SEED=%d", seed)
	for i, p := range pairs {
		t.Run(p.provider+"-"+p.network, func(t *testing.T) {
			if why := p.missing(); why != "" {
				t.Skip(why)
			}
			alone(t, fmt.Sprintf("E2E_PAIR=%d", i), fmt.Sprintf("FAULTS_SEED=%d", seed))
		})
	}
}

// torture is what is done to one pair.
type torture struct {
	p      *pair
	w      *world
	random *rand.Rand
	labs   []*randomLab
	before []string // the machine without a lab

	goesOn bool // the verb that was just asked for goes on until it is ended
	lost   bool // the store, since the machine was last without a lab

	verbs, kills, ends, halts, hands, rests int
	history                                 []string
}

func (o *torture) note(format string, args ...any) {
	o.history = append(o.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (o *torture) run(t *testing.T, span time.Duration) {
	o.p.disk = "64m"
	o.p.here(t)
	o.w = o.p.w
	o.p.setting("network: " + o.p.network)
	o.p.setting("retry: {cap: 10s, rest: 20s}") // more befalls a lab here in a minute than elsewhere in a year
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: link("nic"), PeerName: "cable"}))
	address(t, "cable", "")
	address(t, "nic", "192.0.2.1/24")
	defer func() {
		if t.Failed() {
			t.Logf("what was done:\n%s", strings.Join(o.history, "\n"))
		}
	}()
	for _, name := range []string{"one", "two"} {
		l := o.p.randomLab(o.random, name)
		o.labs = append(o.labs, l)
		o.deploy(t, l)
	}
	o.destroyAll(t)
	o.before = o.p.portrait()
	for end := time.Now().Add(span); time.Now().Before(end) && !t.Failed(); {
		o.storm(t, min(15*time.Second, time.Until(end)))
		o.rest(t)
	}
	said := fmt.Sprintf("%s: %d verbs, %d kills, %d ends, %d halts, %d by hand, %d times at rest in %s",
		o.p.name(), o.verbs, o.kills, o.ends, o.halts, o.hands, o.rests, span)
	t.Log(said)
	if os.Getenv("E2E_TELL") != "" {
		fmt.Fprintln(os.Stderr, said)
	}
}

func (o *torture) deployWords(l *randomLab) []string {
	return []string{"deploy", o.w.file(l.name+".clab.yml", l.text)}
}

// storm asks for things and lets no engine live for long.
func (o *torture) storm(t *testing.T, span time.Duration) {
	w := o.w
	var runs, going []*background
	begin := func(verb []string) {
		o.note("%s", strings.Join(verb, " "))
		b := w.begin(verb...)
		if o.goesOn {
			o.goesOn, going = false, append(going, b)
		} else {
			runs = append(runs, b)
		}
		o.verbs++
	}
	leave := func(b *background) {
		w.signal(b.pid, pick(o, []syscall.Signal{syscall.SIGINT, syscall.SIGKILL}))
		_ = b.wait()
	}
	for over := time.Now().Add(span); time.Now().Before(over); {
		verb := o.verb()
		goesOn := o.goesOn
		begin(verb)
		if o.random.IntN(4) == 0 { // two clients, with the same wish or another
			if o.goesOn = goesOn; o.random.IntN(2) == 0 {
				o.goesOn = false
				verb = o.verb()
			}
			begin(verb)
		}
		time.Sleep(time.Duration(100+o.random.IntN(400)) * time.Millisecond)
		is, what := process.serves, "engine"
		if o.random.IntN(5) == 0 {
			is, what = process.holds, "holder"
		}
		// Two may begin at once, of which one will see that it is not needed.
		if victims := w.find("", is); len(victims) > 0 {
			o.strike(pick(o, victims).pid, what)
		}
		if o.random.IntN(3) == 0 {
			o.meddle()
		}
		if n := len(runs); n > 0 && o.random.IntN(10) == 0 { // whoever asked goes away
			o.note("leave %v", runs[n-1].args)
			leave(runs[n-1])
			runs = runs[:n-1]
		}
		for len(going) > 2 {
			leave(going[0])
			going = going[1:]
		}
		runs = slices.DeleteFunc(runs, ended)
		for len(runs) > 6 { // no more at once than a few people would do
			_ = runs[0].wait()
			runs = runs[1:]
		}
		reportCrash(t, w)
	}
	for _, b := range going {
		leave(b)
	}
	for _, b := range runs {
		_ = b.wait()
	}
}

// strike does one of what can become of a process.
func (o *torture) strike(victim int, what string) {
	w := o.w
	switch o.random.IntN(8) {
	case 0: // it ends by itself, and another takes over
		if what == "engine" {
			o.note("end the engine %d", victim)
			w.signal(victim, syscall.SIGTERM)
			o.ends++
			return
		}
	case 1: // it halts, and goes on as if nothing had been
		o.note("halt the %s %d", what, victim)
		w.signal(victim, syscall.SIGSTOP)
		time.Sleep(time.Duration(100+o.random.IntN(1500)) * time.Millisecond)
		w.signal(victim, syscall.SIGCONT)
		o.note("goes on: %d", victim)
		o.halts++
		return
	}
	o.note("kill the %s %d", what, victim)
	w.strike(victim)
	o.kills++
}

// reportCrash wants no engine to have ended by itself.
func reportCrash(t *testing.T, w *world) {
	t.Helper()
	if log, err := os.ReadFile(w.state() + "/engine.log"); err == nil && strings.Contains(string(log), "goroutine ") {
		t.Fatalf("an engine crashed:\n%s", log)
	}
}
