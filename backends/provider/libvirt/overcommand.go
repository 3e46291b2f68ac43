package libvirt

import (
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// commandConn is a connection over the standard streams of a command.
type commandConn struct {
	io.ReadCloser  // its output
	io.WriteCloser // its input
	cmd            *exec.Cmd
}

func overCommand(name string, args ...string) (net.Conn, error) {
	cmd := exec.Command(name, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &commandConn{out, in, cmd}, nil
}

func (c *commandConn) Close() error {
	_ = c.WriteCloser.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	return nil
}

func (c *commandConn) LocalAddr() net.Addr              { return nowhere{} }
func (c *commandConn) RemoteAddr() net.Addr             { return nowhere{} }
func (c *commandConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *commandConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *commandConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type nowhere struct{}

func (nowhere) Network() string { return "pipe" }
func (nowhere) String() string  { return "pipe" }
