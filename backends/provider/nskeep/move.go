package nskeep

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends/provider/power"
	"archetype/internal/fail"
	"archetype/internal/osthread"
	"archetype/internal/whole"
)

// Adopt moves the node's interfaces into the network namespace of the process
// and makes that the place where they are. What the network gave them stays
// with them: names, aliases, hardware addresses, MTU and the addresses that wanted
// names; addresses that the node added itself do not. They are up, as after any
// start of a device, whatever the node made of them before.
func (p *Place) Adopt(pid int, wanted []Interface) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Same(pid) {
		return nil
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	byName := map[string]Interface{}
	for _, w := range wanted {
		byName[w.Name] = w
	}
	to, err := open(netnsOf(pid))
	if err != nil {
		return err
	}
	defer to.close()
	if err := to.finish(byName); err != nil {
		return err
	}
	var from *ns
	if p.Exists() {
		if from, err = open(p.Path()); err != nil {
			return err
		}
		defer from.close()
		if err := from.moveAll(to, byName); err != nil {
			return err
		}
	}
	if err := p.hold(func(target string) error { return bind(netnsOf(pid), target) }); err != nil {
		return err
	}
	p.tenant, _ = os.FindProcess(pid) // a handle: the number may be another's one day
	if from != nil {                  // what came in meanwhile, before the path led elsewhere
		if err := from.moveAll(to, byName); err != nil {
			return err
		}
	}
	return p.sweep(p.current())
}

// Missing lists the interfaces that are not in the place.
func (p *Place) Missing(wanted []Interface) ([]string, error) {
	n, err := open(p.Path())
	if err != nil {
		return nil, err
	}
	defer n.close()
	links, err := whole.List(n.LinkList)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, l := range links {
		have[l.Attrs().Name] = true
	}
	var out []string
	for _, w := range wanted {
		if !have[w.Name] {
			out = append(out, w.Name)
		}
	}
	return out, nil
}

// Await returns once all interfaces are in the place or stop is closed; it
// reports whether they are.
func (p *Place) Await(wanted []Interface, stop <-chan struct{}) (bool, error) {
	h, err := netns.GetFromPath(p.Path())
	if err != nil {
		return false, err
	}
	defer func() { _ = h.Close() }()
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer func() {
		close(done)
		go func() { // the sender must not block for ever
			for range updates { // only drained
			}
		}()
	}()
	err = netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &h,
		ErrorCallback: func(error) {}})
	if err != nil {
		return false, err
	}
	for {
		missing, err := p.Missing(wanted)
		if err != nil || len(missing) == 0 {
			return err == nil, err
		}
		select {
		case _, ok := <-updates:
			if !ok {
				return false, errors.New("lost sight of the interfaces")
			}
		case <-stop:
			return false, nil
		}
	}
}

// ns is an open namespace with a netlink socket inside it.
type ns struct {
	*netlink.Handle
	fd netns.NsHandle
}

func open(path string) (*ns, error) {
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", path, err)
	}
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		_ = fd.Close()
		return nil, fmt.Errorf("namespace %s: %w", path, err)
	}
	return &ns{h, fd}, nil
}

func (n *ns) close() {
	n.Close()
	_ = n.fd.Close()
}

// moveAll moves every interface of the node's from one namespace to another.
func (n *ns) moveAll(to *ns, wanted map[string]Interface) error {
	links, err := whole.List(n.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 || !ours(a.Name, a.Alias, wanted) {
			continue
		}
		if err := n.move(l, to, wanted[a.Name].Addresses); err != nil {
			return fmt.Errorf("interface %s: %w", a.Name, err)
		}
	}
	return nil
}

func (n *ns) move(l netlink.Link, to *ns, addresses []netip.Prefix) error {
	a := l.Attrs()
	err := fail.Around("keep.move", func() error { return n.LinkSetNsFd(l, int(to.fd)) })
	switch {
	case errors.Is(err, syscall.ENODEV):
		return nil // it has just been removed
	case errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("the container already has one of that name: give the link's interface another name, or set network-mode: none (%w)", err)
	case err != nil:
		return fmt.Errorf("move into the container: %w", err)
	}
	moved, err := to.LinkByName(a.Name)
	if err != nil {
		return err
	}
	return to.settle(moved, a.Flags&net.FlagUp != 0 || power.Has(a.Alias), addresses)
}

// finish deals with interfaces that are here already: a move was interrupted
// before they were again what they had been.
func (n *ns) finish(wanted map[string]Interface) error {
	links, err := whole.List(n.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		if a := l.Attrs(); a.Flags&net.FlagLoopback == 0 && strings.HasPrefix(a.Alias, mark) {
			if err := n.settle(l, true, wanted[a.Name].Addresses); err != nil {
				return fmt.Errorf("interface %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// settle gives an interface what a move takes from it.
func (n *ns) settle(l netlink.Link, up bool, addresses []netip.Prefix) error {
	n.keepAddresses(l.Attrs().Name)
	if up {
		if err := fail.Around("keep.up", func() error { return n.LinkSetUp(l) }); err != nil {
			return err
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	return fail.Around("keep.address", func() error { return power.Address(n.Handle, l, addresses) })
}

// Off has the interfaces be those of a device that is switched off, unless the
// process that the namespace is of still runs, or there is none.
func (p *Place) Off() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Exists() || p.tenant != nil && !errors.Is(p.tenant.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return nil
	}
	n, err := open(p.Path())
	if err != nil {
		return err
	}
	defer n.close()
	return power.Off(int(n.fd))
}

// keepAddresses lets an interface keep its IPv6 addresses while it is down, as
// it does the others; the kernel resets this with every move. A kernel without
// IPv6 has nothing to keep.
func (n *ns) keepAddresses(name string) {
	_ = osthread.InNetwork(int(n.fd), func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "keep_addr_on_down"), []byte("1"), 0)
	})
}
