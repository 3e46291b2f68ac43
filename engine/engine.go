package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/store"
	"archetype/vendors"
)

// Options is what an engine works with.
type Options struct {
	Store    *store.Store
	Backends *backends.Registry
	Vendors  *vendors.Registry
	// LoadVendors reads the kinds anew at each deploy, so that a file that
	// its user has mended counts; nil means that Vendors is all there is.
	LoadVendors func() (*vendors.Registry, []lab.Diagnostic, error)
	Defaults
	// LoadDefaults reads them anew at each deploy, so that what its user has
	// chosen since counts; nil means that Defaults is all there is.
	LoadDefaults func() (Defaults, error)
	Log          *slog.Logger
	// BootTimes is a file that remembers how long boots took; empty: they are
	// known as long as the engine lives.
	BootTimes string
	// Labs is the folder of the nodes' folders; empty: nobody looks there for
	// what is left of labs.
	Labs string
	// Used is the folder that says what labs were made with; empty: no account
	// is kept.
	Used string
	// Notices are to be shown as warnings among the events.
	Notices []string
	// Now tells the time; nil means time.Now.
	Now func() time.Time
	// Parallel is how many calls to backends are under way at most; 0 means
	// as many as suit the machine.
	Parallel int
}

// Defaults serve labs and kinds that say nothing themselves.
type Defaults struct {
	Provider, Network string
	// BootTimeout is how long a node may take to boot; 0 means the default.
	BootTimeout time.Duration
	// Policy is what is done about drift in labs that say nothing of it.
	Policy lab.Policy
	Retry  lab.Retry // nothing set: the default
	// LookEvery is how much time is between two looks at everything, the safety
	// net under the backends' events; 0 means the default.
	LookEvery time.Duration
}

// Engine is what runs labs. It implements api.Engine.
type Engine struct {
	opt     Options
	log     *slog.Logger
	now     func() time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	hub     *hub
	vendors atomic.Pointer[vendors.Registry]
	chosen  atomic.Pointer[Defaults]
	persist *persister
	boots   *bootTimes
	slots   chan struct{}
	linking chan struct{}            // slots for links, which nodes that can start do not wait behind
	batched chan struct{}            // slots for what networks carry out together
	starts  map[string]chan struct{} // slots for starts, by provider that bounds them
	wg      sync.WaitGroup

	mu    sync.Mutex // guards labs, and keeps a lab from being made twice
	labs  map[string]*controller
	ended map[string]time.Time // when labs that were destroyed went

	uses struct { // of backends, and when they were last
		sync.Mutex
		at map[string]time.Time
	}
	heard struct { // providers that have said what they have
		sync.Mutex
		of map[string]bool
	}

	events  atomic.Uint64
	jobs    atomic.Uint64
	decided atomic.Int64 // how many nodes and links were decided upon
}

var _ api.Engine = (*Engine)(nil)

// New starts an engine: it takes up what the store says is wanted and what
// the providers say there is, and goes on from there.
func New(ctx context.Context, opt Options) (*Engine, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Parallel <= 0 {
		opt.Parallel = max(16, 8*runtime.NumCPU())
	}
	ctx, cancel := context.WithCancel(ctx)
	e := &Engine{opt: opt, log: opt.Log, now: opt.Now, ctx: ctx, cancel: cancel,
		hub: newHub(), boots: newBootTimes(opt.BootTimes), labs: map[string]*controller{}, ended: map[string]time.Time{},
		slots: make(chan struct{}, opt.Parallel), linking: make(chan struct{}, opt.Parallel), batched: make(chan struct{}, max(128, opt.Parallel)),
		starts: map[string]chan struct{}{}}
	e.uses.at, e.heard.of = map[string]time.Time{}, map[string]bool{}
	for _, name := range opt.Backends.Providers() {
		p, _ := opt.Backends.Provider(name)
		if q, ok := p.(backends.Queuer); ok {
			e.starts[name] = make(chan struct{}, max(1, q.StartsAtOnce()))
		}
	}
	e.persist = newPersister(opt.Store, opt.Log, func(err error) {
		ev := &api.Event{Seq: e.nextEvent(), Time: e.now(), Level: api.LevelInfo, Text: "state is saved again"}
		if err != nil {
			ev.Level, ev.Text = api.LevelError, "state could not be saved: "+reason(err)
		}
		e.publishEvents([]*api.Event{ev})
	})
	e.vendors.Store(opt.Vendors)
	e.chosen.Store(&opt.Defaults)
	saved, err := e.loadSaved()
	if err != nil {
		cancel()
		return nil, err
	}
	e.spawn(func() { e.persist.run(ctx) })
	e.recover(saved)
	for _, text := range opt.Notices {
		ev := &api.Event{Seq: e.nextEvent(), Time: e.now(), Level: api.LevelWarn, Text: text}
		r := eventRecord(ev)
		e.publishEvents([]*api.Event{ev})
		_ = e.persist.put([]record{{func(tx *store.Tx) error { _, err := tx.AppendEvent(r); return err }, true}}, false)
	}
	return e, nil
}

