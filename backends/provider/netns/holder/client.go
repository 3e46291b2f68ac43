package holder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/internal/unixsock"
)

// Client talks to a holder. It can be used from any goroutine.
type Client struct {
	cfg  Config
	info Info
	idle chan *line // connections that wait for the next question
}

// line is a connection to the holder.
type line struct {
	*net.UnixConn
	r *bufio.Reader
}

// maxIdle is how many connections are kept open for later.
const maxIdle = 8

// Connect finds a running holder; an error that wraps backends.ErrNotFound
// means that none runs.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, idle: make(chan *line, maxIdle)}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.Protocol != protocol {
		return nil, fmt.Errorf("nodes are held by another version of the program (process %d): destroy their labs with that one first", info.PID)
	}
	c.info = *info
	return c, nil
}

// Close gives up the connections; the client opens others when it is used.
func (c *Client) Close() {
	for {
		select {
		case l := <-c.idle:
			_ = l.Close()
		default:
			return
		}
	}
}

// Panel is the path of the namespace for what belongs to no node: bridges
// and the machine's ends of links.
func (c *Client) Panel() string { return c.info.Panel }

// PID is that of the holder.
func (c *Client) PID() int { return c.info.PID }

// Info asks the holder what it holds.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	r, err := c.call(ctx, request{Op: "info"})
	if err != nil {
		return nil, err
	}
	if r.Info == nil {
		return nil, errors.New("the holder's answer is not understood")
	}
	return r.Info, nil
}

// Create makes a node, or gives it another configuration for its next start.
func (c *Client) Create(ctx context.Context, n Node) (Status, error) {
	return c.one(ctx, request{Op: "create", Node: &n, Ref: n.Ref})
}

// Start starts a node's init, unless it runs, and tells how it is then.
func (c *Client) Start(ctx context.Context, ref backends.NodeRef) (Status, error) {
	return c.one(ctx, request{Op: "start", Ref: ref})
}

// Stop ends a node's init, by force after grace.
func (c *Client) Stop(ctx context.Context, ref backends.NodeRef, grace time.Duration) error {
	_, err := c.call(ctx, request{Op: "stop", Ref: ref, Grace: grace})
	return err
}

// Remove ends a node and removes its namespace and folder, the latter also of
// one that is not held.
func (c *Client) Remove(ctx context.Context, ref backends.NodeRef, folder string) error {
	_, err := c.call(ctx, request{Op: "remove", Ref: ref, Node: &Node{Ref: ref, Folder: folder}})
	return err
}

// List returns the nodes of a lab, or of all with "".
func (c *Client) List(ctx context.Context, lab string) ([]Status, error) {
	r, err := c.call(ctx, request{Op: "list", Ref: backends.NodeRef{Lab: lab}})
	if err != nil {
		return nil, err
	}
	return r.Nodes, nil
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, ref backends.NodeRef) (Status, error) {
	return c.one(ctx, request{Op: "list", Ref: ref})
}

// one asks for something that is answered with one node.
func (c *Client) one(ctx context.Context, req request) (Status, error) {
	r, err := c.call(ctx, req)
	if err != nil {
		return Status{}, err
	}
	if len(r.Nodes) != 1 {
		return Status{}, fmt.Errorf("node %s: %w", req.Ref, backends.ErrNotFound)
	}
	return r.Nodes[0], nil
}

// Events reports every start, end and removal from now on. The channel is
// closed when ctx ends or the holder is lost.
func (c *Client) Events(ctx context.Context) (<-chan Status, error) {
	conn, err := c.open(ctx, request{Op: "events"})
	if err != nil {
		return nil, err
	}
	if _, err := conn.receive(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	out := make(chan Status)
	go func() {
		defer close(out)
		defer func() { stop(); _ = conn.Close() }()
		for {
			resp, err := conn.receive()
			if err != nil {
				return
			}
			for _, st := range resp.Nodes {
				select {
				case out <- st:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// StartEngine starts the engine as a child of the holder, unless one runs.
func (c *Client) StartEngine(ctx context.Context, argv, env []string, log string) (pid int, started bool, err error) {
	r, err := c.call(ctx, request{Op: "engine", Argv: argv, Env: env, Log: log})
	if err != nil {
		return 0, false, err
	}
	return r.PID, r.Started, nil
}

// Wait returns once the holder has ended, or ctx.
func (c *Client) Wait(ctx context.Context) error {
	events, err := c.Events(ctx)
	if err != nil {
		return nil //nolint:nilerr // nobody there: it has ended
	}
	for range events { // only the end matters
	}
	return ctx.Err()
}

func (c *Client) open(ctx context.Context, req request) (*line, error) {
	conn, err := unixsock.Dial(ctx, c.cfg.socket())
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no holder runs: %w", backends.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	l := &line{conn, bufio.NewReader(conn)}
	if err := l.send(req); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func (l *line) send(req request) error {
	b, err := json.Marshal(req)
	if err == nil {
		_, err = l.Write(append(b, '\n'))
	}
	return err
}

func (c *Client) call(ctx context.Context, req request) (*response, error) {
	for {
		var l *line
		select {
		case l = <-c.idle:
		default:
		}
		kept := l != nil
		var err error
		if kept {
			err = l.send(req)
		} else {
			l, err = c.open(ctx, req)
		}
		var resp *response
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = l.Close() })
			resp, err = l.receive()
			if stop() && resp != nil {
				c.keep(l)
			} else {
				_ = l.Close()
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case kept && resp == nil && lost(err):
			continue // the holder closed it, or is another one by now: every request can be made twice
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the holder has ended: %w", backends.ErrNotFound)
		}
		return resp, err
	}
}

func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

func (c *Client) keep(l *line) {
	select {
	case c.idle <- l:
	default:
		_ = l.Close()
	}
}

// Dial connects to a node's init. The error of a node that does not run wraps
// backends.ErrNotFound.
func (c *Client) Dial(ctx context.Context, ref backends.NodeRef) (net.Conn, error) {
	l, err := c.open(ctx, request{Op: "dial", Ref: ref})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	buf := make([]byte, 1<<12) // more than an error's text has
	n, f, err := unixsock.Receive(l.UnixConn, buf)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("the holder has ended: %w: %w", backends.ErrNotFound, err)
	case f != nil:
		return unixsock.Conn(f)
	}
	if _, err := answer(buf[:n]); err != nil {
		return nil, err
	}
	return nil, errors.New("the holder's answer is not understood")
}

// receive returns a response also with an error that the response is about.
func (l *line) receive() (*response, error) {
	text, err := l.r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return answer(text)
}

func answer(text []byte) (*response, error) {
	var resp response
	if err := json.Unmarshal(text, &resp); err != nil {
		return nil, fmt.Errorf("the holder's answer is not understood: %w", err)
	}
	switch {
	case resp.Missing:
		return &resp, &missing{resp.Error}
	case resp.Error != "":
		return &resp, errors.New(resp.Error)
	}
	return &resp, nil
}

// missing is an error of the holder's that says that a node does not exist.
type missing struct{ text string }

func (m *missing) Error() string { return m.text }
func (m *missing) Unwrap() error { return backends.ErrNotFound }
