package sim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"archetype/backends"
	"archetype/engine"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/sim"
	"archetype/store"
	"archetype/vendors"
)

// driver runs one seed: an engine, whole and as it is, over a simulated
// machine and a simulated clock. Everything that reaches the engine from
// outside — the end of a call, an event, the passing of time, a user's wish, a
// crash — is a step, and a generator of random numbers says which one is
// next. Between two steps the engine comes to rest, so that a seed has one
// course only.
type driver struct {
	*testing.T
	seed  uint64
	rng   *rand.Rand
	kinds *vendors.Registry
	dir   string
	w     *sim.World

	mu      sync.Mutex
	held    []*held // calls that wait for their verdict
	events  []sim.Event
	dead    bool // the engine's process is no more
	disk    bool // it refuses to be written to
	faults  []string
	ops     []*op // what users have asked for and wait for
	started chan error
	// How often each call was made while the clock stood still.
	instant  time.Time
	instants map[string]int

	e      *engine.Engine
	st     *store.Store
	cancel context.CancelFunc
	down   []string

	calm, failed bool
	steps        int
	said         []string // the course

	lost   bool              // something that was asked for may never have been saved
	wishes map[string]string // what was wished, by node and link, as far as it is known
	boots  map[string]bootSeen
	counts map[string]int
}

type held struct {
	call   sim.Call
	answer chan sim.Verdict
}

// op is a user's request that is under way.
type op struct {
	what string
	err  error
	done bool
}

type bootSeen struct{ pid, progress int }

// Pass holds a call until a step says how it ends.
func (d *driver) Pass(ctx context.Context, c sim.Call) sim.Verdict {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		<-ctx.Done()
		return sim.Verdict{Err: ctx.Err()}
	}
	h := &held{call: c, answer: make(chan sim.Verdict, 1)}
	d.held = append(d.held, h)
	if now := time.Now(); !now.Equal(d.instant) {
		d.instant, d.instants = now, map[string]int{}
	}
	if d.instants[c.String()]++; d.instants[c.String()] == 12 {
		d.faults = append(d.faults, "spins: at one instant, again and again: "+c.String())
	}
	d.mu.Unlock()
	select {
	case v := <-h.answer:
		return v
	case <-ctx.Done():
		d.mu.Lock()
		d.held = slices.DeleteFunc(d.held, func(x *held) bool { return x == h })
		d.mu.Unlock()
		return sim.Verdict{Err: ctx.Err()}
	}
}

// fault is what the disk says.
func (d *driver) fault(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.dead:
		return errors.New("this process is dead")
	case d.disk:
		return errors.New("no space left on the simulated device")
	}
	return nil
}

// watchful is a log handler that takes errors of ours for what they are.
type watchful struct{ d *driver }

func (watchful) Enabled(context.Context, slog.Level) bool { return true }
func (h watchful) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h watchful) WithGroup(string) slog.Handler          { return h }
func (h watchful) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	var refused *store.ConstraintError
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		if err, ok := a.Value.Any().(error); ok && errors.As(err, &refused) {
			text = "refused by the store: " + text
		}
		return true
	})
	if r.Message == "illegal transition" || refused != nil {
		h.d.mu.Lock()
		h.d.faults = append(h.d.faults, text)
		h.d.mu.Unlock()
	}
	return nil
}

var allKinds = sync.OnceValue(func() *vendors.Registry {
	kinds, _, err := vendors.Load("")
	if err != nil {
		panic(err)
	}
	return kinds.Under(sim.ProviderName)
})

func newDriver(t *testing.T, seed uint64, dir string) *driver {
	d := &driver{T: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5eed)), dir: dir, w: sim.NewWorld(),
		kinds: allKinds(), wishes: map[string]string{}, boots: map[string]bootSeen{}, counts: map[string]int{}}
	d.w.Gate = d
	d.w.Tell = func(ev sim.Event) {
		d.mu.Lock()
		d.events = append(d.events, ev)
		d.mu.Unlock()
	}
	d.w.Foreign("somebody-elses")
	d.boot()
	return d
}

