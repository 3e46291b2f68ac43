package libvirt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"archetype/backends"
	"archetype/backends/provider/serialline"
	"archetype/backends/reach"
)

// sshPatience is how long a device may take to let us in.
const sshPatience = 30 * time.Second

// dialSSH logs in to a device.
func (p *Provider) dialSSH(ctx context.Context, ref backends.NodeRef, k *kept) (*ssh.Client, error) {
	inner := k.VM.Exec.Port
	if inner == 0 {
		inner = reach.SSHPort
	}
	port, err := p.wayTo(ctx, ref, inner)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sshPatience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return reach.Login(ctx, c, k.Facts.Username, k.Facts.Password)
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
	err = s.Run(serialline.CommandLine(req, k.VM.Exec.Quote))
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
