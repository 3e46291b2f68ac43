package dockerapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// maxOutput bounds what of a command's output is collected, in bytes.
const maxOutput = 16 << 20

// running finds the node's container and checks that it runs.
func (p *Provider) running(ctx context.Context, ref backends.NodeRef) (*client.Client, *client.ContainerInspectResult, error) {
	cli, id, err := p.container(ctx, p.node(ref))
	if err != nil {
		return nil, nil, p.fail("node "+ref.Node, err)
	}
	res, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, nil, p.fail("node "+ref.Node, err)
	}
	if st := res.Container.State; st == nil || !st.Running {
		return nil, nil, fmt.Errorf("node %s does not run: %w", ref.Node, backends.ErrNotFound)
	}
	return cli, &res, nil
}

// Exec runs a command in the node. When ctx ends its output is cut off; the
// engine has no way to end the command itself.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	if len(req.Command) == 0 {
		return res, errors.New("no command given")
	}
	cli, id, err := p.container(ctx, p.node(ref))
	if err != nil {
		return res, p.fail("node "+ref.Node, err)
	}
	created, err := cli.ExecCreate(ctx, id, client.ExecCreateOptions{User: req.User, Env: req.Env, WorkingDir: req.Dir,
		Cmd: req.Command, AttachStdin: req.Stdin != nil, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return res, p.fail("node "+ref.Node, err)
	}
	conn, err := cli.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return res, p.fail("node "+ref.Node, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Conn.Close() })()
	if req.Stdin != nil {
		go func() {
			if _, err := io.Copy(conn.Conn, req.Stdin); err == nil {
				_ = conn.CloseWrite()
			}
		}()
	}
	var out, errOut limited
	stdout, stderr := req.Stdout, req.Stderr
	if stdout == nil {
		stdout = &out
	}
	if stderr == nil {
		stderr = &errOut
	}
	_, err = stdcopy.StdCopy(stdout, stderr, conn.Reader)
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if err != nil {
		return res, fmt.Errorf("node %s: %w", ref.Node, err)
	}
	done, err := cli.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return res, p.fail("node "+ref.Node, err)
	}
	if done.Running { // its output is closed, it is not over yet
		return res, fmt.Errorf("node %s: the command closed its output and goes on", ref.Node)
	}
	res.Code, res.Stdout, res.Stderr = done.ExitCode, out.Bytes(), errOut.Bytes()
	return res, nil
}

type limited struct{ bytes.Buffer }

func (b *limited) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
