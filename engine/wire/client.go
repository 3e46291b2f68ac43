package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/unixsock"
)

// Client is the engine at the other end of a socket.
type Client struct {
	path     string
	http     *http.Client
	presence net.Conn // tells the engine that somebody is there
	hello    hello
	done     chan struct{}
	dropped  chan error // why the engine has cut a stream
}

var (
	_ api.Engine    = (*Client)(nil)
	_ api.Caretaker = (*Client)(nil)
)

// Dial connects to the engine's socket. It fails with the error of the dial
// when nobody serves there.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{path: path, done: make(chan struct{}), dropped: make(chan error, 16)}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return unixsock.Dial(ctx, path) },
		DisableCompression: true,
	}}
	// The connection lasts longer than ctx, which bounds the dial only.
	dial, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	conn, r, err := c.stream(dial, pathPresence, nodeRequest{})
	if err != nil {
		return nil, err
	}
	sort, data, err := readFrame(r)
	if err == nil && (sort != frameHello || json.Unmarshal(data, &c.hello) != nil) {
		err = errors.New("its greeting is not understood")
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, lost(err)
	}
	c.presence = conn
	go func() {
		defer close(c.done)
		defer cancel()
		for {
			sort, data, err := readFrame(r)
			if err != nil {
				return
			}
			if sort == frameFailed {
				select {
				case c.dropped <- failed(data):
				default: // as many wait to be told already
				}
			}
		}
	}()
	return c, nil
}

// cut is why a stream ended in its middle: the engine says so, or is gone.
func (c *Client) cut(err error) error {
	select {
	case why := <-c.dropped:
		return why
	case <-c.done:
	case <-time.After(time.Second):
	}
	return lost(err)
}

// Done is closed when the engine has ended or Close was called.
func (c *Client) Done() <-chan struct{} { return c.done }

// Version is that of the engine.
func (c *Client) Version() string { return c.hello.Version }

// PID is the engine's process.
func (c *Client) PID() int { return c.hello.PID }

// Close hangs up.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.presence.Close()
}

// unreachable is an api.Error that keeps why the dial failed.
type unreachable struct {
	error
	cause error
}

func (u *unreachable) Unwrap() []error { return []error{u.error, u.cause} }

func lost(err error) error {
	return &api.Error{Code: api.CodeLost, Message: "the engine has ended or cannot be reached: " + err.Error(), Hint: "the labs go on running; try again"}
}

func (c *Client) request(ctx context.Context, path string, req any) (*http.Response, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine"+path, bytes.NewReader(b))
	if err == nil {
		r.Header.Set(headerOwner, ownName())
	}
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, lost(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, readError(resp)
	}
	return resp, nil
}

func readError(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20)) // every error of a large file
	var e api.Error
	if err == nil && json.Unmarshal(b, &e) == nil && e.Message != "" {
		return &e
	}
	return api.Errorf(api.CodeVersion, "the engine does not understand: %s", resp.Status)
}

func (c *Client) call(ctx context.Context, path string, req, out any) error {
	resp, err := c.request(ctx, path, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	err = json.NewDecoder(resp.Body).Decode(out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return lost(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return nil
}

func ask[T any](ctx context.Context, c *Client, path string, req any) (T, error) {
	var out T
	err := c.call(ctx, path, req, &out)
	return out, err
}

// Snapshot implements api.Engine, as all below do.
func (c *Client) Snapshot(ctx context.Context) (*api.Snapshot, error) {
	return ask[*api.Snapshot](ctx, c, pathSnapshot, nil)
}

func (c *Client) Plan(ctx context.Context, req api.DeployRequest) (*api.Plan, error) {
	return ask[*api.Plan](ctx, c, pathPlan, req)
}

func (c *Client) Deploy(ctx context.Context, req api.DeployRequest) (*api.Deployed, error) {
	return ask[*api.Deployed](ctx, c, pathDeploy, req)
}

func (c *Client) Destroy(ctx context.Context, name string) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathDestroy, nameRequest{name})
}

func (c *Client) SetNodes(ctx context.Context, req api.NodesRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathNodes, req)
}