// spawn runs f on a goroutine that Shutdown waits for.
func (e *Engine) spawn(f func()) {
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		f()
	}()
}

// Shutdown ends the engine; labs go on running. What was decided is stored.
func (e *Engine) Shutdown() {
	e.cancel()
	e.wg.Wait()
}

// Idle reports whether the engine has nothing to look after: no lab is
// deployed.
func (e *Engine) Idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.labs) == 0
}

// Close implements api.Engine. It is the use that ends, not the engine.
func (e *Engine) Close() error { return nil }

// kind returns the kind of a name or alias, nil for one that is not known.
func (e *Engine) kind(name string) *vendors.Kind {
	k, _ := e.vendors.Load().Kind(name)
	return k
}

// reloadVendors reads the kinds again. What is wrong with the user's files is
// returned; the kinds that are good count.
func (e *Engine) reloadVendors() []lab.Diagnostic {
	if e.opt.LoadVendors == nil {
		return nil
	}
	kinds, diags, err := e.opt.LoadVendors()
	if err != nil {
		return []lab.Diagnostic{{Severity: lab.SeverityWarning, Message: "the kinds could not be read again: " + reason(err)}}
	}
	e.vendors.Store(kinds)
	return diags
}

// defaults are what its user has chosen, as last read.
func (e *Engine) defaults() Defaults {
	d := *e.chosen.Load()
	if d.BootTimeout <= 0 {
		d.BootTimeout = lab.DefaultBootTimeout
	}
	if d.Policy == "" {
		d.Policy = lab.PolicyEnforce
	}
	if d.Retry == (lab.Retry{}) {
		d.Retry = lab.DefaultRetry()
	}
	if d.LookEvery <= 0 {
		d.LookEvery = lab.DefaultLookEvery
	}
	return d
}

// reloadDefaults reads them again. Where that fails, those of before count.
func (e *Engine) reloadDefaults() []lab.Diagnostic {
	if e.opt.LoadDefaults == nil {
		return nil
	}
	d, err := e.opt.LoadDefaults()
	if err != nil {
		return []lab.Diagnostic{{Severity: lab.SeverityWarning, Message: "the settings could not be read again: " + reason(err)}}
	}
	e.chosen.Store(&d)
	return nil
}

func (e *Engine) nextEvent() uint64 { return e.events.Add(1) }
func (e *Engine) nextJob() string   { return fmt.Sprintf("j%d", e.jobs.Add(1)) }

// limit runs f when there is room for one more effect of its sort. Who waits
// for a turn of its own first takes no room from others meanwhile.
func limit(ctx context.Context, f func() error, slots ...chan struct{}) error {
	for _, s := range slots {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f()
}

func (e *Engine) controller(name string) (*controller, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.labs[name]; c != nil {
		return c, nil
	}
	err := api.Errorf(api.CodeNotFound, "no lab %s is deployed", name)
	if len(e.labs) == 0 {
		err.Hint = "no lab is deployed at all"
	}
	return nil, err
}

// start runs a controller; e.mu is held.
func (e *Engine) start(c *controller) {
	e.labs[c.m.info.Name] = c
	e.serve(c)
}

// serve runs a controller that others know already.
func (e *Engine) serve(c *controller) {
	e.spawn(func() {
		c.run()
		if c.gone {
			e.mu.Lock()
			delete(e.labs, c.m.info.Name)
			e.ended[c.m.info.Name] = e.now()
			e.mu.Unlock()
		}
	})
}

// Snapshot implements api.Engine.
func (e *Engine) Snapshot(context.Context) (*api.Snapshot, error) {
	s, _ := e.hub.get()
	return s, nil
}

// Watch implements api.Engine.
func (e *Engine) Watch(ctx context.Context) (<-chan *api.Update, error) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(e.ctx, cancel)
	return e.hub.watch(ctx), nil
}

// Plan implements api.Engine.
func (e *Engine) Plan(ctx context.Context, req api.DeployRequest) (*api.Plan, error) {
	w, err := e.load(req)
	if err != nil {
		return nil, err
	}
	defer e.unfetch(w.top.Name)
	c, err := e.controller(w.top.Name)
	if err != nil {
		return w.plan(nil), nil
	}
	var p *api.Plan
	err = c.call(ctx, func(c *controller) error { p = w.plan(c); return nil })
	return p, err
}

