package nsnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"archetype/internal/fail"
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
	return b, n.Do(func() (err error) {
		b.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		_ = unix.SetsockoptInt(b.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // answers without the question
		return nil
	})
}

// Close closes the socket.
func (b *Batch) Close() error { return unix.Close(b.fd) }

// Send has the kernel carry out every request, whatever becomes of those
// before it. It returns what each came to.
func (b *Batch) Send(reqs ...*nl.NetlinkRequest) (errs []error, err error) {
	fail.Point("kernel.batch.before")
	defer fail.Point("kernel.batch.after")
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
			msg = msg[min(len(msg), aligned(size)):]
		}
	}
	return errs, nil
}

// aligned is where in a message something begins that follows what has a size.
func aligned(size int) int { return (size + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Half is one end of a pair to be made.
type Half struct {
	Name  string
	NS    *NS // nil: where the request is sent
	Index int // 0: the kernel's choice
	MAC   net.HardwareAddr
	MTU   int // 0: the kernel's own
	Group uint32
	Up    bool
}

func (h Half) attributes(add func(kind int, data []byte)) {
	add(unix.IFLA_IFNAME, nl.ZeroTerminated(h.Name))
	if h.NS != nil {
		add(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(h.NS.ns)))
	}
	if h.MAC != nil {
		add(unix.IFLA_ADDRESS, h.MAC)
	}
	if h.MTU > 0 {
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(h.MTU)))
	}
	if h.Group != 0 {
		add(unix.IFLA_GROUP, nl.Uint32Attr(h.Group))
	}
	// By itself the kernel makes a queue for each processor, and takes all but
	// the first away again.
	add(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1))
	add(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1))
}

// PairRequest makes a veth pair. Where a name or the index is taken, nothing
// is made and the error is unix.EEXIST. The kernel takes no wish of the peer's
// that it be up.
func PairRequest(h, peer Half) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(h.Index)
	if h.Up {
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	}
	r.AddData(msg)
	h.attributes(func(kind int, data []byte) { r.AddData(nl.NewRtAttr(kind, data)) })
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(other, unix.AF_UNSPEC)
	peer.attributes(func(kind int, data []byte) { other.AddRtAttr(kind, data) })
	r.AddData(info)
	return r
}

// AliasRequest marks the interface of that name. An alias is not among what
// the kernel takes when it makes one.
func AliasRequest(name, alias string) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	return r
}

// StateRequest sets an interface up or down and marks it.
func StateRequest(index int, up bool, alias string) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Change = int32(index), unix.IFF_UP
	if up {
		msg.Flags = unix.IFF_UP
	}
	r.AddData(msg)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	return r
}

// ingress is where filters see what comes in at an interface.
var ingress = netlink.MakeHandle(0xffff, 0)

// theFilter is the handle of our only filter at an interface, so that it is
// not added twice.
const theFilter = 0x80000800

// IngressRequest lets filters see what comes in at an interface.
func IngressRequest(index int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	r.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Handle: ingress, Parent: netlink.HANDLE_INGRESS})
	r.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("ingress")))
	return r
}

// RedirectRequest hands every frame that comes in at one interface on to
// another, out of which it goes as it came.
func RedirectRequest(from, to int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	all := uint32(unix.ETH_P_ALL&0xff)<<8 | unix.ETH_P_ALL>>8 // as on the wire
	r.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(from), Handle: theFilter, Parent: ingress, Info: 1<<16 | all})
	r.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("u32")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	match := nl.TcU32Sel{Flags: nl.TC_U32_TERMINAL, Nkeys: 1, Keys: []nl.TcU32Key{{}}} // whatever it is
	options.AddRtAttr(nl.TCA_U32_SEL, match.Serialize())
	// It fails for no action but those that the library does not know.
	_ = netlink.EncodeActions(options.AddRtAttr(nl.TCA_U32_ACT, nil), []netlink.Action{netlink.NewMirredAction(to)})
	r.AddData(options)
	return r
}
