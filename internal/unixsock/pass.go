package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Pair makes a connection with both ends in this process. It keeps messages
// apart where seq is set.
func Pair(seq bool) (a, b *os.File, err error) {
	sort := unix.SOCK_STREAM
	if seq {
		sort = unix.SOCK_SEQPACKET
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, sort|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// Conn is the connection of a file that is a socket; the file is closed.
func Conn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("a socket of %s where a unix socket is expected", c.LocalAddr().Network())
	}
	return u, nil
}

// Send writes one message and passes a file along.
func Send(c *net.UnixConn, message []byte, f *os.File) error {
	_, _, err := c.WriteMsgUnix(message, unix.UnixRights(int(f.Fd())), nil)
	return err
}

// Receive reads one message, at most as long as buf, and the file that was
// passed along, which is nil where there was none.
func Receive(c *net.UnixConn, buf []byte) (n int, f *os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return n, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return n, nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			if f != nil { // nobody sends more than one
				_ = unix.Close(fd)
				continue
			}
			f = os.NewFile(uintptr(fd), "passed")
		}
	}
	if f == nil && n == 0 {
		return 0, nil, errors.New("the other side has hung up")
	}
	return n, f, nil
}
