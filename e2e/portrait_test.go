package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
)

// A portrait is all that can be seen of a world from outside: processes,
// interfaces, mounts, files and what its daemons have. Numbers and names that
// differ from one making to the next are left out, so that two worlds in the
// same state have the same portrait, however they came there.
func (p *pair) portrait() []string {
	p.w.Helper()
	reapOrphans()
	var out []string
	for _, pr := range p.w.processes() {
		if name, _, _ := strings.Cut(pr.command, ",debug-threads"); !strings.Contains(pr.command, " inspect ") { // our own looking
			out = append(out, "process "+blur(name)) // an emulator's has numbers in its other words
		}
	}
	out = append(out, namespaces(p.w)...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		p.w.Fatal(err)
	}
	for m := range strings.Lines(string(mounts)) {
		if f := strings.Fields(m); strings.Contains(m, p.w.home) {
			out = append(out, "mount "+blur(f[4]))
		}
	}
	_ = filepath.WalkDir(p.w.home, func(path string, _ fs.DirEntry, err error) error {
		// An embedded node's log is put on the disk when there is enough of it,
		// which is after so many boots; the folder around it counts.
		log := filepath.Base(filepath.Dir(path)) == ".logs"
		if err == nil && !stays(path) && !log {
			out = append(out, "file "+blur(path))
		}
		return nil
	})
	out = append(out, p.daemons()...)
	slices.Sort(out)
	return out
}

// daemons is what a pair's daemons have.
func (p *pair) daemons() []string {
	var out []string
	for _, more := range p.more {
		out = append(out, more()...)
	}
	return out
}

// particular is what differs from one making to the next.
var particular = regexp.MustCompile(`\bns-[0-9]+|\b(veth|br-)[0-9a-f]{6,}|\bo[0-9a-f]{14}\b|/(eng|ovs|libvirt)[0-9]+\b|\b[0-9a-f]{64}\b|damaged-[0-9-]+|/proc/[0-9]+/`)

func blur(s string) string {
	return particular.ReplaceAllStringFunc(s, func(m string) string { return m[:min(2, len(m))] + "*" })
}

// namespaces tells what is in each network namespace that anybody holds.
func namespaces(w *world) []string {
	w.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	if holder := w.holder(); holder != 0 {
		for _, fd := range names(fmt.Sprintf("/proc/%d/fd", holder)) {
			path := fmt.Sprintf("/proc/%d/fd/%s", holder, fd)
			if to, _ := os.Readlink(path); strings.HasPrefix(to, "net:[") {
				paths = append(paths, path)
			}
		}
	}
	kept, _ := filepath.Glob(filepath.Join(w.home, "*/*/*/*/*/ns-*"))
	out, _ := inNamespaces(append(paths, kept...))
	return out
}

// inNamespaces tells what is in the namespaces at those paths, each once, and
// by which of them it was found.
func inNamespaces(paths []string) (out, at []string) {
	seen := map[uint64]bool{}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		ifs, err := interfacesOf(path)
		if err != nil {
			continue // its last process has just ended
		}
		var in []string
		for _, i := range ifs {
			in = append(in, i.String())
		}
		slices.Sort(in)
		out, at = append(out, "namespace with "+strings.Join(in, ", ")), append(at, path)
	}
	return out, at
}

// iface is an interface as it is seen from outside.
type iface struct {
	name, kind, alias, master string
	up, carrier               bool
	addresses                 []string
}

func (i iface) String() string {
	name := i.alias
	if name == "" {
		name = blur(i.name)
	}
	s := i.kind + " " + name
	if i.up {
		s += " up"
	}
	if i.carrier {
		s += " carrier"
	}
	if i.master != "" {
		s += " in " + blur(i.master)
	}
	if i.alias != "" {
		s += " " + strings.Join(i.addresses, " ")
	}
	return strings.TrimSpace(s)
}

func interfacesOf(path string) ([]iface, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := whole.List(h.LinkList)
	if err != nil {
		return nil, err
	}
	byIndex := map[int]string{}
	for _, l := range links {
		byIndex[l.Attrs().Index] = l.Attrs().Name
	}
	var out []iface
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		i := iface{name: a.Name, kind: l.Type(), alias: a.Alias, master: byIndex[a.MasterIndex],
			up: a.Flags&net.FlagUp != 0, carrier: a.RawFlags&unix.IFF_LOWER_UP != 0}
		addrs, _ := whole.List(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
		for _, addr := range addrs {
			i.addresses = append(i.addresses, addr.IPNet.String())
		}
		out = append(out, i)
	}
	return out, nil
}

// difference is what one has and the other has not.
func difference(got, want []string) string {
	count := map[string]int{}
	for _, s := range want {
		count[s]++
	}
	var more, less []string
	for _, s := range got {
		if count[s]--; count[s] < 0 {
			more = append(more, "+ "+s)
		}
	}
	for s, n := range count {
		for range n {
			less = append(less, "- "+s)
		}
	}
	slices.Sort(less)
	return strings.Join(append(more, less...), "\n")
}

// mustAgree wants inspect and the machine to say the same of a lab that rests.
func (p *pair) mustAgree(t *testing.T, lab string) {
	t.Helper()
	var bad []string
	if !became(func() bool {
		bad = p.agrees(p.w.inspect(lab))
		return len(bad) == 0
	}) {
		said := slices.DeleteFunc(p.portrait(), func(s string) bool { return strings.HasPrefix(s, "file ") })
		t.Errorf("inspect and the machine differ:\n%s\n%s\n%s", strings.Join(bad, "\n"), p.w.run("inspect", lab), strings.Join(said, "\n"))
	}
}

// agrees compares what inspect says of a lab that rests to what the kernel
// and the daemons say themselves, and returns what is not so.
func (p *pair) agrees(l *inspectJSON) []string {
	p.w.Helper()
	var bad []string
	ends := map[string]iface{}
	for _, n := range l.Nodes {
		running, pid := p.runs(l.Lab.Name, n)
		if want := n.Actual == "running"; running != want {
			bad = append(bad, fmt.Sprintf("%s is %s, and runs: %t", n.Name, n.Actual, running))
			continue
		}
		if running && pid != n.PID {
			bad = append(bad, fmt.Sprintf("%s has PID %d, inspect says %d", n.Name, pid, n.PID))
		}
		if n.Provider == "libvirt" || !running {
			continue // its interfaces are taps, or nowhere to be found by a process
		}
		ifs, err := interfacesOf("/proc/" + strconv.Itoa(pid) + "/ns/net")
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", n.Name, err))
		}
		for _, i := range ifs {
			ends[n.Name+":"+i.name] = i
		}
	}
	for _, k := range l.Links {
		for _, end := range []string{k.A, k.B} {
			name, _, _ := strings.Cut(end, ":")
			n := l.node(name)
			if n.Provider == "libvirt" || n.Actual != "running" {
				continue
			}
			i, ok := ends[end]
			if !ok {
				bad = append(bad, fmt.Sprintf("%s -- %s: there is no interface %s", k.A, k.B, end))
			} else if on := k.Carrier == "on"; i.carrier != on && k.Actual != "pending" {
				bad = append(bad, fmt.Sprintf("%s -- %s: carrier %s, and %s sees %t", k.A, k.B, k.Carrier, end, i.carrier))
			}
			delete(ends, end)
		}
	}
	for end, i := range ends {
		if strings.HasPrefix(i.alias, "archetype") {
			bad = append(bad, "an interface of no link: "+end+" "+i.String())
		}
	}
	if p.tags != nil {
		bad = append(bad, p.tags(l)...)
	}
	slices.Sort(bad)
	return bad
}
