package nsnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Batch sends several messages to the kernel in one piece: for a lab of many
// links, asking for one thing at a time is most of the work.
type Batch struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf []byte
}

// Batch opens a socket for batches in the namespace.
func (n *NS) Batch() (*Batch, error) {
	b := &Batch{buf: make([]byte, 16<<10)}
	return b, n.Do(b.open)
}

// open makes the socket, in the namespace that the thread is in.
func (b *Batch) open() (err error) {
	b.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	_ = unix.SetsockoptInt(b.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // answers without the question
	return nil
}

// Close closes the socket.
func (b *Batch) Close() error { return unix.Close(b.fd) }

// send has the kernel carry out every request, whatever becomes of those
// before it. It returns what each came to.
func (b *Batch) send(reqs ...*nl.NetlinkRequest) (errs []error, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []byte
	first := b.seq + 1
	for _, r := range reqs {
		b.seq++
		r.Seq = b.seq
		out = append(out, r.Serialize()...)
		for len(out)%unix.NLMSG_ALIGNTO != 0 {
			out = append(out, 0)
		}
	}
	if err := unix.Sendto(b.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	errs = make([]error, len(reqs))
	for left := len(reqs); left > 0; {
		n, _, err := unix.Recvfrom(b.fd, b.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		for msg := b.buf[:n]; len(msg) >= unix.NLMSG_HDRLEN+4; {
			size := int(binary.NativeEndian.Uint32(msg))
			if size < unix.NLMSG_HDRLEN+4 || size > len(msg) {
				return nil, errors.New("netlink: the kernel's answer is not understood")
			}
			i := int(binary.NativeEndian.Uint32(msg[8:]) - first)
			if binary.NativeEndian.Uint16(msg[4:]) == unix.NLMSG_ERROR && i >= 0 && i < len(reqs) {
				if code := int32(binary.NativeEndian.Uint32(msg[unix.NLMSG_HDRLEN:])); code != 0 {
					errs[i] = unix.Errno(-code)
				}
				left--
			}
			msg = msg[min(len(msg), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		}
	}
	return errs, nil
}

// Half is one end of a pair to be made.
type Half struct {
	NS    int // descriptor of its namespace
	Name  string
	MAC   []byte
	MTU   int // 0: the kernel's own
	Alias string
}

// attributes are what both ends are made with; the alias is not among what
// the kernel takes at that moment.
func (h Half) attributes(add func(kind int, data []byte)) {
	add(unix.IFLA_IFNAME, nl.ZeroTerminated(h.Name))
	add(unix.IFLA_ADDRESS, h.MAC)
	add(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(h.NS)))
	if h.MTU > 0 {
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(h.MTU)))
	}
}

// Pair makes a veth pair between two namespaces and sets both ends up. Where
// a name is taken in either, nothing is made and the error is unix.EEXIST.
// The batch's own namespace hears of both from then on.
func (b *Batch) Pair(x, y Half) error {
	create := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	create.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	x.attributes(func(kind int, data []byte) { create.AddData(nl.NewRtAttr(kind, data)) })
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	y.attributes(func(kind int, data []byte) { peer.AddRtAttr(kind, data) })
	create.AddData(info)
	errs, err := b.send(number(x.NS), number(y.NS), create)
	if err != nil {
		return err
	}
	if errs[2] != nil {
		return errs[2]
	}
	// An alias is not among what the kernel takes when it makes an interface,
	// and it must be there before the first news of the interface being up.
	return within(func(i int) error {
		h := []Half{x, y}[i]
		up := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
		up.AddData(msg)
		up.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(h.Name)))
		up.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(h.Alias)))
		in := &Batch{buf: make([]byte, 1<<10)}
		if err := in.open(); err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		errs, err := in.send(up)
		return errors.Join(append(errs, err)...)
	}, x.NS, y.NS)
}

// number is the message that gives a namespace a number here, unless it has
// one: without it nothing is heard of what happens there.
func number(ns int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWNSID, unix.NLM_F_ACK)
	r.AddData(nl.NewRtGenMsg())
	r.AddData(nl.NewRtAttr(netlink.NETNSA_FD, nl.Uint32Attr(uint32(ns))))
	any := int32(-1)
	r.AddData(nl.NewRtAttr(netlink.NETNSA_NSID, nl.Uint32Attr(uint32(any))))
	return r
}

// within runs f on a thread inside each of some namespaces in turn.
func within(f func(i int) error, namespaces ...int) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	for i, ns := range namespaces {
		if err = unix.Setns(ns, unix.CLONE_NEWNET); err == nil {
			err = f(i)
		}
		if err != nil {
			break
		}
	}
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, so nobody else gets it
	}
	runtime.UnlockOSThread()
	return err
}
