package e2e

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/mark"
	"archetype/internal/osthread"
)

// A link is not what is said of it but where frames come out. Each end of each
// link sends one that names it, and all ends listen.

// testFrames is an Ethernet type for trials, which nobody answers.
const testFrames = 0x88b5

// mouth is an end of a link where frames are sent and heard. A machine's is
// its tap, where those are heard that leave to it.
type mouth struct {
	lab, end string
	tap      bool
	fd       int
	index    int
	heard    map[string]int // who was, and how often
}

func (m *mouth) name() string { return m.lab + "/" + m.end }

// mouthsOf opens all of a lab's that are there now.
func (p *pair) mouthsOf(l *inspectJSON) (out []*mouth) {
	p.w.Helper()
	here, _ := interfacesOf("/proc/self/ns/net")
	add := func(end string, i iface, tap bool) {
		m := &mouth{lab: l.Lab.Name, end: end, tap: tap, index: i.index, heard: map[string]int{}}
		if m.open(i.at) == nil {
			out = append(out, m)
		}
	}
	for _, i := range here {
		if m, ok := mark.Parse(i.alias); ok && m.Use == "tap" && m.Lab == l.Lab.Name {
			add(m.ID, i, true)
		}
	}
	for _, k := range l.Links {
		if !k.isHeard() {
			continue
		}
		for _, end := range []string{k.A, k.B} {
			node, name, _ := strings.Cut(end, ":")
			ifs := here
			if n := l.node(node); n.Name != "" {
				if n.Actual != "running" || n.Provider == "libvirt" {
					continue
				}
				ifs, _ = interfacesOf("/proc/" + strconv.Itoa(n.PID) + "/ns/net")
			}
			if at := slices.IndexFunc(ifs, func(i iface) bool { return i.name == name }); at >= 0 {
				add(end, ifs[at], false)
			}
		}
	}
	return out
}

// isHeard reports whether both ends of a link are places where frames can be
// heard: what leaves by a tunnel or another's interface may come out anywhere.
func (k linkJSON) isHeard() bool { return k.Outside == "" || k.Outside == "host" }

func (m *mouth) open(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	return osthread.InNetwork(int(ns.Fd()), func() error {
		const proto = unix.ETH_P_ALL // else a bridge has it before us
		m.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err = unix.Bind(m.fd, &unix.SockaddrLinklayer{Protocol: proto << 8 & 0xffff, Ifindex: m.index}); err != nil {
			_ = unix.Close(m.fd)
		}
		return err
	})
}

// say sends a frame to all that names its sender and which of its frames it is.
func (m *mouth) say(nth int) {
	if m.tap {
		return
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(m.name()))
	frame := append(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x5e}, h.Sum(nil)...)
	frame = append(frame, testFrames>>8, testFrames&0xff)
	frame = fmt.Appendf(frame, "%s %d\n", m.name(), nth)
	frame = append(frame, make([]byte, max(0, 60-len(frame)))...)
	_ = unix.Sendto(m.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: m.index}) // one that is down says nothing
}

// listen takes in what has come.
func (m *mouth) listen() {
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(m.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if at, ok := from.(*unix.SockaddrLinklayer); !ok || (at.Pkttype == unix.PACKET_OUTGOING) != m.tap {
			continue // its own
		}
		if n < 14 || buf[12] != testFrames>>8 || buf[13] != testFrames&0xff {
			continue
		}
		if said, _, ok := strings.Cut(string(buf[14:n]), "\n"); ok {
			m.heard[said]++
		}
	}
}

func (m *mouth) hears(from string) bool {
	for said := range m.heard {
		if who, _, _ := strings.Cut(said, " "); who == from {
			return true
		}
	}
	return false
}

// wired wants what an end of a link that is up sends to come out at its other
// end, once, and nothing to come out anywhere else. It returns what is not so,
// or not yet.
func (p *pair) wired(labs []*inspectJSON) []string {
	p.w.Helper()
	var all []*mouth
	defer func() {
		for _, m := range all {
			_ = unix.Close(m.fd)
		}
	}()
	at := map[string]*mouth{}
	for _, l := range labs {
		for _, m := range p.mouthsOf(l) {
			all = append(all, m)
			at[m.name()] = m
		}
	}
	want, may := hearsay(labs)
	missing := func() (bad []string) {
		for to, from := range want {
			for _, from := range from {
				if m, by := at[to], at[from]; m != nil && by != nil && !by.tap && !m.hears(from) {
					bad = append(bad, fmt.Sprintf("what %s sends does not come to %s", from, to))
				}
			}
		}
		return bad
	}
	for nth := range 50 {
		if nth%10 == 0 {
			for _, m := range all {
				m.say(nth)
			}
		}
		for _, m := range all {
			m.listen()
		}
		if len(missing()) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	bad := missing()
	for _, m := range all {
		for said, times := range m.heard {
			from, _, _ := strings.Cut(said, " ")
			if !slices.Contains(may[m.name()], from) {
				bad = append(bad, fmt.Sprintf("what %s sends comes to %s", from, m.name()))
			} else if times > 1 {
				bad = append(bad, fmt.Sprintf("a frame of %s came to %s %d times", from, m.name(), times))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// hearsay is by end whose frames are to come there, and whose may: those of a
// whole segment, which a bridge passes on.
func hearsay(labs []*inspectJSON) (want, may map[string][]string) {
	want, may = map[string][]string{}, map[string][]string{}
	for _, l := range labs {
		name := l.Lab.Name + "/"
		segment := map[string][]string{} // by bridge the ends of others
		for _, k := range l.Links {
			if k.Actual != "up" || !l.runs(endOf(k.A)) || !l.runs(endOf(k.B)) || !k.isHeard() {
				continue
			}
			for _, way := range [][2]string{{k.A, k.B}, {k.B, k.A}} {
				from, to := name+way[0], name+way[1]
				want[to] = append(want[to], from)
				may[to] = append(may[to], from)
				if l.node(endOf(way[1])).Kind == "bridge" {
					segment[endOf(way[1])] = append(segment[endOf(way[1])], from)
				}
			}
		}
		for _, ends := range segment {
			for _, to := range ends {
				may[to] = append(may[to], ends...)
			}
		}
	}
	return want, may
}
