package conformance

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/conformance/probe"
	"archetype/backends/network/nsnet"
	"archetype/internal/whole"
	"archetype/lab"
	"archetype/vendors"
)

const (
	inNode   = "/mnt/archetype-probe" // where the device is in a node
	patience = time.Minute            // for what must happen
	boot     = 3 * time.Minute        // for a node that starts
	grace    = 2 * time.Second        // for a node to stop
)

// suite is one pair under test: three nodes a, b and c in a ring of links
// that stay over all cases. What a case makes is its own and goes with it.
type suite struct {
	*nodes
	network backends.Network
	things  func(backends.Network) []string
	panel   string // path of the namespace where the network's parts are
	device  string // path on the machine
	command string // path in a node
	kinds   *vendors.Registry

	count atomic.Int64 // of interfaces
	ring  []backends.Link
	bare  []string // what is there when all of the lab is gone that goes with this suite

	mu    sync.Mutex
	talks map[string]*talk // with the devices, by node
	used  map[string]bool  // interfaces of machines that a case uses
}

// nodes are those of one suite, or of several one after the other.
type nodes struct {
	env    *Env
	lab    string
	booted bool
	stay   bool         // for the next
	tokens atomic.Int64 // in frames: a device remembers those that it has seen
}

// remove removes them.
func (n *nodes) remove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, node := range []string{"a", "b", "c"} {
		if err := n.env.Provider.Remove(ctx, n.ref(node)); err != nil {
			t.Errorf("remove %s: %v", node, err)
		}
	}
}

func (n *nodes) ref(node string) backends.NodeRef { return backends.NodeRef{Lab: n.lab, Node: node} }

// ring are the links that stay over all cases.
var ring = [][2]string{{"a:eth1", "b:eth1"}, {"b:eth2", "c:eth1"}, {"c:eth2", "a:eth2"}}

// ringEnd is an end of the ring with its address, as a file would say.
func ringEnd(endpoint string) lab.End {
	for i, ends := range ring {
		for j, e := range ends {
			if e == endpoint {
				node, iface, _ := strings.Cut(e, ":")
				return lab.End{Endpoint: lab.Endpoint{Node: node, Interface: iface},
					IPv4: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 255, byte(i), byte(j + 1)}), 24)}}
			}
		}
	}
	return lab.End{}
}

