package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"archetype/backends"
	"archetype/lab"
)

// Names under which the backends of a world are known, and shown.
const (
	ProviderName = "simulated"
	CableName    = "simulated-cable"  // a link is one thing: with an end, all of it goes
	SwitchName   = "simulated-switch" // a link is two ports: the far end's stays
)

// ErrDown is what a backend says while it is not there.
var ErrDown = fmt.Errorf("the simulated daemon does not answer: %w", errors.ErrUnsupported)

// Event is something a backend tells of: exactly one of Node and Link is set.
type Event struct {
	From string // name of the backend
	Node *backends.NodeStatus
	Link *backends.LinkStatus
}

// World is a simulated machine. It survives engines as a real one does.
type World struct {
	// Gate decides upon every call; nil lets everything through at once.
	Gate Gate
	// Tell, where not nil, is given every event in place of Deliver, with the
	// world locked: it may lose, repeat or delay it.
	Tell func(Event)
	// Boots says how long a node takes to boot; 0: until Boot is called.
	Boots time.Duration
	// Now tells the time; nil means time.Now.
	Now func() time.Time

	mu         sync.Mutex
	nodes      map[backends.NodeRef]*machine
	wires      map[wireKey]*wire
	latest     map[portKey]wireKey       // the link that was wired last at an end; it may be gone
	ports      map[portKey]string        // isolated interfaces, and the network that made each
	foreign    map[backends.NodeRef]bool // what is not ours, and has the name that a node of ours would have
	down       map[string]bool           // backends that do not answer
	boot       uint64
	subs       map[*subscription]bool
	violations []string
}

type machine struct {
	cfg     backends.NodeConfig
	running bool
	paused  bool
	name    string // that somebody has given it; empty: its own
	pid     int
	boot    uint64
	started time.Time
	exit    string
	stray   bool // it only bears a lab's label
	bare    bool // it is to be staged, and has no place for interfaces before
	staged  bool // its init waits for its start
	half    bool // its making was interrupted
	log     *bootLog
}

type wireKey struct{ lab, id string }

type portKey struct {
	lab string
	end lab.Endpoint
}

type wire struct {
	a, b      lab.Endpoint
	network   string
	tunnel    bool // it leaves the machine
	connected bool
	carrier   lab.Carrier
	why       string // it is not connected
	impair    [2]lab.Impairment
}

type subscription struct {
	from string
	node chan backends.NodeStatus
	link chan backends.LinkStatus
}

// NewWorld returns an empty machine.
func NewWorld() *World {
	return &World{nodes: map[backends.NodeRef]*machine{}, wires: map[wireKey]*wire{}, latest: map[portKey]wireKey{}, ports: map[portKey]string{},
		foreign: map[backends.NodeRef]bool{}, down: map[string]bool{}, subs: map[*subscription]bool{}}
}

func (w *World) now() time.Time {
	if w.Now != nil {
		return w.Now()
	}
	return time.Now()
}

// do passes a call through the gate and then does it.
func (w *World) do(ctx context.Context, c Call, effect func(half bool) error) error {
	var gate Gate = open{}
	if w.Gate != nil {
		gate = w.Gate
	}
	v := gate.Pass(ctx, c)
	if v.Err != nil && !v.Late && !v.Half {
		return v.Err
	}
	err := w.carryOut(c, v, effect)
	if v.Heard != nil {
		select {
		case <-v.Heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (w *World) carryOut(c Call, v Verdict, effect func(half bool) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[c.Backend] {
		return ErrDown
	}
	if m := w.nodes[backends.NodeRef{Lab: c.Lab, Node: c.On}]; m != nil && m.stray && c.Verb != "remove" {
		w.violations = append(w.violations, "what is no part of a lab was touched: "+c.String())
	}
	err := effect(v.Half)
	if v.Err != nil {
		err = v.Err
	}
	return err
}

// tell has everybody who listens to a backend hear of something; w.mu is held.
func (w *World) tell(ev Event) {
	if w.Tell != nil {
		w.Tell(ev)
		return
	}
	w.deliver(ev)
}

func (w *World) tellNode(st backends.NodeStatus) { w.tell(Event{From: ProviderName, Node: &st}) }

func (w *World) tellLink(network string, st backends.LinkStatus) {
	w.tell(Event{From: network, Link: &st})
}

// Deliver hands an event to whoever has subscribed.
func (w *World) Deliver(ev Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliver(ev)
}

func (w *World) deliver(ev Event) {
	for s := range w.subs {
		if s.from != ev.From {
			continue
		}
		// One that does not keep up loses events, as with a real source.
		if ev.Node != nil {
			select {
			case s.node <- *ev.Node:
			default:
			}
		} else {
			select {
			case s.link <- *ev.Link:
			default:
			}
		}
	}
}

func (w *World) subscribe(ctx context.Context, from string) (*subscription, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[from] {
		return nil, ErrDown
	}
	s := &subscription{from: from, node: make(chan backends.NodeStatus, 1024), link: make(chan backends.LinkStatus, 1024)}
	w.subs[s] = true
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.end(s)
	})
	return s, nil
}

func (w *World) end(s *subscription) {
	if w.subs[s] {
		delete(w.subs, s)
		close(s.node)
		close(s.link)
	}
}

// Down makes a backend vanish: what it runs goes on, calls fail and streams of
// events end. Up brings it back.
func (w *World) Down(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[name] = true
	for s := range w.subs {
		if s.from == name {
			w.end(s)
		}
	}
}

// Up brings a backend back.
func (w *World) Up(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.down, name)
}

