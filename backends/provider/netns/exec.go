package netns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"archetype/backends"
	"archetype/backends/provider/netns/nodeinit"
)

// maxOutput bounds what of a command's output is collected, in bytes.
const maxOutput = 16 << 20

func (p *Provider) dial(ctx context.Context, ref backends.NodeRef, req nodeinit.Request) (net.Conn, error) {
	c, err := p.cfg.Holder.Dial(ctx, ref)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(req)
	if err == nil {
		_, err = c.Write(append(b, '\n'))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Exec runs a command in the node; when ctx ends, so does the command.
func (p *Provider) Exec(ctx context.Context, ref backends.NodeRef, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	if len(req.Command) == 0 {
		return res, errors.New("no command given")
	}
	c, err := p.dial(ctx, ref, nodeinit.Request{Command: req.Command, Env: req.Env, Dir: req.Dir, User: req.User, Stdin: req.Stdin != nil})
	if err != nil {
		return res, err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if req.Stdin != nil {
		go func() {
			w := nodeinit.NewFrameWriter(c)
			if _, err := io.Copy(w.Stream(nodeinit.FrameStdin), req.Stdin); err == nil {
				_ = w.Frame(nodeinit.FrameStdin, nil)
			}
		}()
	}
	var out, errOut bounded
	stdout, stderr := req.Stdout, req.Stderr
	if stdout == nil {
		stdout = &out
	}
	if stderr == nil {
		stderr = &errOut
	}
	r := bufio.NewReader(c)
	for {
		sort, data, err := nodeinit.ReadFrame(r)
		if err != nil {
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			return res, fmt.Errorf("node %s ended while the command ran", ref.Node)
		}
		switch sort {
		case nodeinit.FrameStdout:
			_, err = stdout.Write(data)
		case nodeinit.FrameStderr:
			_, err = stderr.Write(data)
		case nodeinit.FrameError:
			return res, fmt.Errorf("node %s: %s", ref.Node, data)
		case nodeinit.FrameExit:
			res.Code, err = strconv.Atoi(string(data))
			res.Stdout, res.Stderr = out.Bytes(), errOut.Bytes()
			return res, err
		}
		if err != nil {
			return res, err
		}
	}
}

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Console opens the kind's shell on a terminal of its own. It ends with ctx.
func (p *Provider) Console(ctx context.Context, ref backends.NodeRef, size backends.Size) (backends.Console, error) {
	c, err := p.dial(ctx, ref, nodeinit.Request{TTY: true, Size: nodeinit.Size(size)})
	if err != nil {
		return nil, err
	}
	con := &console{c: c, w: nodeinit.NewFrameWriter(c), r: bufio.NewReader(c)}
	con.stop = context.AfterFunc(ctx, func() { _ = c.Close() })
	return con, nil
}

type console struct {
	c    net.Conn
	w    *nodeinit.FrameWriter
	mu   sync.Mutex // of reading
	r    *bufio.Reader
	rest []byte
	stop func() bool
}

func (c *console) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.rest) == 0 {
		sort, data, err := nodeinit.ReadFrame(c.r)
		if err != nil {
			return 0, io.EOF // the node ended
		}
		switch sort {
		case nodeinit.FrameStdout:
			c.rest = data
		case nodeinit.FrameError:
			return 0, errors.New(string(data))
		case nodeinit.FrameExit:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *console) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.w.Frame(nodeinit.FrameStdin, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *console) Resize(s backends.Size) error {
	return c.w.JSON(nodeinit.FrameResize, nodeinit.Size(s))
}

func (c *console) Close() error {
	c.stop()
	return c.c.Close()
}
