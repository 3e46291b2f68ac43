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
	visits  []*visit
	removed []string // labs of which a node was removed that is no part of them
	started chan error
	// How often each call was made while the clock stood still.
	instant  time.Time
	instants map[string]int
	clock    clock
	jobs     map[string]jobSeen
	checked  time.Time // when the rules were last looked at, or this engine was started

	e      *engine.Engine
	st     *store.Store
	cancel context.CancelFunc
	down   []string
	taken  []backends.NodeRef // names that are somebody else's at present

	calm    bool
	refuses func(sim.Call) error // what fails though all is calm; nil: nothing
	stuck   func(sim.Call) bool  // what is not answered then; nil: nothing
	steps   int
	said    []string                         // the course
	rule    func(*api.Snapshot) (bad string) // one more that must hold; nil: none

	lost   bool              // something that was asked for may never have been saved
	wishes map[string]string // what was wished, by node and link, as far as it is known
	seen   *api.Snapshot     // of which they are
	boots  map[string]bootSeen
	counts map[string]int
	heard  uint64 // the latest event of the engine that was counted
}

// held is a call that waits for its verdict or, with heard, one that has
// happened, and of which its caller has not heard yet.
type held struct {
	call   sim.Call
	answer chan sim.Verdict
	heard  chan struct{}
}

func (h *held) String() string {
	if h.heard != nil {
		return "answer to " + h.call.String()
	}
	return h.call.String()
}

// op is a user's request that is under way.
type op struct {
	what string
	err  error
	done bool
}

// theirs is what is nobody's here.
var theirs = backends.NodeRef{Lab: "elsewhere", Node: "theirs"}

type bootSeen struct{ pid, progress int }

// Pass holds a call until a step says how it ends.
func (d *driver) Pass(ctx context.Context, c sim.Call) sim.Verdict {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		<-ctx.Done()
		return sim.Verdict{Err: ctx.Err()}
	}
	if c.Verb == "remove" && c.On == stray {
		d.removes(c.Lab)
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
		kinds: allKinds(), wishes: map[string]string{}, boots: map[string]bootSeen{}, counts: map[string]int{}, clock: clock{begin: time.Now()}, jobs: map[string]jobSeen{}}
	d.w.Gate = d
	d.w.Tell = func(ev sim.Event) {
		d.mu.Lock()
		d.events = append(d.events, ev)
		d.mu.Unlock()
	}
	d.w.Foreign(theirs)
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
	reg.SetOutside(d.w.Outside())
	reg.AddProvider(d.w.Provider())
	for _, n := range d.w.Networks() {
		reg.AddNetwork(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.st, d.cancel, d.dead = st, cancel, false
	d.checked = time.Now()
	for id, j := range d.jobs { // one that goes on has all its time again
		j.at = d.checked
		d.jobs[id] = j
	}
	d.started = make(chan error, 1)
	go func() {
		e, err := engine.New(ctx, engine.Options{Store: st, Backends: reg, Vendors: d.kinds,
			Defaults: engine.Defaults{Provider: sim.ProviderName, Network: sim.CableName, BootTimeout: 2 * time.Minute}, Log: slog.New(watchful{d}), Parallel: 1000, Now: d.clock.now})
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
		if h.heard == nil && d.rng.IntN(3) == 0 {
			d.note("crash: %s is done unheard", h.call)
			h.answer <- sim.Verdict{Err: context.Canceled, Late: true}
			synctest.Wait()
		}
	}
	d.cancel()
	for _, v := range d.open() {
		v.cancel()
	}
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
		clear(d.jobs) // one of them may not be stored, and its number be given again
	}
	d.ops, d.visits, d.removed = nil, nil, nil
	d.boots, d.heard = map[string]bootSeen{}, 0
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
	slices.SortStableFunc(out, func(a, b *held) int { return strings.Compare(a.String(), b.String()) })
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

// failure is what a seed ends with that finds something wrong.
type failure struct {
	seed   uint64
	step   int
	what   string
	about  string // the state of everything
	course []string
}

func (f *failure) Error() string {
	tail := f.course[max(0, len(f.course)-number("SIM_TAIL", 60)):]
	return fmt.Sprintf("seed %d, step %d: %s\n\n%s\nThe last steps:\n  %s\nOnce more: SIM_SEED=%d go test ./sim -run TestSeeds -v",
		f.seed, f.step, f.what, f.about, strings.Join(tail, "\n  "), f.seed)
}

// fail ends the seed.
func (d *driver) fail(format string, args ...any) {
	f := &failure{seed: d.seed, step: d.steps, what: fmt.Sprintf(format, args...), course: d.said}
	f.about = "The machine has:\n  " + strings.Join(d.w.Contents(), "\n  ")
	if d.e != nil {
		s, _ := d.e.Snapshot(context.Background())
		f.about += "\nThe engine says:\n" + describe(s)
	}
	d.finish() // so that nothing of the engine is left when the test ends
	panic(f)
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

// finish ends the program in good order.
func (d *driver) finish() {
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
	d.cancel()
	for _, v := range d.open() {
		v.cancel()
	}
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