// Violations are the rules that callers have broken.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

// drop removes a node and what of its links cannot be without it; w.mu is held.
func (w *World) drop(ref backends.NodeRef) {
	if m := w.nodes[ref]; m != nil {
		m.log.end()
	}
	delete(w.nodes, ref)
	for k, l := range w.wires {
		if k.lab != ref.Lab || l.a.Node != ref.Node && l.b.Node != ref.Node {
			continue
		}
		delete(w.wires, k)
		if l.network == SwitchName {
			w.leave(k, l)
		}
	}
	for k := range w.ports {
		if k.lab == ref.Lab && k.end.Node == ref.Node {
			delete(w.ports, k)
		}
	}
}

// leave makes isolated interfaces of a link's ends that are still there; w.mu
// is held.
func (w *World) leave(k wireKey, l *wire) {
	for _, end := range []lab.Endpoint{l.a, l.b} {
		if w.nodes[backends.NodeRef{Lab: k.lab, Node: end.Node}] != nil {
			w.ports[portKey{k.lab, end}] = l.network
		}
	}
}

func (m *machine) status(ref backends.NodeRef) backends.NodeStatus {
	st := backends.NodeStatus{Ref: ref, Identifier: "simulated:" + ref.String(), Running: m.running, Boot: m.boot,
		Labels: m.cfg.Labels, ExitReason: m.exit, Unfinished: m.bare || m.half, Staged: m.staged}
	if m.name != "" {
		st.Identifier, st.Renamed = "simulated:"+m.name, true
	}
	if m.running {
		st.PID, st.Started, st.Paused = m.pid, m.started, m.paused
	}
	return st
}

func (l *wire) status(k wireKey) backends.LinkStatus {
	st := backends.LinkStatus{Lab: k.lab, ID: k.id, Connected: l.connected, Ends: [2]bool{true, true}, Carrier: lab.CarrierOff, Cut: !l.connected && l.why == ""}
	if l.connected {
		st.Carrier = l.carrier
	} else {
		st.Reason = l.why
	}
	return st
}

func (m *machine) line(ref backends.NodeRef) string {
	line := fmt.Sprintf("node %s running=%v", ref, m.running)
	if m.running && m.paused {
		line += " paused"
	}
	if m.staged {
		line += " waiting for its start"
	}
	if m.name != "" {
		line += " as " + m.name
	}
	return line
}

// Contents says in lines everything that exists, sorted.
func (w *World) Contents() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for ref, n := range w.nodes {
		out = append(out, n.line(ref))
	}
	for k, l := range w.wires {
		out = append(out, fmt.Sprintf("link %s/%s connected=%v by %s", k.lab, k.id, l.connected, l.network))
	}
	for k := range w.ports {
		out = append(out, "port "+k.lab+"/"+k.end.String())
	}
	for ref := range w.foreign {
		out = append(out, "foreign "+ref.String())
	}
	slices.Sort(out)
	return out
}

// Refs lists the nodes that exist, sorted.
func (w *World) Refs() []backends.NodeRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Keys(w.nodes), func(a, b backends.NodeRef) int { return strings.Compare(a.String(), b.String()) })
}

// Wire tells of a link what there is of it, and by end what is suffered by what
// leaves there; nothing of one that does not exist.
func (w *World) Wire(labName, id string) (st backends.LinkStatus, impair map[string]lab.Impairment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := wireKey{labName, id}
	l := w.wires[k]
	if l == nil {
		return st, nil
	}
	return l.status(k), map[string]lab.Impairment{l.a.String(): l.impair[0], l.b.String(): l.impair[1]}
}

// Wires lists the links that exist, as lab and identity, sorted.
func (w *World) Wires() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out [][2]string
	for k := range w.wires {
		out = append(out, [2]string{k.lab, k.id})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0]+"/"+a[1], b[0]+"/"+b[1]) })
	return out
}
