package holder

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends/mark"
	"archetype/internal/whole"
)

// panel is the namespace for what belongs to no node. Links of nodes that
// another provider holds may lead through it too: the holder outlives the
// engine as long as anything is in there.
type panel struct {
	ns    *os.File
	empty int // interfaces that the kernel itself puts there
}

func newPanel(s *spawner) (*panel, error) {
	ns, err := s.newNetns()
	if err != nil {
		return nil, err
	}
	p := &panel{ns: ns}
	p.empty, err = p.interfaces()
	return p, err
}

func (p *panel) interfaces() (int, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(p.ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	links, err := whole.List(h.LinkList)
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return mark.IsTrial(l.Attrs().Name) })
	return len(links), err
}

// inUse reports whether something of ours is there.
func (p *panel) inUse() bool {
	n, err := p.interfaces()
	return err == nil && n > p.empty
}

// later looks again at what has no event, less and less often: the kernel
// takes a moment to remove what went with a node.
type later struct {
	mu      sync.Mutex
	pause   time.Duration
	pending bool
}

// Bounds of how long later waits.
const (
	soon   = 50 * time.Millisecond
	rarely = 30 * time.Second
)

// again calls f after a while, once however often it is asked meanwhile.
func (l *later) again(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending {
		return
	}
	l.pending = true
	l.pause = min(max(2*l.pause, soon), rarely)
	time.AfterFunc(l.pause, func() {
		l.mu.Lock()
		l.pending = false
		l.mu.Unlock()
		f()
	})
}
