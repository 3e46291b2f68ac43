package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// wanted lets through all but what no case asks for, for which the socket may
// have no room: TCP, of which the transfers are made, and ARP and IPv6, the
// noise of a hundred interfaces that come up.
var wanted = []unix.SockFilter{
	{Code: 0x28, K: 12},                   // ldh [12]
	{Code: 0x15, Jt: 4, Jf: 0, K: 0x0806}, // ARP: drop
	{Code: 0x15, Jt: 3, Jf: 0, K: 0x86dd}, // IPv6: drop
	{Code: 0x15, Jt: 0, Jf: 3, K: 0x0800}, // IPv4?
	{Code: 0x30, K: 23},                   // ldb [23]
	{Code: 0x15, Jt: 0, Jf: 1, K: 6},      // TCP: drop
	{Code: 0x06, K: 0},                    // drop
	{Code: 0x06, K: 0x40000},              // accept
}

// capture opens a socket that sees the frames of all interfaces, also of
// those that come later.
func (d *device) capture() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	d.fd = fd
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // a bigger buffer, where permitted
	prog := unix.SockFprog{Len: uint16(len(wanted)), Filter: &wanted[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	go d.receive()
	return nil
}

func (d *device) receive() {
	buf, oob := make([]byte, 1<<17), make([]byte, 256)
	for {
		n, on, _, from, err := unix.Recvmsg(d.fd, buf, oob, 0)
		if err != nil {
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) {
				continue
			}
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING || !bytes.Contains(buf[:n], []byte(marker)) {
			continue
		}
		data := retag(bytes.Clone(buf[:n]), oob[:on])
		name := ""
		if i, err := net.InterfaceByIndex(ll.Ifindex); err == nil {
			name = i.Name
		}
		d.mu.Lock()
		if len(d.frames) < maxKept {
			d.frames = append(d.frames, Frame{name, data})
		}
		close(d.kept)
		d.kept = make(chan struct{})
		d.mu.Unlock()
	}
}

// retag puts a VLAN tag back to where it was on the wire: the kernel hands it
// over beside the frame.
func retag(frame, oob []byte) []byte {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(frame) < 12 {
		return frame
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
		if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tpid := uint16(unix.ETH_P_8021Q)
		if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = aux.Vlan_tpid
		}
		tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), aux.Vlan_tci)
		return append(append(append([]byte(nil), frame[:12]...), tag...), frame[12:]...)
	}
	return frame
}

// send waits a little where the queue is full: that is not the cable's fault.
func (d *device) send(f Frame) error {
	i, err := net.InterfaceByName(f.Iface)
	if err != nil {
		return err
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: i.Index, Halen: 6}
	copy(to.Addr[:], f.Data)
	for range 20 {
		if err = unix.Sendto(d.fd, f.Data, 0, to); !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// seen returns the frames with a token, once there are count of them or the
// time is up.
func (d *device) seen(token string, count int, wait time.Duration) []Frame {
	timeout := time.After(wait)
	for {
		var out []Frame
		d.mu.Lock()
		for _, f := range d.frames {
			if bytes.Contains(f.Data, []byte(token)) {
				out = append(out, f)
			}
		}
		more := d.kept
		d.mu.Unlock()
		if len(out) >= count {
			return out
		}
		select {
		case <-more:
		case <-timeout:
			return out
		}
	}
}
