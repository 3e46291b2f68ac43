package ovs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends/network/nsnet"
)

// linkage is what ties us to the switch: the session with its database, its
// process, and the namespace that its interfaces are in.
type linkage struct {
	dialing sync.Mutex // one at a time

	mu       sync.Mutex
	session  *session
	panel    *nsnet.NS
	path     string // of the panel
	inode    uint64
	watching bool
	down     bool // its process has ended
	dead     <-chan struct{}
	kernel   string        // the datapath that is to be used
	located  chan struct{} // closed once there was a session
	once     sync.Once
}

func (n *Network) current() *session {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.session
}

func (n *Network) panel() *nsnet.NS {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.panel
}

func (n *Network) namespace() string {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.path
}

func (n *Network) stopped() bool {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.down
}

func (n *Network) datapath() string {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	return n.link.kernel
}

// look returns a session and the switch's namespace.
func (n *Network) look(ctx context.Context) (*session, *nsnet.NS, error) {
	s, err := n.session(ctx)
	if err != nil {
		return nil, nil, err
	}
	return s, n.panel(), nil
}

// reach does so for those who want something done: the switch must run.
func (n *Network) reach(ctx context.Context) (*session, *nsnet.NS, error) {
	s, panel, err := n.look(ctx)
	if err == nil && n.stopped() {
		err = errStopped
	}
	return s, panel, err
}

// session returns the one there is, or makes one.
func (n *Network) session(ctx context.Context) (*session, error) {
	if s := n.current(); s != nil {
		return s, nil
	}
	n.link.dialing.Lock()
	defer n.link.dialing.Unlock()
	if s := n.current(); s != nil {
		return s, nil
	}
	if err := n.ctx.Err(); err != nil {
		return nil, err
	}
	s, err := dial(ctx, n.cfg.Socket, n.owner, n.stirEnds)
	if err != nil {
		return nil, err
	}
	if err = s.follow(ctx); err == nil {
		err = n.locate()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	n.link.mu.Lock()
	n.link.session = s
	n.link.mu.Unlock()
	n.link.once.Do(func() { close(n.link.located) })
	go n.keep(s)
	n.watch.StirAll()
	return s, nil
}

// keep waits for the end of a session, and makes another.
func (n *Network) keep(s *session) {
	select {
	case <-s.lost:
	case <-n.ctx.Done():
		s.close()
	}
	n.link.mu.Lock()
	n.link.session = nil
	n.link.mu.Unlock()
	n.watch.StirAll()
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, patience)
		_, err := n.session(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-time.After(lookAgain):
		case <-n.ctx.Done():
		}
	}
}

// locate finds the switch's process and namespace, and follows its life.
func (n *Network) locate() error {
	pid, err := findSwitch(n.cfg.Socket)
	if err != nil && !errors.Is(err, errStopped) {
		return err
	}
	stopped := err != nil
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	if stopped && n.link.panel == nil {
		return errStopped // where its interfaces would be is not known
	}
	if n.link.watching {
		return nil
	}
	if err := n.enter(namespaceOf(pid)); err != nil {
		return err
	}
	n.link.watching, n.link.down = true, false
	n.link.dead = death(n.ctx, pid)
	go n.mourn(n.link.dead)
	return nil
}

// enter opens the switch's namespace, if it is another than before. The
// linkage's lock is held.
func (n *Network) enter(path string) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return err
	}
	if n.link.panel != nil && stat.Ino == n.link.inode {
		n.link.path = path
		return nil
	}
	ns, err := nsnet.Open(path)
	if err != nil {
		return err
	}
	n.link.panel, n.link.inode, n.link.path = ns, stat.Ino, path
	n.link.kernel = n.datapathIn(ns)
	return nil
}

// The two datapaths, as the switch calls them.
const inKernel, inUserspace = "system", "netdev"

// datapathIn is the one of bridges that are made in a namespace.
func (n *Network) datapathIn(ns *nsnet.NS) string {
	if n.cfg.Datapath == Kernel || n.cfg.Datapath != Userspace && kernelDatapath(ns) {
		return inKernel
	}
	return inUserspace
}

// kernelDatapath reports whether this kernel can do a switch's work.
func kernelDatapath(ns *nsnet.NS) bool {
	return ns.Do(func() error {
		_, err := netlink.GenlFamilyGet("ovs_datapath")
		return err
	}) == nil
}

// mourn waits for the switch's process to end, and for the next one.
func (n *Network) mourn(dead <-chan struct{}) {
	select {
	case <-dead:
	case <-n.ctx.Done():
		return
	}
	n.link.mu.Lock()
	n.link.down = true
	n.link.mu.Unlock()
	n.watch.StirAll()
	for {
		select {
		case <-time.After(lookAgain):
		case <-n.ctx.Done():
			return
		}
		pid, err := findSwitch(n.cfg.Socket)
		if err != nil || !n.revived(pid) {
			continue
		}
		n.link.mu.Lock()
		err = n.enter(namespaceOf(pid))
		if err == nil {
			n.link.down, n.link.dead = false, death(n.ctx, pid)
			go n.mourn(n.link.dead)
		}
		n.link.mu.Unlock()
		if err == nil {
			n.watch.StirAll()
			return
		}
	}
}

// revived reports whether a new process serves the database: it has carried
// out a configuration that nobody but us asked for.
func (n *Network) revived(int) bool {
	ctx, cancel := context.WithTimeout(n.ctx, patience)
	defer cancel()
	s, err := n.session(ctx)
	if err != nil {
		return false
	}
	var root string
	s.see(func(v *view) { root = v.root })
	results, err := s.transact(ctx, []ovsdb.Operation{
		mutate("Open_vSwitch", root, ovsdb.Mutation{Column: "next_cfg", Mutator: ovsdb.MutateOperationAdd, Value: 1}),
		{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Columns: []string{"next_cfg"}, Where: is(root)},
	})
	if err != nil || len(results[1].Rows) != 1 {
		return false
	}
	wanted := number(results[1].Rows[0]["next_cfg"])
	return s.until(ctx, func(v *view) bool { return v.cfg >= wanted }) == nil
}

// carriedOut waits for the switch to have taken a configuration in.
func (n *Network) carriedOut(ctx context.Context, s *session, wanted int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.link.mu.Lock()
	dead := n.link.dead
	n.link.mu.Unlock()
	go func() {
		select {
		case <-dead:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	return s.until(ctx, func(v *view) bool { return v.cfg >= wanted })
}
