package dockerapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"archetype/backends"
	"archetype/backends/provider/gate"
	"archetype/backends/provider/nskeep"
	"archetype/internal/fail"
	"archetype/internal/folder"
	"archetype/vendors"
)

// node is what the provider keeps of a node beside its container. Its lock is
// held over whole operations, so that they come one after the other.
type node struct {
	sync.Mutex
	ref   backends.NodeRef
	dir   string // for its socket, its namespace and what is noted of it
	place *nskeep.Place
	runs  bool // its init did, when it was created last

	state    sync.Mutex // of what follows
	kept     kept
	server   *gate.Server
	starting chan error    // where a start of ours waits for the gate, or nil
	staging  chan error    // where the staging waits for it, or nil
	let      chan struct{} // closed by the start that a staged container waits for at the gate, or nil
	release  chan struct{}
	asked    bool                      // its end was asked for
	going    bool                      // it is being removed
	severed  bool                      // it was seen to run outside its management network
	chosen   *network.EndpointSettings // what was chosen for it and is not noted yet
	chosenIn string                    // the network that this is of
	checked  uint64                    // boot whose health is being checked
	boots    *backends.Boots           // of the provider
	started  string                    // what the engine said last of its start
	boot     uint64
}

// kept is noted on disk, for the next engine.
type kept struct {
	Container  string             `json:"container"` // the engine's name of it
	ID         string             `json:"id"`        // the engine's, once it is made
	Labels     map[string]string  `json:"labels"`
	Interfaces []nskeep.Interface `json:"interfaces"`
	Management string             `json:"management,omitempty"` // name of the network
	// Endpoint is how the container is in that network, nil where it is not.
	Endpoint *network.EndpointSettings `json:"endpoint,omitempty"`
	Console  vendors.Console           `json:"console"`
	Config   string                    `json:"config,omitempty"` // hash of the startup configuration that was placed
	Index    int                       `json:"index,omitempty"`  // in the lab, from 1
	Foreign  bool                      `json:"foreign,omitempty"`
	Made     made                      `json:"made,omitzero"`
	Staged   bool                      `json:"staged,omitempty"` // at the gate it waits for a start of ours
}

func (p *Provider) folder(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Run, ref.Lab, ref.Node)
}

// own is the node's own folder, for its mounts and files.
func (p *Provider) own(ref backends.NodeRef) string {
	return filepath.Join(p.cfg.Labs, ref.Lab, ref.Node)
}

// node finds or makes what is kept of a node.
func (p *Provider) node(ref backends.NodeRef) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[ref]
	if n == nil {
		dir := p.folder(ref)
		n = &node{ref: ref, boots: &p.boots, dir: dir, place: nskeep.At(filepath.Join(dir, "ns"))}
		if b, err := os.ReadFile(n.file()); err == nil {
			_ = json.Unmarshal(b, &n.kept) // what cannot be read is noted anew by Create
			n.place.Tidy()
		}
		p.nodes[ref] = n
	}
	return n
}

// goes notes whether the node is being removed.
func (n *node) goes(going bool) {
	n.state.Lock()
	defer n.state.Unlock()
	n.going = going
}

// stays names the management network of a node that is not being removed.
func (n *node) stays() (management string) {
	n.state.Lock()
	defer n.state.Unlock()
	if n.going {
		return ""
	}
	return n.kept.Management
}

// peek is the node if anything is kept of it, else nil.
func (p *Provider) peek(ref backends.NodeRef) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes[ref]
}

// forget takes a node off the list.
func (p *Provider) forget(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes[n.ref] == n {
		delete(p.nodes, n.ref)
	}
}

func (n *node) file() string { return filepath.Join(n.dir, "node.json") }

// box is what the container sees of the folder.
func (n *node) box() string { return filepath.Join(n.dir, "box") }

// note keeps what Create was told.
func (n *node) note(k kept) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(n.file()+".new", b, 0o600); err != nil {
		return err
	}
	if err := fail.Around("node.note", func() error { return os.Rename(n.file()+".new", n.file()) }); err != nil {
		return err
	}
	n.state.Lock()
	n.kept, n.chosen = k, nil
	n.state.Unlock()
	return nil
}

// whole reports whether the making of a container came to its end, which is
// noted last. One that runs is taken as it is.
func (k *kept) whole(c *container.InspectResponse) bool {
	return k.ID == c.ID || k.Foreign || c.State != nil && c.State.Running
}

// staged reports whether that container's init begins with a start of ours only.
func (k *kept) staged(id string) bool { return k.Staged && k.ID == id }

func (n *node) known() kept {
	n.state.Lock()
	defer n.state.Unlock()
	return n.kept
}

// interfaces are what a move has to know of the node's ends.
func interfaces(c backends.NodeConfig) []nskeep.Interface {
	var out []nskeep.Interface
	for _, e := range c.Ends {
		out = append(out, nskeep.Interface{Name: e.Interface, Addresses: e.Addresses()})
	}
	return out
}

