package nsnet

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/lab"
)

// Impair makes frames that leave an interface suffer, by netem, or by tbf
// where only the rate is limited; a zero impairment makes it a cable again.
// A kernel that lacks the discipline needed is backends.ErrUnsupported, and
// then nothing has changed.
func (n *NS) Impair(l netlink.Link, i lab.Impairment) error {
	root := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(netemMajor, 0)}
	have, err := n.ours(l)
	if err != nil {
		return err
	}
	if i.IsZero() {
		if have == nil {
			return nil
		}
		return n.QdiscDel(have)
	}
	want := netlink.Qdisc(netem(root, i))
	if i.RateOnly() {
		root.Handle = netlink.MakeHandle(tbfMajor, 0)
		want = tbf(root, i.Rate, l.Attrs().MTU)
	}
	if have != nil && have.Type() == want.Type() {
		return explain(n.QdiscChange(want), i)
	}
	// Another discipline takes its place in one step, so that one which the
	// kernel lacks leaves the old one standing.
	return explain(n.QdiscReplace(want), i)
}

// The handles of our disciplines, which tell them from a device's own. There
// are two because one handle cannot pass from one sort to another.
const (
	netemMajor = 0xa7c
	tbfMajor   = 0xa7d
)

func (n *NS) ours(l netlink.Link) (netlink.Qdisc, error) {
	all, err := n.QdiscList(l)
	if err != nil {
		return nil, err
	}
	for _, q := range all {
		if h := q.Attrs().Handle; h == netlink.MakeHandle(netemMajor, 0) || h == netlink.MakeHandle(tbfMajor, 0) {
			return q, nil
		}
	}
	return nil, nil
}

func explain(err error, i lab.Impairment) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("impairment %s: %w", i, err)
	}
	if i.RateOnly() {
		return fmt.Errorf("this kernel has no tbf, so it cannot limit a rate (CONFIG_NET_SCH_TBF; modprobe sch_tbf): %w", backends.ErrUnsupported)
	}
	return fmt.Errorf("this kernel has no netem, so it can only limit a rate (CONFIG_NET_SCH_NETEM; modprobe sch_netem): %w", backends.ErrUnsupported)
}

// netemLimit is how many frames may be on the way: enough for a second's
// worth at a gigabit.
const netemLimit = 100_000

func netem(root netlink.QdiscAttrs, i lab.Impairment) *netlink.Netem {
	return netlink.NewNetem(root, netlink.NetemQdiscAttrs{
		Latency: uint32(i.Delay / time.Microsecond), Jitter: uint32(i.Jitter / time.Microsecond),
		Loss: float32(i.Loss), CorruptProb: float32(i.Corruption), Rate64: i.Rate / 8, Limit: netemLimit})
}

// tbf lets pass at once what 10 ms at the rate carry, but never less than two
// usual frames or the largest one, and holds back 100 ms, or ten usual frames.
func tbf(root netlink.QdiscAttrs, rate uint64, mtu int) *netlink.Tbf {
	second := rate / 8 // bytes
	const usual, header = 1500 + 64, 64
	burst := max(second/100, 2*usual, uint64(mtu+header))
	return &netlink.Tbf{QdiscAttrs: root, Rate: second, Limit: uint32(min(burst+max(second/10, 10*usual), 1<<30)),
		Buffer: netlink.Xmittime(second, uint32(min(burst, 1<<30)))}
}
