package nsnet

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/internal/packets"
)

// Ports is what is alike in all networks whose nodes' interfaces are in
// namespaces or taps of this machine: they can be looked at.
type Ports struct{}

var (
	_ backends.Capturer = Ports{}
	_ backends.Counter  = Ports{}
)

// Capture shows what the node sees of its link. It holds the namespace, as any
// socket in it does, and so ends with the interface.
func (Ports) Capture(ctx context.Context, p backends.Port) (io.ReadCloser, error) {
	n, name, err := place(p)
	if err != nil {
		return nil, fmt.Errorf("capture at %s: %w", p.End.Endpoint, err)
	}
	defer n.Close()
	have, err := n.Find(name)
	if err == nil && have == nil {
		err = backends.ErrNotFound
	}
	var tap *os.File
	if err == nil {
		err = n.Do(func() (err error) { tap, err = packetSocket(have.Attrs().Index); return err })
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("capture at %s: it needs the capability CAP_NET_RAW: %w", p.End.Endpoint, backends.ErrUnavailable)
	case err != nil:
		return nil, fmt.Errorf("capture at %s: %w", p.End.Endpoint, err)
	}
	r, w := io.Pipe()
	c := &capture{PipeReader: r, tap: tap}
	c.stop = context.AfterFunc(ctx, func() { _ = c.Close() })
	go func() { _ = w.CloseWithError(relay(w, tap)) }()
	return c, nil
}

// place is where a port's interface can be looked at from outside, and its name
// there.
func place(p backends.Port) (n *NS, name string, err error) {
	switch {
	case p.Attachment.Tap != "":
		n, err = Machine()
		return n, p.Attachment.Tap, err
	case p.Attachment.Netns != "":
		n, err = Open(p.Attachment.Netns)
		return n, p.Attachment.Interface, err
	}
	return nil, "", backends.ErrNotFound
}

// Count is what the node's interface has sent and received: what a tap has
// received is what its node has sent.
func (Ports) Count(_ context.Context, p backends.Port) (t backends.Traffic, err error) {
	n, name, err := place(p)
	if err != nil {
		return t, fmt.Errorf("traffic at %s: %w", p.End.Endpoint, err)
	}
	defer n.Close()
	l, err := n.Find(name)
	if err == nil && (l == nil || l.Attrs().Statistics == nil) {
		err = backends.ErrNotFound
	}
	if err != nil {
		return t, fmt.Errorf("traffic at %s: %w", p.End.Endpoint, err)
	}
	s := l.Attrs().Statistics
	t = backends.Traffic{Sent: s.TxBytes, Received: s.RxBytes, SentPackets: s.TxPackets, ReceivedPackets: s.RxPackets}
	if p.Attachment.Tap != "" {
		t.Sent, t.Received, t.SentPackets, t.ReceivedPackets = t.Received, t.Sent, t.ReceivedPackets, t.SentPackets
	}
	return t, nil
}

type capture struct {
	*io.PipeReader
	tap  *os.File
	stop func() bool
	once sync.Once
}

// Close ends the capture.
func (c *capture) Close() error {
	c.once.Do(func() {
		c.stop()
		_ = c.tap.Close()
		_ = c.PipeReader.Close()
	})
	return nil
}

// packetSocket hears all that an interface sends and receives.
func packetSocket(index int) (*os.File, error) {
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // nothing before it is bound
	if err != nil {
		return nil, err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20) // as much as we may
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "packets"), nil
}

// tellLost is after how many frames at the latest the kernel is asked for those
// that it has dropped.
const tellLost = 1024

// relay copies frames until there are no more; how that came about is of no
// interest to who reads them.
func relay(w io.Writer, tap *os.File) error {
	raw, err := tap.SyscallConn()
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	out, err := packets.NewWriter(buf)
	if err != nil {
		return err
	}
	data, about := make([]byte, packets.Most), make([]byte, 256)
	for since := 0; ; since++ {
		if buf.Flush() != nil {
			return nil
		}
		var n, told, lost int
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			if since == tellLost {
				since, lost = 0, dropped(int(fd))
			}
			n, told, _, _, rerr = unix.Recvmsg(int(fd), data, about, unix.MSG_TRUNC)
			dry := errors.Is(rerr, unix.EAGAIN)
			if dry && since > 0 {
				since, lost = 0, lost+dropped(int(fd))
			}
			return !dry || lost > 0 // which is told before what comes
		})
		if err == nil && lost > 0 {
			err = out.Lose(lost)
		}
		if err == nil && errors.Is(rerr, unix.EAGAIN) {
			continue
		}
		if err != nil || rerr != nil {
			return nil
		}
		info := gopacket.CaptureInfo{Timestamp: time.Now(), Length: n, CaptureLength: min(n, packets.Most)}
		frame := noted(&info, data[:info.CaptureLength], about[:told])
		if out.Frame(info, frame) != nil {
			return nil
		}
	}
}

// dropped is how many frames the kernel had no room for since it was last asked.
func dropped(fd int) int {
	st, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return int(st.Drops)
}

// noted takes in what the kernel says beside a frame: when it passed, and the
// VLAN tag that it has taken out, which is put back.
func noted(info *gopacket.CaptureInfo, data, about []byte) []byte {
	notes, err := unix.ParseSocketControlMessage(about)
	if err != nil {
		return data
	}
	for _, note := range notes {
		switch {
		case note.Header.Level == unix.SOL_SOCKET && note.Header.Type == unix.SO_TIMESTAMPNS && len(note.Data) >= 16:
			info.Timestamp = time.Unix(int64(binary.NativeEndian.Uint64(note.Data)), int64(binary.NativeEndian.Uint64(note.Data[8:])))
		case note.Header.Level == unix.SOL_PACKET && note.Header.Type == unix.PACKET_AUXDATA && len(note.Data) >= 20 && len(data) >= 12:
			status := binary.NativeEndian.Uint32(note.Data)
			tag, kind := binary.NativeEndian.Uint16(note.Data[16:]), binary.NativeEndian.Uint16(note.Data[18:])
			if status&unix.TP_STATUS_VLAN_VALID == 0 {
				continue
			}
			if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
				kind = unix.ETH_P_8021Q
			}
			whole := append(make([]byte, 0, len(data)+4), data[:12]...)
			whole = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(whole, kind), tag)
			data = append(whole, data[12:]...)
			info.CaptureLength, info.Length = len(data), info.Length+4
		}
	}
	return data
}
