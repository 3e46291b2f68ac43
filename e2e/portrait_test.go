package e2e

import (
	"fmt"
	"io/fs"
	"iter"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
	"archetype/lab"
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
	out, _ := inNamespaces(namespacePaths(w))
	return out
}

// namespacePaths are where those are, some more than once.
func namespacePaths(w *world) []string {
	w.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, holder := range w.find("", process.holds) {
		for _, fd := range names(fmt.Sprintf("/proc/%d/fd", holder.pid)) {
			path := fmt.Sprintf("/proc/%d/fd/%s", holder.pid, fd)
			if to, _ := os.Readlink(path); strings.HasPrefix(to, "net:[") {
				paths = append(paths, path)
			}
		}
	}
	kept, _ := filepath.Glob(filepath.Join(w.home, "*/*/*/*/*/ns-*"))
	return append(paths, kept...)
}

// inNamespaces tells what is in the namespaces at those paths, each once, and
// by which of them it was found.
func inNamespaces(paths []string) (out, at []string) {
	for path, ifs := range eachNamespace(paths) {
		var in []string
		for _, i := range ifs {
			in = append(in, i.String())
		}
		slices.Sort(in)
		out, at = append(out, "namespace with "+strings.Join(in, ", ")), append(at, path)
	}
	return out, at
}

// eachNamespace goes through the namespaces at those paths, each once.
func eachNamespace(paths []string) iter.Seq2[string, []iface] {
	return func(yield func(string, []iface) bool) {
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
			if !yield(path, ifs) {
				return
			}
		}
	}
}

// iface is an interface as it is seen from outside.
type iface struct {
	name, kind, alias, master string
	up, carrier               bool
	addresses                 []string // IPv4
	mtu, index, parent        int
	rate                      uint64 // bits a second that leave it at most, as an impairment of ours; 0: no limit
	at                        string // a path of its namespace
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
	s = strings.TrimSpace(s)
	// A switch's own port follows the ports that the switch has had, later.
	if own := i.kind == "tuntap" && i.alias == ""; i.mtu != usualMTU && !own {
		s += fmt.Sprint(" mtu ", i.mtu)
	}
	if i.rate != 0 {
		s += " " + lab.FormatRate(i.rate)
	}
	return s
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
			up: a.Flags&net.FlagUp != 0, carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
			mtu: a.MTU, index: a.Index, parent: a.ParentIndex, rate: limitOf(h, l), at: path}
		addrs, _ := whole.List(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
		for _, addr := range addrs {
			i.addresses = append(i.addresses, addr.IPNet.String())
		}
		out = append(out, i)
	}
	return out, nil
}

// limitOf is the rate that an interface of ours is held to.
func limitOf(h *netlink.Handle, l netlink.Link) uint64 {
	all, _ := whole.List(func() ([]netlink.Qdisc, error) { return h.QdiscList(l) })
	for _, q := range all {
		if tbf, ok := q.(*netlink.Tbf); ok && strings.HasPrefix(l.Attrs().Alias, "archetype") {
			return tbf.Rate * 8
		}
	}
	return 0
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