func newSuite(t *testing.T, n Network, at *nodes) *suite {
	t.Helper()
	s := &suite{nodes: at, things: n.Things, device: buildDevice(t), command: inNode, talks: map[string]*talk{}, used: map[string]bool{}}
	if s.env.Device != "" {
		s.command = s.env.Device
	}
	if a := s.env.Provider.Available(t.Context()); !a.OK {
		t.Skip(a.Reason)
	}
	s.network = n.New(t, s.env)
	if a := s.network.Available(t.Context()); !a.OK {
		t.Skip(a.Reason)
	}
	if s.panel = s.env.Panel; n.Panel != nil {
		s.panel = n.Panel(s.network)
	}
	var err error
	if s.kinds, _, err = vendors.Load(""); err != nil {
		t.Fatal(err)
	}
	s.count.Store(2) // eth1 and eth2 are the ring's
	s.bare = s.inventory(t)
	t.Cleanup(func() {
		s.hangUp("a", "b", "c")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if !s.stay {
			s.remove(t)
		}
		if err := s.network.Cleanup(ctx, s.lab); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	})
	if err := s.network.Initialize(t.Context(), s.lab); err != nil {
		t.Fatal(err)
	}
	boots := !s.booted
	for _, node := range []string{"a", "b", "c"} {
		if boots {
			s.create(t, node)
		}
	}
	switch {
	case s.stay:
		s.bare = s.inventory(t)
	case !boots: // others have made them, and they go with this suite
		here := s.env.Things()
		s.bare = slices.DeleteFunc(s.bare, func(what string) bool { return slices.Contains(here, what) })
	}
	for _, ends := range ring {
		l := s.between(t, ends[0], ends[1], nil)
		l.A.End, l.B.End = ringEnd(ends[0]), ringEnd(ends[1])
		if err := s.network.Connect(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		s.ring = append(s.ring, l)
	}
	for _, node := range []string{"a", "b", "c"} {
		if boots {
			s.start(t, node)
		} else {
			s.configure(t, ringEnd(node+":eth1"), ringEnd(node+":eth2"))
		}
	}
	s.booted = true
	return s
}

// run runs one case and compares what is on the machine before and after.
func (s *suite) run(t *testing.T, p Provider, n Network, c testCase) {
	if why, ok := p.Except[c.name]; ok {
		t.Skip("not possible with " + p.Name + ": " + why)
	}
	if why, ok := n.Except[c.name]; ok {
		t.Skip("not possible with " + n.Name + ": " + why)
	}
	if p.Sample != nil && os.Getenv(all) != "all" && !p.Sample(c.name) {
		t.Skip(leftOut)
	}
	before := s.everything(t)
	b := &bench{T: t, suite: s}
	defer b.remove()
	c.run(b)
	b.remove()
	if c.ends {
		return
	}
	b.eventually("what a case made is gone after it", func() error {
		after := s.everything(t)
		same := slices.Equal(before, after) || c.renews && len(before) == len(after)
		if !same {
			return fmt.Errorf("before\n  %s\nafter\n  %s", join(before), join(after))
		}
		return nil
	})
}

func (s *suite) create(t testing.TB, node string) {
	t.Helper()
	kind, ok := s.kinds.Kind("linux")
	if !ok {
		t.Fatal("no kind linux")
	}
	c := backends.NodeConfig{Ref: s.ref(node), Kind: kind, Interfaces: []string{"eth1", "eth2"},
		Labels: map[string]string{"conformance": node},
		Node: lab.Node{Name: node, Kind: "linux", Entrypoint: s.command, Cmd: "node eth1 eth2",
			Container: lab.Container{Capabilities: []string{"NET_ADMIN", "NET_RAW"}}}}
	for _, iface := range c.Interfaces {
		c.Ends = append(c.Ends, ringEnd(node+":"+iface))
	}
	if s.env.Device == "" {
		c.Node.Binds = []string{s.device + ":" + inNode + ":ro"}
	}
	if m := s.env.Machine; m != nil {
		for i := 3; i <= m.Interfaces; i++ {
			e := lab.Endpoint{Node: node, Interface: fmt.Sprintf("eth%d", i)}
			c.Interfaces, c.Ends = append(c.Interfaces, e.Interface), append(c.Ends, lab.End{Endpoint: e})
		}
	}
	if s.env.Prepare != nil {
		s.env.Prepare(&c)
	}
	if err := s.env.Provider.Create(t.Context(), c); err != nil {
		t.Fatalf("create %s: %v", node, err)
	}
}

// start starts a node and waits until its device has booted: it does not
// when an interface is missing at its first instruction.
func (s *suite) start(t testing.TB, node string) {
	t.Helper()
	if err := s.env.Provider.Start(t.Context(), s.ref(node)); err != nil {
		t.Fatalf("start %s: %v", node, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), boot)
	defer cancel()
	log, err := s.env.Provider.Logs(ctx, s.ref(node), backends.LogOptions{Follow: true, Boot: true})
	if err != nil {
		t.Fatalf("logs of %s: %v", node, err)
	}
	defer log.Close()
	var all []string
	for sc := bufio.NewScanner(log); sc.Scan(); {
		all = append(all, sc.Text())
		switch {
		case strings.Contains(sc.Text(), probe.LineBooted):
			s.configure(t, ringEnd(node+":eth1"), ringEnd(node+":eth2"))
			return
		case strings.Contains(sc.Text(), probe.LineFailed):
			t.Fatalf("%s: %s", node, sc.Text())
		}
	}
	t.Fatalf("%s never booted; it said\n%s", node, strings.Join(all, "\n"))
}

// configure gives interfaces their addresses where the network cannot,
// because they are a machine's own.
func (s *suite) configure(t testing.TB, ends ...lab.End) {
	t.Helper()
	if s.env.Machine == nil {
		return
	}
	for _, e := range ends {
		for _, a := range e.Addresses() {
			if _, err := s.ask(t.Context(), e.Node, probe.Request{Op: probe.OpAddress, Iface: e.Interface, Text: a.String()}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *suite) stop(t testing.TB, node string) {
	t.Helper()
	s.hangUp(node)
	if err := s.env.Provider.Stop(t.Context(), s.ref(node), grace); err != nil {
		t.Fatalf("stop %s: %v", node, err)
	}
}

// port is a node's interface where it meets the outside.
func (s *suite) port(t testing.TB, p backends.Provider, endpoint string) backends.Port {
	t.Helper()
	e, err := lab.ParseEndpoint(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	at, err := p.Attachment(t.Context(), s.ref(e.Node), e.Interface)
	if err != nil {
		t.Fatalf("attachment of %s: %v", e, err)
	}
	return backends.Port{Lab: s.lab, End: lab.End{Endpoint: e}, Attachment: at}
}

func (s *suite) between(t testing.TB, a, b string, change func(a, b *backends.Port)) backends.Link {
	t.Helper()
	l := backends.Link{Lab: s.lab, A: s.port(t, s.env.Provider, a), B: s.port(t, s.env.Provider, b)}
	if change != nil {
		change(&l.A, &l.B)
	}
	return l
}

// ask asks a node's device; what it could not do is an error.
func (s *suite) ask(ctx context.Context, node string, req probe.Request) (probe.Reply, error) {
	var rep probe.Reply
	if req.Wait == 0 {
		req.Wait = patience
	}
	err := s.talk(ctx, node, req, &rep)
	if err != nil {
		return rep, fmt.Errorf("%s in %s: %w", req.Op, node, err)
	}
	if rep.Error != "" {
		err = fmt.Errorf("%s in %s: %s", req.Op, node, rep.Error)
	}
	return rep, err
}

// inventory lists what is in the panel and whatever else the pair says it
// keeps on the machine.
func (s *suite) inventory(t testing.TB) []string {
	t.Helper()
	ns, err := nsnet.Open(s.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	links, err := whole.List(ns.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	byIndex := map[int]string{}
	for _, l := range links {
		byIndex[l.Attrs().Index] = l.Attrs().Name
	}
	var out []string
	for _, l := range links {
		out = append(out, "panel: "+describe(l, byIndex[l.Attrs().MasterIndex]))
	}
	if s.env.Things != nil {
		out = append(out, s.env.Things()...)
	}
	if s.things != nil {
		out = append(out, s.things(s.network)...)
	}
	slices.Sort(out)
	return out
}

func describe(l netlink.Link, master string) string {
	return strings.TrimSpace(l.Attrs().Name + " " + l.Type() + " " + master)
}

// everything is the inventory and all interfaces inside the nodes.
func (s *suite) everything(t testing.TB) []string {
	t.Helper()
	out := s.inventory(t)
	for _, node := range []string{"a", "b", "c"} {
		rep, err := s.ask(t.Context(), node, probe.Request{Op: probe.OpInterfaces})
		if err != nil {
			continue // it is gone, or ended: its case has said so
		}
		for _, i := range rep.Interfaces {
			out = append(out, "node "+node+": "+i.Name)
		}
	}
	slices.Sort(out)
	return out
}

func join(lines []string) string { return strings.Join(lines, "\n  ") }
