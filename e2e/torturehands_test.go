package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends/mark"
)

// A hand is something that somebody does past the program, or that befalls the
// machine. It says what it did, and nothing where there was nothing to do.
type hand func(o *torture) string

// hands are those that there are on every pair. Each is as likely as another.
var hands = []hand{
	(*torture).deleteInterface, (*torture).deleteInterface, (*torture).takeDown, (*torture).unplugPort, (*torture).nodeTakesDown,
	(*torture).killInit, (*torture).killInit, (*torture).stopInit, (*torture).fillDisk, (*torture).noFiles, (*torture).loseStore,
}

// meddle does one of them.
func (o *torture) meddle() {
	all := slices.Concat(hands, o.p.hands)
	if what := all[o.random.IntN(len(all))](o); what != "" {
		o.note("by hand: %s", what)
		o.hands++
	}
}

// pick is one of them, of which there is at least one.
func pick[T any](o *torture, of []T) T { return of[o.random.IntN(len(of))] }

// toMarked does something to an interface of ours, and says to which.
func (o *torture) toMarked(is func(m mark.Mark, i iface) bool, do func(h *netlink.Handle, l netlink.Link) error) string {
	var found []iface
	for _, ifs := range eachNamespace(namespacePaths(o.w)) {
		for _, i := range ifs {
			if m, ok := mark.Parse(i.alias); ok && is(m, i) {
				found = append(found, i)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b iface) int { return strings.Compare(a.alias, b.alias) })
	i := pick(o, found)
	ns, err := netns.GetFromPath(i.at)
	if err != nil {
		return ""
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return ""
	}
	defer h.Close()
	l, err := h.LinkByName(i.name)
	if err != nil || l.Attrs().Index != i.index || do(h, l) != nil {
		return ""
	}
	return i.alias + " (" + i.name + ")"
}

// isFar reports whether a mark is of the far end of a node's interface.
func isFar(m mark.Mark) bool { return slices.Contains([]string{"far", "port", "held"}, m.Use) }

// deleteInterface is ip link delete, on either side, of a bridge or a tunnel.
// A tap is hardware to its machine.
func (o *torture) deleteInterface() string {
	return said("delete", o.toMarked(func(m mark.Mark, _ iface) bool { return m.Use != "tap" },
		func(h *netlink.Handle, l netlink.Link) error { return h.LinkDel(l) }))
}

func said(verb, what string) string {
	if what == "" {
		return ""
	}
	return verb + " " + what
}

// takeDown has a link be without carrier, though its nodes want it.
func (o *torture) takeDown() string {
	return said("take down", o.toMarked(func(m mark.Mark, i iface) bool { return isFar(m) && i.up },
		func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetDown(l) }))
}

// unplugPort takes a port out of its bridge.
func (o *torture) unplugPort() string {
	return said("take out of its bridge", o.toMarked(func(m mark.Mark, i iface) bool { return isFar(m) && i.kind == "veth" && i.master != "" },
		func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetNoMaster(l) }))
}

// nodeTakesDown is what a node may do: its interface is down for a while.
func (o *torture) nodeTakesDown() string {
	return said("down and up again", o.toMarked(func(m mark.Mark, i iface) bool { return m.Use == "" && i.up },
		func(h *netlink.Handle, l netlink.Link) error {
			if err := h.LinkSetDown(l); err != nil {
				return err
			}
			time.Sleep(time.Duration(o.random.IntN(1000)) * time.Millisecond)
			_ = h.LinkSetUp(l) // it may be gone
			return nil
		}))
}

// anInit is the first process of an embedded node, 0 where there is none.
func (o *torture) anInit() (node string, pid int) {
	var all []string
	pids := map[string]int{}
	for _, l := range o.labs {
		for node, ps := range o.w.inits(l.name) {
			all = append(all, l.name+"/"+node)
			pids[l.name+"/"+node] = ps[0]
		}
	}
	if len(all) == 0 {
		return "", 0
	}
	slices.Sort(all)
	node = pick(o, all)
	return node, pids[node]
}

func (o *torture) killInit() string {
	node, pid := o.anInit()
	if pid == 0 {
		return ""
	}
	o.w.strike(pid)
	return "kill the init of " + node
}

// stopInit pauses it.
func (o *torture) stopInit() string {
	node, pid := o.anInit()
	if pid == 0 {
		return ""
	}
	o.w.signal(pid, syscall.SIGSTOP)
	return "stop the init of " + node
}

// fillDisk leaves the program no room for a while.
func (o *torture) fillDisk() string {
	fill := filepath.Join(o.w.dir, "fill")
	f, err := os.Create(fill)
	if err != nil {
		return ""
	}
	block := make([]byte, 64<<10)
	for n := len(block); n > 0; {
		if _, err := f.Write(block[:n]); err != nil {
			n /= 2
		}
	}
	_ = f.Close()
	time.Sleep(time.Duration(100+o.random.IntN(1500)) * time.Millisecond)
	if err := os.Remove(fill); err != nil {
		o.w.Error(err)
	}
	return "fill the disk for a while"
}

// noFiles has the engine or the holder be without another file for a while.
func (o *torture) noFiles() string {
	victims := o.w.find("", func(p process) bool { return p.serves() || p.holds() })
	if len(victims) == 0 {
		return ""
	}
	pid := pick(o, victims).pid
	var before unix.Rlimit
	few := unix.Rlimit{Cur: uint64(len(names(fmt.Sprintf("/proc/%d/fd", pid))) + o.random.IntN(20))}
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before) != nil {
		return ""
	}
	few.Max = before.Max
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil) != nil {
		return ""
	}
	time.Sleep(time.Duration(100+o.random.IntN(1500)) * time.Millisecond)
	_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil)
	return fmt.Sprintf("no more than %d files for %d, for a while", few.Cur, pid)
}

// loseStore removes the store's file, in use or not. Its backups stay.
func (o *torture) loseStore() string {
	if os.Remove(filepath.Join(o.w.state(), "archetype.db")) != nil {
		return ""
	}
	o.lost, o.p.forgotten = true, true
	if victims := o.w.find("", process.serves); len(victims) > 0 {
		o.w.strike(victims[0].pid)
	}
	return "remove the store, and kill the engine"
}

// again starts a daemon once more.
func again(o *torture, what string, start func(context.Context) error) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := start(ctx); err != nil {
		o.w.Fatalf("%s: %v", what, err)
	}
	return "kill " + what + " and start it again"
}