// serve makes the node's gate answer.
func (p *Provider) serve(n *node) error {
	n.state.Lock()
	defer n.state.Unlock()
	if n.server != nil {
		return nil
	}
	if err := p.placeGate(n); err != nil {
		return err
	}
	var err error
	n.server, err = gate.Listen(n.box(), func(pid int, gone <-chan struct{}) error {
		if p.cfg.Enter != nil {
			if err := p.cfg.Enter(pid); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.fill(ctx, n); err != nil {
			return n.refuse(err)
		}
		return n.open(pid, gone)
	})
	return err
}

// placeGate puts the gate where the node's container finds it.
func (p *Provider) placeGate(n *node) error {
	p.gate.Lock()
	defer p.gate.Unlock()
	// The container's user, whoever it is, enters the box; nobody else gets there.
	if err := errors.Join(os.MkdirAll(n.dir, 0o700), os.MkdirAll(n.box(), 0o755)); err != nil {
		return err
	}
	fail.Point("node.gate.before")
	defer fail.Point("node.gate.after")
	program, err := gate.Install(filepath.Join(p.cfg.Run, gateFolder))
	if err != nil {
		return fmt.Errorf("%w (%w)", err, backends.ErrUnavailable)
	}
	link := filepath.Join(n.box(), gate.Program)
	err = os.Link(program, link)
	if !errors.Is(err, os.ErrExist) || sameFile(program, link) {
		return ignore(err, os.ErrExist)
	}
	// One of another build: the next start has the new one.
	if err := os.Link(program, link+".new"); ignore(err, os.ErrExist) != nil {
		return err
	}
	return os.Rename(link+".new", link)
}

// gateFolder is where the gate is kept, once for all nodes.
const gateFolder = "gate"

// removeGate removes it when there is no node's folder beside it.
func (p *Provider) removeGate() error {
	p.gate.Lock()
	defer p.gate.Unlock()
	list, err := os.ReadDir(p.cfg.Run)
	if err != nil || slices.ContainsFunc(list, func(f os.DirEntry) bool { return f.Name() != gateFolder }) {
		return ignore(err, os.ErrNotExist)
	}
	err = os.RemoveAll(filepath.Join(p.cfg.Run, gateFolder))
	_ = os.Remove(p.cfg.Run) // unless a node has just come
	return err
}

func ignore(err, which error) error {
	if errors.Is(err, which) {
		return nil
	}
	return err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (n *node) stopServing() {
	n.state.Lock()
	s := n.server
	n.server = nil
	n.state.Unlock()
	if s != nil {
		s.Close()
	}
}

// patience is how long a container that was started behind our back is held
// for interfaces that are being made.
const patience = 30 * time.Second

// open brings the node's interfaces to a container whose init waits. A start
// of ours has them all in place; behind our back some may still be coming.
func (n *node) open(pid int, gone <-chan struct{}) error {
	n.state.Lock()
	starting, staging, want := n.starting, n.staging, n.kept.Interfaces
	var let chan struct{}
	if starting == nil && n.kept.Staged {
		let = make(chan struct{})
		n.let = let
	}
	n.state.Unlock()
	err := n.place.Adopt(pid, want)
	if let != nil {
		return n.wait(let, staging, err, gone)
	}
	if starting != nil {
		answer(starting, err)
		return err
	}
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	release := make(chan struct{})
	n.state.Lock()
	n.release = release
	n.state.Unlock()
	go func() {
		defer close(stop)
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-gone:
		case <-release:
		case <-t.C:
		}
	}()
	_, err = n.place.Await(want, stop)
	return err
}

// refuse has a start or a staging of ours fail for what keeps the gate closed.
func (n *node) refuse(err error) error {
	n.state.Lock()
	defer n.state.Unlock()
	answer(n.starting, err)
	answer(n.staging, err)
	return err
}

// answer tells whoever waits there what came of it, unless it was told already;
// with nil nobody waits.
func answer(asked chan error, err error) {
	select {
	case asked <- err:
	default:
	}
}

// letGo opens a gate that holds a container for interfaces.
func (n *node) letGo() {
	n.state.Lock()
	defer n.state.Unlock()
	if n.release != nil {
		close(n.release)
		n.release = nil
	}
}

// expect prepares for a start of ours; the channel gets the gate's result.
func (n *node) expect() chan error {
	n.state.Lock()
	defer n.state.Unlock()
	n.asked = false
	n.starting = make(chan error, 1)
	return n.starting
}

func (n *node) expected() {
	n.state.Lock()
	defer n.state.Unlock()
	n.starting = nil
}

// Attachment is the interface in the namespace where the node's interfaces
// are at the moment.
func (p *Provider) Attachment(_ context.Context, ref backends.NodeRef, iface string) (backends.Attachment, error) {
	n := p.node(ref)
	path, ok := n.place.Settled()
	if !ok {
		return backends.Attachment{}, fmt.Errorf("node %s: %w", ref, backends.ErrNotFound)
	}
	return backends.Attachment{Netns: path, Interface: iface}, nil
}

// cleanup removes what is kept of a node beside its container.
func (p *Provider) cleanup(n *node) error {
	err := n.place.Release()
	fail.Point("node.cleanup.before")
	err = errors.Join(err, os.RemoveAll(n.dir))
	fail.Point("node.cleanup.within")
	err = errors.Join(err, folder.Remove(p.own(n.ref)))
	_ = os.Remove(filepath.Dir(n.dir)) // the lab's, with its last node
	_ = os.Remove(filepath.Dir(p.own(n.ref)))
	err = errors.Join(err, p.removeGate())
	fail.Point("node.cleanup.after")
	return err
}
