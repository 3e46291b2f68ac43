// Package nsnet is what network backends share: interfaces inside network
// namespaces that are named by a path, and how ours are recognised.
package nsnet

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/internal/fail"
	"archetype/internal/osthread"
	"archetype/lab"
)

// NS is an open network namespace with a netlink socket inside it.
type NS struct {
	*netlink.Handle
	ns    netns.NsHandle
	path  string
	exits exits
}

// Open opens the namespace at path. Where there is none any more, the error
// wraps backends.ErrNotFound.
func Open(path string) (*NS, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("namespace %s: %w", path, backends.ErrNotFound)
		}
		return nil, fmt.Errorf("namespace %s: %w", path, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("namespace %s: %w", path, err)
	}
	return &NS{Handle: h, ns: ns, path: path}, nil
}

// Inode is that of an open namespace, 0 when it cannot be told.
func Inode(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// Path is one by which it can be opened.
func (n *NS) Path() string { return n.path }

// FD stands for the namespace in netlink messages.
func (n *NS) FD() netlink.NsFd { return netlink.NsFd(n.ns) }

// Close closes the namespace and its socket.
func (n *NS) Close() {
	n.Handle.Close()
	_ = n.ns.Close()
}

// Do runs f on a thread inside the namespace.
func (n *NS) Do(f func() error) error {
	return osthread.InNetwork(int(n.ns), f)
}

// Sysctl writes a setting of the namespace, such as
// "ipv6/conf/default/disable_ipv6". One that this kernel lacks is no error.
func (n *NS) Sysctl(name, value string) error {
	return n.Do(func() error {
		err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

// Find returns the interface of that name, and nil when there is none.
func (n *NS) Find(name string) (netlink.Link, error) {
	l, err := n.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	return l, err
}

// Again calls f anew when an interface has vanished under it: what goes with a
// node's namespace, far ends included, goes some time after the node.
func Again(f func() error) error {
	var err error
	for range 5 {
		err = f()
		var missing netlink.LinkNotFoundError
		if !errors.As(err, &missing) && !errors.Is(err, syscall.ENODEV) {
			return err
		}
	}
	return err
}

// DeleteGroup removes all interfaces of a group, and what a program that ended
// was about to remove.
func (n *NS) DeleteGroup(group uint32) error {
	return errors.Join(n.deleteGroup(group), n.deleteGroup(leaving))
}

// deleteGroup does it with one message, and one wait of the kernel's.
func (n *NS) deleteGroup(group uint32) error {
	return n.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group)))
		err := fail.Around("kernel.delete.group", func() error {
			_, err := req.Execute(unix.NETLINK_ROUTE, 0)
			return err
		})
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) {
			return nil // there is none
		}
		return err
	})
}

// Change sets an interface up or down and its alias in one message.
func (n *NS) Change(name, alias string, up bool) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Alias = name, alias
	if up {
		attrs.Flags = net.FlagUp
	}
	return n.LinkModify(&netlink.GenericLink{LinkAttrs: attrs, LinkType: "veth"})
}

// Address gives an interface the addresses that the topology names.
func (n *NS) Address(name string, end lab.End) error {
	if len(end.IPv4)+len(end.IPv6) == 0 {
		return nil
	}
	l, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	for _, p := range end.Addresses() {
		a := address(p)
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // nobody else is on the cable: no second of waiting
		}
		if err := n.AddrAdd(l, a); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// TakeFormer takes from a port's interface the addresses, and the MTU, that it
// is to lose.
func TakeFormer(p backends.Port) error {
	if len(p.Former) == 0 && !p.FormerMTU || p.Attachment.Netns == "" {
		return nil // inside a machine it is the machine's affair
	}
	n, err := Open(p.Attachment.Netns)
	if err != nil {
		return err
	}
	defer n.Close()
	l, err := n.Find(p.Attachment.Interface)
	if err != nil || l == nil {
		return err
	}
	if p.FormerMTU {
		if err := n.Resize(l, usualMTU); err != nil {
			return err
		}
	}
	for _, f := range p.Former {
		err := fail.Around("kernel.address.take", func() error { return n.AddrDel(l, address(f)) })
		if err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("address %s: %w", f, err)
		}
	}
	return nil
}

func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

// MAC is the address of an end: the topology's, or one that stays the same
// when the node is made anew. It is locally administered.
func MAC(labName string, end lab.End) (net.HardwareAddr, error) {
	if end.MAC != "" {
		return net.ParseMAC(end.MAC)
	}
	sum := sha256.Sum256([]byte("mac\x00" + labName + "\x00" + end.String()))
	return net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}, nil
}

// Group is the number that our interfaces of a lab have in common.
func Group(labName string) uint32 {
	sum := sha256.Sum256([]byte("group\x00" + labName))
	return binary.BigEndian.Uint32(sum[:])>>1 | 1 // never 0, which is everybody's
}

// Name makes the name of an interface that only we see: a letter, six digits
// for the lab and eight for what it stands for.
func Name(letter, labName, what string) string {
	return Prefix(letter, labName) + digits(what, 8)
}

// Prefix is common to all such names of a lab.
func Prefix(letter, labName string) string { return letter + digits(labName, 6) }

func digits(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:n]
}

// FarIndex is a number for the far end of a node's interface that no node's
// interface has: the kernel tells of the carrier of a pair at once only when
// its two ends have different numbers, and else up to a second later, in which
// nothing crosses.
func FarIndex(what string) int {
	sum := sha256.Sum256([]byte("index\x00" + what))
	return 1<<30 | int(binary.BigEndian.Uint32(sum[:])>>2)
}

// Awake waits until the kernel sends by an interface that has got its carrier
// back: it tells of that at once, but drops what leaves until a moment later.
// It does not wait for long, because somebody may have changed it again.
func (n *NS) Awake(ctx context.Context, name string) {
	up := func() bool {
		l, err := n.LinkByName(name)
		return err != nil || l.Attrs().OperState == netlink.OperUp
	}
	if up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	changed := make(chan struct{}, 1)
	over, err := News(ctx, n.path, false, func(*Device) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return
	}
	for !up() {
		select {
		case <-changed:
		case <-over:
			return
		}
	}
}

// NodeAlias is what a node's interface is marked with.
func NodeAlias(p backends.Port) string {
	return mark.Of(p.Attachment.Owner, p.Lab, p.End.String()).String()
}

// Ours reports whether we made an interface: by its mark or, when that was
// not yet set, by its address.
func Ours(l netlink.Link, p backends.Port) bool {
	if m, ok := mark.Parse(l.Attrs().Alias); ok {
		return m.Lab == p.Lab && m.Admits(p.Attachment.Owner)
	}
	mac, err := MAC(p.Lab, p.End)
	return err == nil && l.Type() == "veth" && l.Attrs().HardwareAddr.String() == mac.String()
}

// Conflict is the error for an interface that is in the way.
func Conflict(end lab.End, l netlink.Link) error {
	return fmt.Errorf("%s: the node already has an interface %s that Archetype did not make (%s): remove or rename it (%w)",
		end, end.Interface, l.Type(), backends.ErrConflict)
}
