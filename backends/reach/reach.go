// Package reach tries whether a device serves a port, or lets somebody in over
// SSH, at an address of its own.
package reach

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"archetype/backends"
)

// SSHPort is where SSH is served unless somebody says otherwise.
const SSHPort = 22

// Try tries the port at an address; see backends.Prober.
func Try(ctx context.Context, address string, p backends.Probe) error {
	if p.SSH && p.Port == 0 {
		p.Port = SSHPort
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(p.Port)))
	if err != nil {
		return err
	}
	if !p.SSH {
		return c.Close()
	}
	if p.Username == "" {
		return greets(ctx, c)
	}
	cli, err := Login(ctx, c, p.Username, p.Password)
	if err != nil {
		return err
	}
	return cli.Close()
}

// bound has a connection end with ctx until the function is called.
func bound(ctx context.Context, c net.Conn) func() bool {
	if over, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(over)
	}
	return context.AfterFunc(ctx, func() { _ = c.Close() })
}

// greets reports whether what is at the other end is an SSH server.
func greets(ctx context.Context, c net.Conn) error {
	defer bound(ctx, c)()
	defer func() { _ = c.Close() }()
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("no SSH server greets: %w", err)
	}
	if string(b) != "SSH-" {
		return fmt.Errorf("what answers is no SSH server (%w)", backends.ErrUnavailable)
	}
	return nil
}

// Login logs in over a connection, which is closed where that fails.
func Login(ctx context.Context, c net.Conn, user, password string) (*ssh.Client, error) {
	defer bound(ctx, c)()
	cfg := &ssh.ClientConfig{User: user,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // a new device has a new key
		Auth: []ssh.AuthMethod{ssh.Password(password), ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = password
			}
			return answers, nil
		})}}
	conn, chans, reqs, err := ssh.NewClientConn(c, c.RemoteAddr().String(), cfg)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("its SSH does not let us in: %w", err)
	}
	_ = c.SetDeadline(time.Time{})
	return ssh.NewClient(conn, chans, reqs), nil
}
