package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// defaultPath is where programs are looked for when the image does not say.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Console opens the kind's shell on a terminal of its own, or joins the
// terminal of the node's init. It ends with ctx.
func (p *Provider) Console(ctx context.Context, ref backends.NodeRef, size backends.Size) (backends.Console, error) {
	n := p.node(ref)
	k := n.known()
	cli, at, err := p.running(ctx, ref)
	if err != nil {
		return nil, err
	}
	c := &console{ctx: ctx, cli: cli}
	if k.Console.Method == "attach" {
		c.id = at.Container.ID
		res, err := cli.ContainerAttach(ctx, c.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
		if err != nil {
			return nil, p.fail("node "+ref.Node, err)
		}
		c.conn = res.HijackedResponse
	} else {
		shell, err := p.find(ctx, cli, at, k.shells())
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", ref.Node, err)
		}
		env := []string{"TERM=xterm-256color"}
		created, err := cli.ExecCreate(ctx, at.Container.ID, client.ExecCreateOptions{User: k.Console.User, TTY: true, Env: env,
			AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: shell})
		if err != nil {
			return nil, p.fail("node "+ref.Node, err)
		}
		res, err := cli.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: true})
		if err != nil {
			return nil, p.fail("node "+ref.Node, err)
		}
		c.conn, c.id, c.exec = res.HijackedResponse, created.ID, true
	}
	if size.Cols > 0 && size.Rows > 0 {
		if err := c.Resize(size); err != nil {
			_ = c.Close()
			return nil, p.fail("node "+ref.Node, err)
		}
	}
	c.stop = context.AfterFunc(ctx, func() { _ = c.conn.Conn.Close() })
	return c, nil
}

// shells are the programs to try, best first.
func (k kept) shells() []string {
	if len(k.Console.Shell) > 0 {
		return k.Console.Shell
	}
	return []string{"bash", "sh"}
}

// find returns the first of the command lines whose program the container has.
func (p *Provider) find(ctx context.Context, cli *client.Client, at *client.ContainerInspectResult, lines []string) ([]string, error) {
	search := defaultPath
	for _, e := range at.Container.Config.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	root, rerr := unix.Open(fmt.Sprintf("/proc/%d/root", at.Container.State.Pid), unix.O_PATH|unix.O_CLOEXEC, 0)
	if rerr == nil {
		defer func() { _ = unix.Close(root) }()
	}
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		dirs := strings.Split(search, ":")
		if strings.HasPrefix(words[0], "/") {
			dirs = []string{path.Dir(words[0])}
		}
		for _, dir := range dirs {
			file := path.Join("/", dir, path.Base(words[0]))
			found := append([]string{file}, words[1:]...)
			if rerr == nil { // without asking the engine
				if there(root, file) {
					return found, nil
				}
				continue
			}
			_, err := cli.ContainerStatPath(ctx, at.Container.ID, client.ContainerStatPathOptions{Path: file})
			if err == nil {
				return found, nil
			}
			if !cerrdefs.IsNotFound(err) {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("its image has no console: none of %s is in it (%w)", strings.Join(lines, ", "), backends.ErrUnsupported)
}

// there reports whether a path exists below a root that its links cannot
// lead out of.
func there(root int, file string) bool {
	fd, err := unix.Openat2(root, strings.TrimPrefix(file, "/"), &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// console is a terminal at the engine's side.
type console struct {
	ctx  context.Context
	cli  *client.Client
	conn client.HijackedResponse
	id   string
	exec bool
	stop func() bool
	once sync.Once
}

func (c *console) Read(b []byte) (int, error) {
	n, err := c.conn.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = io.EOF // hung up, by whoever
	}
	return n, err
}

func (c *console) Write(b []byte) (int, error) { return c.conn.Conn.Write(b) }

func (c *console) Resize(s backends.Size) error {
	opt := client.ContainerResizeOptions{Height: uint(max(1, s.Rows)), Width: uint(max(1, s.Cols))}
	var err error
	if c.exec {
		_, err = c.cli.ExecResize(c.ctx, c.id, client.ExecResizeOptions(opt))
	} else {
		_, err = c.cli.ContainerResize(c.ctx, c.id, opt)
	}
	return err
}

// Close hangs up. A shell is told so by the key that ends it, as an engine
// leaves it running otherwise.
func (c *console) Close() error {
	c.once.Do(func() {
		if c.stop != nil {
			c.stop()
		}
		_ = c.conn.Conn.Close()
	})
	return nil
}
