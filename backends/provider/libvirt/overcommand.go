package libvirt

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// commandConn is a connection over the standard streams of a command.
type commandConn struct {
	io.ReadCloser  // its output
	io.WriteCloser // its input
	cmd            *exec.Cmd
	said           strings.Builder // on its standard error
	over           chan struct{}   // closed when it has said all
	once           sync.Once
}

func overCommand(name string, args ...string) (*commandConn, error) {
	c := &commandConn{cmd: exec.Command(name, args...), over: make(chan struct{})}
	var err error
	if c.WriteCloser, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.ReadCloser, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	said, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.over)
		const most = 4096
		_, _ = io.Copy(&c.said, io.LimitReader(said, most))
		_, _ = io.Copy(io.Discard, said) // or it would stand still
	}()
	return c, nil
}

// explain adds what the command has said to an error of a connection that did
// not come about. The command is over then, or about to be.
func (c *commandConn) explain(err error) error {
	select {
	case <-c.over:
	case <-time.After(patience):
	}
	_ = c.Close()
	<-c.over
	if text := strings.Join(strings.Fields(c.said.String()), " "); text != "" {
		return fmt.Errorf("%s (%w)", text, err)
	}
	return err
}

func (c *commandConn) Close() error {
	c.once.Do(func() {
		_ = c.WriteCloser.Close()
		_ = c.cmd.Process.Kill()
		select { // waiting closes what its last words are read from
		case <-c.over:
		case <-time.After(time.Second): // others have it open still
		}
		_ = c.cmd.Wait()
	})
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
