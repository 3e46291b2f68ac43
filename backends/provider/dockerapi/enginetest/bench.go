package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/lab"
	"archetype/vendors"
)

// bench is what a case works with.
type bench struct {
	*testing.T
	Provider
	d      *Engine
	cli    *client.Client
	kinds  *vendors.Registry
	events <-chan backends.NodeStatus
	lab    string // no other case has it
}

// short bounds what a test waits for; it is generous, as the machine may be busy.
const short = 2 * time.Minute

var count atomic.Int64

func newBench(t *testing.T, e *Engine) *bench {
	t.Helper()
	b := &bench{T: t, d: e, Provider: e.Provider(t), lab: fmt.Sprintf("t%d", count.Add(1))}
	var err error
	if b.kinds, _, err = vendors.Load(""); err != nil {
		t.Fatal(err)
	}
	if b.cli, err = b.Client(); err != nil {
		t.Fatal(err)
	}
	b.listen()
	return b
}

// listen follows the provider's events from now on.
func (b *bench) listen() {
	b.Helper()
	var err error
	if b.events, err = b.Events(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// config is a node of kind linux in no network, with the interfaces given.
func (b *bench) config(name string, change func(*backends.NodeConfig), interfaces ...string) backends.NodeConfig {
	return b.kindConfig("linux", name, change, interfaces...)
}

func (b *bench) kindConfig(kind, name string, change func(*backends.NodeConfig), interfaces ...string) backends.NodeConfig {
	k, ok := b.kinds.Kind(kind)
	if !ok {
		b.Fatal("no kind ", kind)
	}
	c := backends.NodeConfig{Ref: backends.NodeRef{Lab: b.lab, Node: name}, Kind: k, Interfaces: interfaces,
		Node:   lab.Node{Name: name, Kind: kind, Image: Image, Container: lab.Container{NetworkMode: "none"}},
		Labels: map[string]string{"archetype.lab": b.lab, "archetype.node": name, "archetype.spec": "x"}}
	for _, i := range interfaces {
		c.Ends = append(c.Ends, lab.End{Endpoint: lab.Endpoint{Node: name, Interface: i}})
	}
	if change != nil {
		change(&c)
	}
	return c
}

func (b *bench) create(c backends.NodeConfig) backends.NodeRef {
	b.Helper()
	if err := b.Create(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	return c.Ref
}

func (b *bench) start(ref backends.NodeRef) {
	b.Helper()
	if err := b.Start(b.Context(), ref); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) run(c backends.NodeConfig) backends.NodeRef {
	b.Helper()
	ref := b.create(c)
	b.start(ref)
	return ref
}

// cable joins interfaces of two created nodes as a network would, and gives
// them addresses.
func (b *bench) cable(x backends.NodeConfig, y backends.NodeConfig, iface string) {
	b.Helper()
	ends := []backends.NodeConfig{x, y}
	var fds [2]netns.NsHandle
	for i, c := range ends {
		at, err := b.Attachment(b.Context(), c.Ref, iface)
		if err != nil {
			b.Fatal(err)
		}
		if fds[i], err = netns.GetFromPath(at.Netns); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = fds[i].Close() }()
	}
	h, err := netlink.NewHandleAt(fds[0], unix.NETLINK_ROUTE)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = iface
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: iface, PeerNamespace: netlink.NsFd(fds[1])}); err != nil {
		b.Fatal(err)
	}
	for i, c := range ends {
		h, err := netlink.NewHandleAt(fds[i], unix.NETLINK_ROUTE)
		if err != nil {
			b.Fatal(err)
		}
		l, err := h.LinkByName(iface)
		if err == nil {
			err = h.LinkSetAlias(l, "archetype:"+b.lab+":"+iface)
		}
		if err == nil {
			err = h.LinkSetUp(l)
		}
		for _, e := range c.Ends {
			if e.Interface != iface {
				continue
			}
			for _, p := range e.Addresses() {
				if err == nil {
					err = h.AddrAdd(l, &netlink.Addr{Flags: unix.IFA_F_NODAD,
						IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}})
				}
			}
		}
		h.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
}

