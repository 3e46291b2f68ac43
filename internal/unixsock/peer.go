package unixsock

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of a socket, by the kernel's word.
type Peer struct {
	PID    int
	UID    uint32
	Groups []uint32 // of its own and supplementary ones
}

// PeerOf asks the kernel who connected.
func PeerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var p Peer
	cerr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p = Peer{PID: int(cred.Pid), UID: cred.Uid, Groups: []uint32{cred.Gid}}
		var more []uint32
		if more, err = peerGroups(fd); err == nil {
			p.Groups = append(p.Groups, more...)
		}
	})
	if cerr != nil {
		return Peer{}, cerr
	}
	return p, err
}

// peerGroups are the supplementary groups of who connected. A kernel that
// does not tell them (before 4.13) tells none.
func peerGroups(fd uintptr) ([]uint32, error) {
	for n := 32; ; {
		groups := make([]uint32, n)
		size := uint32(4 * n)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE: // size is what it takes
			n = int(size / 4)
		case unix.ENOPROTOOPT, unix.ENODATA:
			return nil, nil
		default:
			return nil, errno
		}
	}
}