func (c *Client) SetLink(ctx context.Context, req api.LinkRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathLink, req)
}

func (c *Client) Edit(ctx context.Context, req api.EditRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathEdit, req)
}

func (c *Client) Images(ctx context.Context, req api.ImagesRequest) ([]api.Image, error) {
	return ask[[]api.Image](ctx, c, pathImages, req)
}

// Backup implements api.Caretaker.
func (c *Client) Backup(ctx context.Context, req api.BackupRequest) (*api.Backup, error) {
	return ask[*api.Backup](ctx, c, pathBackup, req)
}

// Strays implements api.Caretaker.
func (c *Client) Strays(ctx context.Context, req api.StraysRequest) (*api.Strays, error) {
	return ask[*api.Strays](ctx, c, pathStrays, req)
}

// Config implements api.Caretaker.
func (c *Client) Config(ctx context.Context, req api.ConfigRequest) (*api.Config, error) {
	return ask[*api.Config](ctx, c, pathConfig, req)
}

func (c *Client) Impair(ctx context.Context, req api.ImpairRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathImpair, req)
}

func (c *Client) SetNetwork(ctx context.Context, req api.NetworkRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathNetwork, req)
}

func (c *Client) CancelJob(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, pathCancel, nameRequest{id})
	return err
}

func (c *Client) SetPolicy(ctx context.Context, req api.PolicyRequest) error {
	_, err := ask[struct{}](ctx, c, pathPolicy, req)
	return err
}

func (c *Client) SetDrift(ctx context.Context, req api.DriftRequest) (*api.Job, error) {
	return ask[*api.Job](ctx, c, pathDrift, req)
}

func (c *Client) Stats(ctx context.Context, name string) ([]api.NodeStats, error) {
	return ask[[]api.NodeStats](ctx, c, pathStats, nameRequest{name})
}

func (c *Client) Backends(ctx context.Context) ([]api.BackendInfo, error) {
	return ask[[]api.BackendInfo](ctx, c, pathBackends, nil)
}

func (c *Client) Watch(ctx context.Context) (<-chan *api.Update, error) {
	ctx, cancel := c.within(ctx)
	resp, err := c.request(ctx, pathWatch, nil) //nolint:bodyclose // closed when the watch ends
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan *api.Update)
	go func() {
		defer close(out)
		defer cancel()
		defer func() { _ = resp.Body.Close() }()
		dec := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
		for {
			u := &api.Update{}
			if dec.Decode(u) != nil {
				return
			}
			select {
			case out <- u:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (c *Client) Logs(ctx context.Context, lab, node string, opt backends.LogOptions) (io.ReadCloser, error) {
	return c.bytes(ctx, pathLogs, nodeRequest{Lab: lab, Node: node, Log: opt})
}

// Traffic implements api.Engine.
func (c *Client) Traffic(ctx context.Context, req api.TrafficRequest) ([]api.Traffic, error) {
	return ask[[]api.Traffic](ctx, c, pathTraffic, req)
}

// Capture implements api.Engine.
func (c *Client) Capture(ctx context.Context, req api.CaptureRequest) (io.ReadCloser, error) {
	return c.bytes(ctx, pathCapture, req)
}

func (c *Client) bytes(ctx context.Context, path string, req any) (io.ReadCloser, error) {
	ctx, cancel := c.within(ctx)
	resp, err := c.request(ctx, path, req) //nolint:bodyclose // closed with the stream
	if err != nil {
		cancel()
		return nil, err
	}
	return &byteStream{resp.Body, c, cancel}, nil
}

type byteStream struct {
	io.ReadCloser
	of     *Client
	cancel func()
}

// Read tells the stream's end from the engine's.
func (l *byteStream) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		select {
		case <-l.of.done:
			err = lost(err)
		default:
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
				err = l.of.cut(err)
			}
		}
	}
	return n, err
}