// off checks that the interfaces of a node that has ended are those of a device
// that is switched off.
func (b *bench) off(ref backends.NodeRef) {
	b.Helper()
	at, err := b.Attachment(b.Context(), ref, "eth1")
	if err != nil {
		b.Fatal(err)
	}
	ns, err := netns.GetFromPath(at.Netns)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName(at.Interface)
	if err != nil || l.Attrs().Flags&net.FlagUp != 0 {
		b.Errorf("%s of %s, which does not run: %+v, %v", at.Interface, ref, l, err)
	}
}

// addressed gives eth1 of the configuration its addresses.
func addressed(c backends.NodeConfig, prefixes ...string) backends.NodeConfig {
	for i := range c.Ends {
		if c.Ends[i].Interface != "eth1" {
			continue
		}
		for _, s := range prefixes {
			p := netip.MustParsePrefix(s)
			if p.Addr().Is4() {
				c.Ends[i].IPv4 = append(c.Ends[i].IPv4, p)
			} else {
				c.Ends[i].IPv6 = append(c.Ends[i].IPv6, p)
			}
		}
	}
	return c
}

// exec runs a shell line in a node and returns what it says.
func (b *bench) exec(ref backends.NodeRef, line string) (int, string) {
	b.Helper()
	res, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"sh", "-c", line}})
	if err != nil {
		st, _ := b.status(ref)
		b.Fatalf("%s: %v; it is %+v", line, err, st)
	}
	return res.Code, string(res.Stdout) + string(res.Stderr)
}

func (b *bench) must(ref backends.NodeRef, line string) string {
	b.Helper()
	code, out := b.exec(ref, line)
	if code != 0 {
		b.Fatalf("%s: %s: code %d: %s", ref, line, code, out)
	}
	return out
}

// event waits for news of a node that fits.
func (b *bench) event(what string, ref backends.NodeRef, fits func(backends.NodeStatus) bool) backends.NodeStatus {
	b.Helper()
	late := time.After(short)
	var seen []backends.NodeStatus
	for {
		select {
		case st, ok := <-b.events:
			if !ok {
				b.Fatal("the events ended")
			}
			if st.Ref == ref {
				if fits(st) {
					return st
				}
				st.Labels = nil
				seen = append(seen, st)
			}
		case <-late:
			b.Fatalf("no event: %s; seen %+v", what, seen)
		}
	}
}

// status is the node as List has it.
func (b *bench) status(ref backends.NodeRef) (backends.NodeStatus, bool) {
	b.Helper()
	list, err := b.List(b.Context(), ref.Lab)
	if err != nil {
		b.Fatal(err)
	}
	for _, st := range list {
		if st.Ref == ref {
			return st, true
		}
	}
	return backends.NodeStatus{}, false
}

// said waits until the node's log has the line.
func (b *bench) said(ref backends.NodeRef, opt backends.LogOptions, line string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), short)
	defer cancel()
	opt.Follow = true
	r, err := b.Logs(ctx, ref, opt)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var all strings.Builder
	for sc := bufio.NewScanner(r); sc.Scan(); {
		all.WriteString(sc.Text() + "\n")
		if strings.Contains(sc.Text(), line) {
			return
		}
	}
	st, _ := b.status(ref)
	b.Fatalf("%s never said %q; it is %+v and said\n%s", ref, line, st, all.String())
}

// allSaid is what a node has said since its last start.
func (b *bench) allSaid(ref backends.NodeRef) string {
	b.Helper()
	r, err := b.Logs(b.Context(), ref, backends.LogOptions{Boot: true})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	return string(all)
}

// named is the engine's own name for a node.
func named(ref backends.NodeRef) string { return "clab-" + ref.Lab + "-" + ref.Node }
