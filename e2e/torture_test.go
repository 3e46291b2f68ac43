package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

	verbs, kills, ends, halts, rests int
	history                          []string
}

func (o *torture) note(format string, args ...any) {
	o.history = append(o.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (o *torture) run(t *testing.T, span time.Duration) {
	o.p.here(t)
	o.w = o.p.w
	o.p.setting("network: " + o.p.network)
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
	said := fmt.Sprintf("%s: %d verbs, %d kills, %d ends, %d halts, %d times at rest in %s",
		o.p.name(), o.verbs, o.kills, o.ends, o.halts, o.rests, span)
	t.Log(said)
	if os.Getenv("E2E_TELL") != "" {
		fmt.Fprintln(os.Stderr, said)
	}
}

func (o *torture) deployWords(l *randomLab) []string {
	return []string{"deploy", o.w.file(l.name+".clab.yml", l.text)}
}

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
	switch o.random.IntN(20) {
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
		return []string{"exec", l.name, node, "--", "true"}
	default:
		return []string{"network", l.name, []string{o.p.network, o.p.other}[o.random.IntN(2)]}
	}
}

// storm asks for things and lets no engine live for long.
func (o *torture) storm(t *testing.T, span time.Duration) {
	w := o.w
	var runs []*background
	begin := func(verb []string) {
		o.note("%s", strings.Join(verb, " "))
		runs = append(runs, w.begin(verb...))
		o.verbs++
	}
	for over := time.Now().Add(span); time.Now().Before(over); {
		verb := o.verb()
		begin(verb)
		if o.random.IntN(4) == 0 { // two clients, with the same wish or another
			if o.random.IntN(2) == 0 {
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
			o.strike(victims[o.random.IntN(len(victims))].pid, what)
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

// rest wants the labs to come to rest, and all to be true and well then.
func (o *torture) rest(t *testing.T) {
	o.note("rest")
	for _, l := range o.labs {
		o.settle(t, l.name)
		if t.Failed() {
			return
		}
	}
	o.w.await("one engine and one holder to be left", func() bool {
		return len(o.w.find("", process.serves)) <= 1 && len(o.w.find("", process.holds)) <= 1
	})
	if o.random.IntN(2) == 0 {
		for _, l := range o.labs {
			o.note("deploy %s at rest", l.name)
			o.deploy(t, l)
			if t.Failed() {
				return
			}
		}
	}
	if o.random.IntN(2) == 0 {
		o.destroyAll(t)
		var now []string
		if !became(func() bool { now = o.p.portrait(); return slices.Equal(now, o.before) }) {
			t.Errorf("the machine after destroy has more and has less than before:\n%s", difference(now, o.before))
		}
	}
	o.rests++
}

// settle waits until a lab is as it is wished, and compares it to the machine.
func (o *torture) settle(t *testing.T, name string) {
	w := o.w
	if !became(func() bool {
		r := w.run("inspect", name, "--json")
		if r.code != 0 {
			return true
		}
		l := &inspectJSON{}
		w.decode(r.out, l)
		return l.rests() && !w.works(name)
	}) {
		t.Fatalf("%s does not come to rest: %s\n%s\n%s", name, w.run("inspect", name), w.run("jobs", name), o.seen())
	}
	if w.run("inspect", name).code == 0 {
		o.p.mustAgree(t, name)
	}
}

// deploy has a lab as its file says, and wants its cables to carry.
func (o *torture) deploy(t *testing.T, l *randomLab) {
	w := o.w
	if r := w.run(o.deployWords(l)...); r.code != 0 {
		t.Fatalf("at rest: %s\n%s\n%s", r, w.run("inspect", l.name), l.text)
	}
	o.settle(t, l.name)
	is := w.inspect(l.name)
	for i, k := range l.links {
		if at := is.link(k[0], k[1]); at.Actual != "up" {
			t.Errorf("%s: %s -- %s is not up after its file was deployed: %+v\n%s", l.name, k[0], k[1], at, l.text)
			continue
		}
		from := endOf(k[0])
		if endOf(k[1]) == "sw" || is.node(from).Provider == "libvirt" || is.node(endOf(k[1])).Provider == "libvirt" {
			continue
		}
		if to := fmt.Sprintf("10.1.%d.2", i); !became(func() bool { return w.ping(l.name, from, to) }) {
			t.Errorf("%s: %s does not reach %s\n%s\n%s", l.name, from, to, l.text, o.seen())
		}
	}
}

// seen is the portrait without files, and with the namespaces that only a
// mount or an open file of a process keeps.
func (o *torture) seen() string {
	is := slices.DeleteFunc(o.p.portrait(), func(s string) bool {
		return strings.HasPrefix(s, "file ") || strings.HasPrefix(s, "namespace ")
	})
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	kept, _ := filepath.Glob(filepath.Join(o.w.home, "*/*/*/*/*/*/ns-*"))
	paths = append(paths, kept...)
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, path := range open {
		if to, _ := os.Readlink(path); strings.HasPrefix(to, "net:[") {
			paths = append(paths, path)
		}
	}
	in, at := inNamespaces(paths)
	for i := range in {
		is = append(is, at[i]+": "+in[i])
	}
	return strings.Join(is, "\n")
}

func (o *torture) destroyAll(t *testing.T) {
	w := o.w
	o.note("destroy all")
	for _, l := range o.labs {
		if r := w.run("destroy", l.name, "--yes"); r.code != 0 && !strings.Contains(r.err, "no lab") {
			t.Errorf("%s", r)
		}
	}
	w.await("no process to be left", func() bool { return len(w.processes()) == 0 })
}

// reportCrash wants no engine to have ended by itself.
func reportCrash(t *testing.T, w *world) {
	t.Helper()
	if log, err := os.ReadFile(w.state() + "/engine.log"); err == nil && strings.Contains(string(log), "goroutine ") {
		t.Fatalf("an engine crashed:\n%s", log)
	}
}