func (l *byteStream) Close() error {
	l.cancel()
	return l.ReadCloser.Close()
}

// within is a context that ends with ctx and with the client.
func (c *Client) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// stream opens a connection of frames.
func (c *Client) stream(ctx context.Context, path string, req nodeRequest) (net.Conn, *bufio.Reader, error) {
	conn, err := unixsock.Dial(ctx, c.path)
	if err != nil {
		return nil, nil, &unreachable{lost(err), err}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	give := func(err error) (net.Conn, *bufio.Reader, error) {
		stop()
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	b, err := json.Marshal(req)
	if err != nil {
		return give(err)
	}
	_, unsent := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: archetype-frames\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s", path, headerOwner, ownName(), len(b), b)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the connection goes on as frames
	if err != nil {                        // who is refused may read why though nothing could be sent
		return give(lost(cmp.Or(unsent, err)))
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return give(readError(resp))
	}
	return conn, r, nil
}

func (c *Client) Exec(ctx context.Context, lab, node string, req backends.ExecRequest) (backends.ExecResult, error) {
	var res backends.ExecResult
	conn, r, err := c.stream(ctx, pathExec, nodeRequest{Lab: lab, Node: node, Command: req.Command, Env: req.Env, Dir: req.Dir, User: req.User, Stdin: req.Stdin != nil})
	if err != nil {
		return res, err
	}
	defer func() { _ = conn.Close() }()
	if req.Stdin != nil {
		go func() {
			w := &framer{w: conn}
			if _, err := io.Copy(frameStream{w, frameIn}, req.Stdin); err == nil {
				_ = w.frame(frameIn, nil)
			}
		}()
	}
	var out, errOut bytes.Buffer
	stdout, stderr := req.Stdout, req.Stderr
	if stdout == nil {
		stdout = &out
	}
	if stderr == nil {
		stderr = &errOut
	}
	for {
		sort, data, err := readFrame(r)
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		if err != nil {
			return res, c.cut(err)
		}
		switch sort {
		case frameOut:
			_, err = stdout.Write(data)
		case frameErr:
			_, err = stderr.Write(data)
		case frameFailed:
			return res, failed(data)
		case frameEnd:
			err = json.Unmarshal(data, &res.Code)
			res.Stdout, res.Stderr = out.Bytes(), errOut.Bytes()
			return res, err
		}
		if err != nil {
			return res, err
		}
	}
}

func failed(data []byte) error {
	var e api.Error
	if err := json.Unmarshal(data, &e); err != nil {
		return errors.New(string(data))
	}
	return &e
}

func (c *Client) Console(ctx context.Context, lab, node string, size backends.Size) (backends.Console, error) {
	conn, r, err := c.stream(ctx, pathConsole, nodeRequest{Lab: lab, Node: node, Size: size})
	if err != nil {
		return nil, err
	}
	return &console{of: c, conn: conn, r: r, w: &framer{w: conn}}, nil
}

type console struct {
	of   *Client
	conn net.Conn
	w    *framer
	mu   sync.Mutex // of reading
	r    *bufio.Reader
	rest []byte
}

func (c *console) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.rest) == 0 {
		sort, data, err := readFrame(c.r)
		if errors.Is(err, net.ErrClosed) { // by us
			return 0, io.EOF
		}
		if err != nil {
			return 0, c.of.cut(err)
		}
		switch sort {
		case frameOut:
			c.rest = data
		case frameFailed:
			return 0, failed(data)
		case frameEnd:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *console) Write(p []byte) (int, error) { return frameStream{c.w, frameIn}.Write(p) }

func (c *console) Resize(s backends.Size) error { return c.w.value(frameResize, s) }

func (c *console) Close() error { return c.conn.Close() }