// Deploy implements api.Engine.
func (e *Engine) Deploy(ctx context.Context, req api.DeployRequest) (*api.Deployed, error) {
	w, err := e.load(req)
	if err != nil {
		return nil, err
	}
	defer e.unfetch(w.top.Name)
	if err := e.checkBackends(ctx, w); err != nil {
		return nil, err
	}
	if err := e.checkOutside(ctx, w); err != nil {
		return nil, err
	}
	c, err := e.obtain(w)
	if err != nil {
		return nil, err
	}
	out := &api.Deployed{Warnings: w.warnings}
	err = c.call(ctx, func(c *controller) error {
		if err := c.mayDeploy(w); err != nil {
			return err
		}
		c.setPolicy(w.policy)
		if len(c.m.nodes) > 0 || len(c.m.links) > 0 {
			out.Plan = w.plan(c)
		} else {
			out.Plan = w.plan(nil)
		}
		j := c.apply(w, out.Plan)
		if err := e.fetched(w.top.Name).Only(w.fetched); err != nil {
			e.log.Warn("cannot remove what was fetched for a lab's former file", "lab", w.top.Name, "err", err)
		}
		j.Owner = api.Owner(ctx)
		out.Job = c.begin(j)
		return nil
	})
	return out, err
}

// obtain returns the lab's controller, made now if the lab is new.
func (e *Engine) obtain(w *wanted) (*controller, error) {
	e.mu.Lock()
	c := e.labs[w.top.Name]
	e.mu.Unlock()
	if c != nil {
		return c, nil
	}
	defaults := e.defaults()
	network := either(w.network, defaults.Network)
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.labs[w.top.Name]; c != nil {
		return c, nil
	}
	m := &model{nodes: map[string]*node{}, links: map[string]*link{}, created: e.now(),
		info: api.Info{Name: w.top.Name, File: w.top.File, Network: network,
			Provider: either(w.provider, defaults.Provider), State: lab.StateUnknown, Policy: cmp.Or(w.policy, defaults.Policy)}}
	c = newController(e, m)
	e.start(c)
	return c, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// checkOutside does so for the links that leave the lab.
func (e *Engine) checkOutside(ctx context.Context, w *wanted) error {
	if len(w.top.Outside) == 0 {
		return nil
	}
	o := e.opt.Backends.Outside()
	if o == nil {
		return api.Errorf(api.CodeUnavailable, "this program makes no links that leave the lab, as %s does", linkName(w.top.Outside[0]))
	}
	for _, l := range w.top.Outside {
		if l.Outside.Type == lab.OutsideManagement && e.makesManagement(w, l.A.Node) {
			continue // it comes with the first node
		}
		notes, err := o.Check(ctx, l, w.top.Management)
		if err != nil {
			return api.Errorf(api.CodeUnavailable, "%s", reason(err))
		}
		for _, text := range notes {
			w.warnings = append(w.warnings, lab.Diagnostic{Severity: lab.SeverityWarning, File: w.top.File, Message: text})
		}
	}
	return nil
}

// makesManagement reports whether a node's provider makes the management
// network and its bridge.
func (e *Engine) makesManagement(w *wanted, name string) bool {
	spec, _ := w.top.Node(name)
	p, _ := e.opt.Backends.Provider(e.providerFor(spec, either(w.provider, e.defaults().Provider)))
	_, ok := p.(backends.ManagementBridger)
	return ok
}

func unknownBackend(what, name string, have []string) *api.Error {
	err := api.Errorf(api.CodeUsage, "this program has no %s named %q", what, name)
	err.Hint = "it has " + joinOr(have)
	return err
}

// Destroy implements api.Engine.
func (e *Engine) Destroy(ctx context.Context, name string) (*api.Job, error) {
	return e.ask(ctx, name, func(c *controller) (*job, error) { return c.destroy(), nil })
}

// SetNodes implements api.Engine.
func (e *Engine) SetNodes(ctx context.Context, req api.NodesRequest) (*api.Job, error) {
	switch req.Verb {
	case lab.JobStart, lab.JobStop, lab.JobRestart:
	default:
		return nil, api.Errorf(api.CodeUsage, "nodes can be started, stopped or restarted, not %q", req.Verb)
	}
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) { return c.setNodes(req) })
}

// SetLink implements api.Engine.
func (e *Engine) SetLink(ctx context.Context, req api.LinkRequest) (*api.Job, error) {
	return e.ask(ctx, req.Lab, func(c *controller) (*job, error) { return c.setLink(req) })
}

func (e *Engine) ask(ctx context.Context, name string, f func(*controller) (*job, error)) (*api.Job, error) {
	c, err := e.controller(name)
	if err != nil {
		return nil, err
	}
	var out *api.Job
	err = c.call(ctx, func(c *controller) error {
		j, err := f(c)
		if err == nil {
			j.Owner = api.Owner(ctx)
			out = c.begin(j)
		}
		return err
	})
	return out, err
}

// CancelJob implements api.Engine.
func (e *Engine) CancelJob(ctx context.Context, id string) error {
	e.mu.Lock()
	all := make([]*controller, 0, len(e.labs))
	for _, c := range e.labs {
		all = append(all, c)
	}
	e.mu.Unlock()
	for _, c := range all {
		err := c.call(ctx, func(c *controller) error { return c.cancelJob(id) })
		if api.CodeOf(err) != api.CodeNotFound {
			return err
		}
	}
	return api.Errorf(api.CodeNotFound, "job %s is not running", id)
}

func errorAs[T error](err error) (T, bool) {
	var t T
	ok := errors.As(err, &t)
	return t, ok
}