// boot starts the program.
func (d *driver) boot() {
	st, err := store.Open(filepath.Join(d.dir, "db"), store.Options{NoSync: true, Fault: func(p string) error { return d.fault(p) }})
	if err != nil {
		d.Fatalf("the store does not open after a crash: %v", err)
	}
	reg := &backends.Registry{}
	reg.AddProvider(d.w.Provider())
	for _, n := range d.w.Networks() {
		reg.AddNetwork(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.st, d.cancel, d.dead = st, cancel, false
	d.started = make(chan error, 1)
	go func() {
		e, err := engine.New(ctx, engine.Options{Store: st, Backends: reg, Vendors: d.kinds,
			Defaults: engine.Defaults{Provider: sim.ProviderName, Network: sim.CableName, BootTimeout: 2 * time.Minute}, Log: slog.New(watchful{d}), Parallel: 1000})
		d.mu.Lock()
		d.e = e
		d.mu.Unlock()
		d.started <- err
	}()
	synctest.Wait()
	d.up()
}

// up reports whether the engine has come up, and fails if it never will.
func (d *driver) up() bool {
	select {
	case err := <-d.started:
		if err != nil {
			d.fail("the engine does not start: %v", err)
		}
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.e != nil
}

// crash ends the program in the middle of whatever it does. What it has begun
// outside may or may not have been done; what it did not save is lost.
func (d *driver) crash() {
	d.mu.Lock()
	d.dead = true
	calls := d.sorted()
	d.mu.Unlock()
	for _, h := range calls {
		if d.rng.IntN(3) == 0 {
			d.note("crash: %s is done unheard", h.call)
			h.answer <- sim.Verdict{Err: context.Canceled, Late: true}
			synctest.Wait()
		}
	}
	d.cancel()
	synctest.Wait()
	d.mu.Lock()
	e := d.e
	d.held, d.e = nil, nil
	d.mu.Unlock()
	if e != nil {
		e.Shutdown()
	}
	synctest.Wait()
	if err := d.st.Close(); err != nil {
		d.fail("the store does not close: %v", err)
	}
	// What could not be saved is lost, and said to be; what a request asked
	// for that nobody has answered may be or not.
	if d.unsaved(e) || slices.ContainsFunc(d.ops, func(o *op) bool { return !o.done || o.err != nil }) {
		d.wishes, d.lost = nil, true
	}
	d.ops = nil
	d.boots = map[string]bootSeen{}
	d.boot()
}

// unsaved reports whether the engine has said that it cannot save.
func (d *driver) unsaved(e *engine.Engine) bool {
	if e == nil {
		return d.disk
	}
	s, _ := e.Snapshot(context.Background())
	for i := len(s.Events) - 1; i >= 0; i-- {
		if text := s.Events[i].Text; strings.HasPrefix(text, "state ") {
			return text != "state is saved again"
		}
	}
	return false
}

// sorted are the held calls in an order that does not depend on who came
// first; d.mu is held.
func (d *driver) sorted() []*held {
	out := slices.Clone(d.held)
	slices.SortStableFunc(out, func(a, b *held) int { return strings.Compare(a.call.String(), b.call.String()) })
	return out
}

func (d *driver) take(h *held) {
	d.mu.Lock()
	d.held = slices.DeleteFunc(d.held, func(x *held) bool { return x == h })
	d.mu.Unlock()
}

// note makes something part of the course.
func (d *driver) note(format string, args ...any) {
	d.said = append(d.said, fmt.Sprintf(format, args...))
}

func (d *driver) fail(format string, args ...any) {
	d.Helper()
	about := ""
	if d.e != nil {
		s, _ := d.e.Snapshot(context.Background())
		about = describe(s)
	}
	contents := d.w.Contents()
	if !d.failed { // so that nothing of the engine is left when the test ends
		d.failed = true
		d.finish()
	}
	tail := d.said[max(0, len(d.said)-number("SIM_TAIL", 60)):]
	d.Fatalf("seed %d, step %d: %s\n\nThe machine has:\n  %s\nThe engine says:\n%s\nThe last steps:\n  %s\nOnce more: SIM_SEED=%d go test ./sim -run TestSeeds -v",
		d.seed, d.steps, fmt.Sprintf(format, args...), strings.Join(contents, "\n  "), about, strings.Join(tail, "\n  "), d.seed)
}

func describe(s *api.Snapshot) string {
	var b strings.Builder
	for _, l := range s.Labs {
		fmt.Fprintf(&b, "  lab %s %s by %s\n", l.Name, l.State, l.Network)
		for _, n := range l.Nodes {
			fmt.Fprintf(&b, "    %s wish=%s is=%s %d%% retries=%d %s %s\n", n.Name, n.Desired, n.Actual, n.Progress, n.Retries, n.ProgressText, n.Error)
		}
		for _, k := range l.Links {
			fmt.Fprintf(&b, "    %s wish=%s is=%s carrier=%s by %s %s\n", k.ID(), k.Desired, k.Actual, k.Carrier, k.Network, k.Error)
		}
	}
	for _, j := range s.Jobs {
		if !j.State.Ended() {
			fmt.Fprintf(&b, "    job %s %s %s %d/%d %s until %s\n", j.ID, j.Verb, j.Target, j.Done, j.Total, j.Text, j.Deadline.Format(time.TimeOnly))
		}
	}
	for _, ev := range s.Events[max(0, len(s.Events)-25):] {
		fmt.Fprintf(&b, "    %s %s %s %s%s: %s\n", ev.Time.Format("15:04:05.000"), ev.Level, ev.Lab, ev.Node, ev.Link, ev.Text)
	}
	return b.String()
}

// chaos runs the steps in which everything can happen.
func (d *driver) chaos(steps int) {
	for range steps {
		d.step()
		d.check()
	}
}

func (d *driver) step() {
	d.steps++
	d.mu.Lock()
	calls, events := d.sorted(), len(d.events)
	d.mu.Unlock()
	booting := d.w.Booting()
	up := d.up()
	if wide {
		var names []string
		for _, h := range calls {
			names = append(names, h.call.String())
		}
		d.note("  (%d: %s; %d events, %v booting, up=%v)", time.Now().UnixNano(), strings.Join(names, ", "), events, booting, up)
	}
	kinds := []struct {
		weight int
		do     func()
	}{
		{when(len(calls) > 0, 400), func() { d.endCall(calls[d.rng.IntN(len(calls))]) }},
		{when(events > 0, 250), d.tellEvent},
		{when(len(booting) > 0, 150), func() { d.bootLine(booting[d.rng.IntN(len(booting))]) }},
		{120, d.pass},
		{when(up, 50), d.ask},
		{25, d.mischief},
		{3, func() { d.note("crash"); d.counts["crash"]++; d.crash() }},
		{4, d.toggleDisk},
		{4, d.toggleBackend},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := d.rng.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			k.do()
			break
		}
	}
	synctest.Wait()
}

// wide has the course say what else could have been next.
var wide = os.Getenv("SIM_WIDE") != ""

func when(ok bool, weight int) int {
	if ok {
		return weight
	}
	return 0
}

// endCall lets a call happen: mostly well.
func (d *driver) endCall(h *held) {
	d.take(h)
	v := sim.Verdict{}
	if !d.calm {
		switch d.rng.IntN(40) {
		case 0, 1:
			v.Err = errors.New("a simulated failure")
		case 2:
			v = sim.Verdict{Err: errors.New("a simulated failure after the fact"), Late: true}
		case 3:
			v = sim.Verdict{Err: errors.New("a simulated failure half-way"), Half: true}
		}
	}
	d.note("%s: %v", h.call, v)
	d.counts["call"]++
	h.answer <- v
}

// tellEvent delivers an event, or loses, repeats or passes over one.
func (d *driver) tellEvent() {
	d.mu.Lock()
	at := 0
	fate := 100
	if !d.calm {
		if fate = d.rng.IntN(20); fate == 0 {
			at = d.rng.IntN(len(d.events))
		}
	}
	ev := d.events[at]
	if fate != 1 { // else it comes again
		d.events = slices.Delete(d.events, at, at+1)
	}
	d.mu.Unlock()
	d.counts["event"]++
	if fate == 2 {
		d.note("lost: %s", eventText(ev))
		return
	}
	d.note("event: %s", eventText(ev))
	d.w.Deliver(ev)
}

func eventText(ev sim.Event) string {
	if ev.Node != nil {
		return fmt.Sprintf("%s %s running=%v boot=%d gone=%v", ev.From, ev.Node.Ref, ev.Node.Running, ev.Node.Boot, ev.Node.Gone)
	}
	return fmt.Sprintf("%s %s/%s connected=%v gone=%v carrier=%s", ev.From, ev.Link.Lab, ev.Link.ID, ev.Link.Connected, ev.Link.Gone, ev.Link.Carrier)
}

func (d *driver) bootLine(ref backends.NodeRef) {
	d.note("boot %s", ref)
	d.counts["boot"]++
	d.w.Boot(ref)
}

// pass lets time pass: mostly moments, at times minutes.
func (d *driver) pass() {
	var t time.Duration
	switch n := d.rng.IntN(100); {
	case n < 60:
		t = time.Duration(d.rng.IntN(100)) * time.Millisecond
	case n < 90:
		t = time.Duration(d.rng.IntN(3000)) * time.Millisecond
	case n < 99:
		t = time.Duration(d.rng.IntN(30)) * time.Second
	default:
		t = time.Duration(d.rng.IntN(240)) * time.Second
	}
	// To the nanosecond, so that no two timers end at one instant, whose order
	// would not be told.
	t += time.Duration(d.rng.IntN(int(time.Millisecond)))
	d.note("%s pass", t)
	d.counts["time"]++
	time.Sleep(t)
}

func (d *driver) toggleDisk() {
	d.mu.Lock()
	d.disk = !d.disk && d.rng.IntN(2) == 0
	d.note("disk refuses: %v", d.disk)
	d.mu.Unlock()
}

func (d *driver) toggleBackend() {
	if len(d.down) > 0 {
		d.note("%s is back", d.down[0])
		d.w.Up(d.down[0])
		d.down = d.down[1:]
		return
	}
	name := []string{sim.ProviderName, sim.CableName, sim.SwitchName}[d.rng.IntN(3)]
	d.note("%s is down", name)
	d.w.Down(name)
	d.down = append(d.down, name)
}

func (d *driver) mischief() {
	refs, wires := d.w.Refs(), d.w.Wires()
	d.counts["mischief"]++
	n := d.rng.IntN(20)
	switch {
	case n == 0 && len(d.down) == 0:
		d.note("reboot of the machine")
		d.w.Reboot()
	case n == 1 && len(refs) > 0:
		ref := backends.NodeRef{Lab: refs[0].Lab, Node: "stray"}
		d.note("stray %s", ref)
		d.w.Stray(ref)
	case n < 11 && len(refs) > 0:
		ref := refs[d.rng.IntN(len(refs))]
		what := d.rng.IntN(3)
		d.note("mischief %d to %s", what, ref)
		[]func(){func() { d.w.Kill(ref, "killed by chance") }, func() { d.w.Vanish(ref) }, func() { d.w.Restart(ref) }}[what]()
	case len(wires) > 0:
		k := wires[d.rng.IntN(len(wires))]
		what := d.rng.IntN(4)
		d.note("mischief %d to link %s/%s", what, k[0], k[1])
		[]func(){func() { d.w.Unplug(k[0], k[1]) }, func() { d.w.Sever(k[0], k[1]) },
			func() { d.w.SetCarrier(k[0], k[1], lab.CarrierOff) }, func() { d.w.SetCarrier(k[0], k[1], lab.CarrierOn) }}[what]()
	}
}

// finish ends the program in good order.
func (d *driver) finish() {
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
	d.cancel()
	synctest.Wait()
	if d.e != nil {
		d.e.Shutdown()
	}
	synctest.Wait()
	_ = d.st.Close()
}

// scratch is a folder for the files of a seed, in memory where there is such.
func scratch(t testing.TB) string {
	base := ""
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "archetype-sim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
