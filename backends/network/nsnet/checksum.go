package nsnet

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Checksums makes the kernel put them into what leaves through an interface,
// instead of leaving that to a device: a switch in user space hands frames on
// as it finds them.
func (n *NS) Checksums(name string) error {
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
		req := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(req.name[:unix.IFNAMSIZ-1], name)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		if errno != 0 && !errors.Is(errno, unix.EOPNOTSUPP) {
			return errno
		}
		return nil
	})
}
