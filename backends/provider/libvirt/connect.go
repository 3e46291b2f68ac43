package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"archetype/backends"
	"archetype/backends/provider/endpoint"
)

const (
	usualSocket = "/run/libvirt/libvirt-sock"
	modular     = "/run/libvirt/virtqemud-sock" // of the daemon for QEMU alone
	patience    = 5 * time.Second               // for an answer to a question that is no work
)

// connection is one to libvirt, made when it is needed and again when it was
// lost.
type connection struct {
	uri, socket string

	mu     sync.Mutex
	lv     *golibvirt.Libvirt
	lost   <-chan struct{}
	closed bool

	proven *golibvirt.Libvirt // the session of which it is known that it is here

	over atomic.Pointer[commandConn] // what was dialled last, where libvirt is not asked directly

	carriers sync.Mutex // held while what nodes see of their taps is changed
}

// socketPath is where libvirt listens on this machine.
func (c *connection) socketPath() string {
	if c.socket != "" {
		return c.socket
	}
	if u, err := url.Parse(c.uri); err == nil && u.Query().Get("socket") != "" {
		return u.Query().Get("socket")
	}
	if _, err := os.Stat(usualSocket); err != nil {
		if _, err := os.Stat(modular); err == nil {
			return modular
		}
	}
	return usualSocket
}

func (c *connection) where() string {
	if c.host() != nil {
		return c.uri
	}
	return c.socketPath()
}

var service = endpoint.Service{
	Name:    "libvirt",
	Install: "install libvirt with QEMU and start it (systemctl start libvirtd), or name it with libvirt.uri in the settings",
	Permit:  "run the program as root",
}

// present looks whether libvirt is there at all, which costs nothing.
func (c *connection) present() *backends.Availability {
	if c.host() != nil {
		if _, err := exec.LookPath("ssh"); err != nil {
			return &backends.Availability{Reason: "there is no ssh for " + c.uri, Fix: "install an SSH client"}
		}
		return nil
	}
	return service.Look(c.socketPath())
}

// Dial implements go-libvirt's dialer.
func (c *connection) Dial() (net.Conn, error) {
	u := c.host()
	if u == nil {
		return net.DialTimeout("unix", c.socketPath(), patience)
	}
	q := u.Query()
	// Its shell reads the command.
	ask := either(q.Get("netcat"), "nc") + " -U " + quoted(either(q.Get("socket"), usualSocket))
	conn, err := overCommand("ssh", sshTo(u, ask)...)
	if err != nil {
		return nil, err
	}
	c.over.Store(conn)
	return conn, nil
}

// session is the connection as it is now, made if need be.
func (c *connection) session() (*golibvirt.Libvirt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the provider is closed")
	}
	if c.lv != nil {
		select {
		case <-c.lost:
			c.lv = nil
		default:
			return c.lv, nil
		}
	}
	name := golibvirt.QEMUSystem
	if u, err := url.Parse(c.uri); err == nil && u.Path == "/session" {
		name = golibvirt.QEMUSession
	}
	lv := golibvirt.NewWithDialer(c)
	done := make(chan error, 1)
	go func() { done <- lv.ConnectToURI(name) }()
	select {
	case err := <-done:
		if err != nil {
			if over := c.over.Load(); over != nil {
				err = over.explain(err)
			}
			return nil, fmt.Errorf("libvirt at %s: %w", c.where(), err)
		}
	case <-time.After(3 * patience):
		return nil, fmt.Errorf("libvirt at %s does not answer", c.where())
	}
	c.lv, c.lost = lv, lv.Disconnected()
	return lv, nil
}

// do makes a call on the connection and returns when it or ctx ends. A call
// that found the connection lost is made once more.
func (c *connection) do(ctx context.Context, f func(*golibvirt.Libvirt) error) error {
	for again := range 2 {
		lv, err := c.session()
		if err != nil {
			return err
		}
		lost := lv.Disconnected()
		done := make(chan error, 1)
		go func() { done <- f(lv) }()
		select {
		case err = <-done:
		case <-lost:
			err = errLost
			select {
			case err = <-done: // it may have ended for that reason, or just before
			case <-time.After(patience):
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		select {
		case <-lost:
			if again == 0 {
				continue
			}
		default:
		}
		return err
	}
	return errLost
}

var errLost = errors.New("the connection to libvirt was lost")

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.lv != nil {
		_ = c.lv.Disconnect()
		c.lv = nil
	}
}

func (c *connection) version(ctx context.Context) (string, error) {
	// The way there has time of its own: one over SSH may take longer than any answer.
	if _, err := c.session(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v string
	err := c.do(ctx, func(lv *golibvirt.Libvirt) (err error) {
		n, err := lv.ConnectGetLibVersion()
		v = fmt.Sprintf("%d.%d.%d", n/1000000, n/1000%1000, n%1000)
		return err
	})
	return v, err
}

// explain makes of libvirt's errors such as the engine can act on.
func explain(err error) error {
	var e golibvirt.Error
	if !errors.As(err, &e) {
		return err
	}
	switch golibvirt.ErrorNumber(e.Code) {
	case golibvirt.ErrNoDomain:
		return fmt.Errorf("%s (%w)", e.Message, backends.ErrNotFound)
	case golibvirt.ErrDomExist:
		return fmt.Errorf("%s (%w)", e.Message, backends.ErrConflict)
	}
	return err
}

func isCode(err error, code golibvirt.ErrorNumber) bool {
	var e golibvirt.Error
	return errors.As(err, &e) && golibvirt.ErrorNumber(e.Code) == code
}
