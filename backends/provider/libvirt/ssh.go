package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"archetype/backends"
)

// sshPatience is how long a device may take to let us in.
const sshPatience = 30 * time.Second

// dialSSH logs in to a device.
func (p *Provider) dialSSH(ctx context.Context, ref backends.NodeRef, k *kept) (*ssh.Client, error) {
	if k.SSH == 0 {
		return nil, fmt.Errorf("node %s: there is no way to its SSH: stop and start it (%w)", ref.Node, backends.ErrUnavailable)
	}
	cred := k.VM.Credentials
	cfg := &ssh.ClientConfig{User: cred.Username, Timeout: sshPatience,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // the way leads through the emulator, and a new device has a new key
		Auth: []ssh.AuthMethod{ssh.Password(cred.Password), ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = cred.Password
			}
			return answers, nil
		})}}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(k.SSH))
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(sshPatience))
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	conn, chans, reqs, err := ssh.NewClientConn(c, addr, cfg)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("its SSH does not let us in: %w", err)
	}
	_ = c.SetDeadline(time.Time{})
	return ssh.NewClient(conn, chans, reqs), nil
}

func (p *Provider) overSSH(ctx context.Context, ref backends.NodeRef, k *kept, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	cli, err := p.dialSSH(ctx, ref, k)
	if err != nil {
		return res, fail(ref, err)
	}
	defer func() { _ = cli.Close() }()
	s, err := cli.NewSession()
	if err != nil {
		return res, fail(ref, err)
	}
	defer context.AfterFunc(ctx, func() { _ = cli.Close() })()
	var out, errOut bounded
	s.Stdout, s.Stderr = writerOr(req.Stdout, &out), writerOr(req.Stderr, &errOut)
	if req.Stdin != nil {
		in, err := s.StdinPipe()
		if err != nil {
			return res, fail(ref, err)
		}
		go func() { // not waited for: a command may end before its input does
			_, _ = io.Copy(in, req.Stdin)
			_ = in.Close()
		}()
	}
	err = s.Run(commandLine(req, k.VM.Exec.Quote))
	res.Stdout, res.Stderr = out.Bytes(), errOut.Bytes()
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case errors.As(err, &exit):
		res.Code = exit.ExitStatus()
		return res, nil
	}
	return res, fail(ref, err)
}

func writerOr(w, other io.Writer) io.Writer {
	if w != nil {
		return w
	}
	return other
}

// maxOutput bounds what is collected of a command's output.
const maxOutput = 16 << 20

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// commandLine is a command in one line: its words, quoted as a shell wants
// them where there is one.
func commandLine(req backends.ExecRequest, quote bool) string {
	words := make([]string, 0, len(req.Command)+len(req.Env))
	if !quote {
		return strings.Join(req.Command, " ")
	}
	for _, e := range req.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+shellWord(value))
	}
	for _, w := range req.Command {
		words = append(words, shellWord(w))
	}
	text := strings.Join(words, " ")
	if req.Dir != "" {
		text = "cd " + shellWord(req.Dir) + " && " + text
	}
	return text
}

func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if w != "" && strings.TrimFunc(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
