package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"archetype/backends"
	"archetype/engine/api"
)

// Options of a server.
type Options struct {
	Version string
	// Group, where not 0, is that of a group whose members are answered, too.
	Group uint32
	Log   *slog.Logger // nil: nobody is told of clients that are refused or cut off
	// OnClients is told how many clients are connected, at every change.
	OnClients func(n int)

	limits *limits // nil: those that suit this process
}

func asError(err error) (*api.Error, bool) {
	var e *api.Error
	ok := errors.As(err, &e)
	return e, ok
}

type server struct {
	e    api.Engine
	opt  Options
	log  *slog.Logger
	door *door

	mu      sync.Mutex
	clients map[net.Conn]bool
	present map[*peerConn]*framer
}

func newServer(e api.Engine, opt Options) *server {
	s := &server{e: e, opt: opt, log: opt.Log, clients: map[net.Conn]bool{}, present: map[*peerConn]*framer{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if opt.limits == nil {
		l := limitsOf(openFiles())
		opt.limits = &l
	}
	s.door = newDoor(*opt.limits)
	return s
}

// Serve answers on l until ctx ends. Only the user that runs the engine, root
// and the members of the group are answered.
func Serve(ctx context.Context, l net.Listener, e api.Engine, opt Options) error {
	s := newServer(e, opt)
	srv := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState:   s.connState,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(&owned{l, s}); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return err
	}
	return nil
}

// handler answers every request; none is read further than maxRequest.
func (s *server) handler() http.Handler {
	e := s.e
	mux := http.NewServeMux()
	handle(s, mux, pathSnapshot, func(ctx context.Context, _ struct{}) (*api.Snapshot, error) { return e.Snapshot(ctx) })
	handle(s, mux, pathPlan, e.Plan)
	handle(s, mux, pathDeploy, e.Deploy)
	handle(s, mux, pathDestroy, func(ctx context.Context, r nameRequest) (*api.Job, error) { return e.Destroy(ctx, r.Name) })
	handle(s, mux, pathNodes, e.SetNodes)
	handle(s, mux, pathLink, e.SetLink)
	handle(s, mux, pathEdit, e.Edit)
	handle(s, mux, pathImages, e.Images)
	if care, ok := e.(api.Caretaker); ok {
		handle(s, mux, pathBackup, care.Backup)
		handle(s, mux, pathStrays, care.Strays)
		handle(s, mux, pathConfig, care.Config)
	}
	handle(s, mux, pathImpair, e.Impair)
	handle(s, mux, pathNetwork, e.SetNetwork)
	handle(s, mux, pathCancel, func(ctx context.Context, r nameRequest) (struct{}, error) {
		return struct{}{}, e.CancelJob(ctx, r.Name)
	})
	handle(s, mux, pathStats, func(ctx context.Context, r nameRequest) ([]api.NodeStats, error) { return e.Stats(ctx, r.Name) })
	handle(s, mux, pathTraffic, e.Traffic)
	handle(s, mux, pathBackends, func(ctx context.Context, _ struct{}) ([]api.BackendInfo, error) { return e.Backends(ctx) })
	handle(s, mux, pathPolicy, func(ctx context.Context, r api.PolicyRequest) (struct{}, error) {
		return struct{}{}, e.SetPolicy(ctx, r)
	})
	handle(s, mux, pathDrift, e.SetDrift)
	mux.HandleFunc(pathPresence, s.presence)
	mux.HandleFunc(pathWatch, s.watch)
	mux.HandleFunc(pathLogs, s.logs)
	mux.HandleFunc(pathCapture, s.capture)
	mux.HandleFunc(pathExec, s.exec)
	mux.HandleFunc(pathConsole, s.console)
	return http.MaxBytesHandler(mux, maxRequest)
}

type connKey struct{}

func (s *server) connState(c net.Conn, st http.ConnState) {
	switch st {
	case http.StateNew:
		s.client(c, true)
	case http.StateClosed:
		s.client(c, false)
	}
}

func (s *server) client(c net.Conn, there bool) {
	s.mu.Lock()
	if there {
		s.clients[c] = true
	} else {
		delete(s.clients, c)
	}
	n := len(s.clients)
	s.mu.Unlock()
	if s.opt.OnClients != nil {
		s.opt.OnClients(n)
	}
}

func fail(w http.ResponseWriter, err error) {
	e := apiError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status(e.Code))
	_ = json.NewEncoder(w).Encode(e)
}

func handle[Req, Resp any](s *server, mux *http.ServeMux, path string, f func(context.Context, Req) (Resp, error)) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		done, err := s.door.call(r)
		if err != nil {
			fail(w, err)
			return
		}
		defer done()
		var req Req
		if !s.read(w, r, &req) {
			return
		}
		resp, err := f(api.WithOwner(r.Context(), owner(r)), req)
		if err != nil && r.Context().Err() != nil { // who asked has gone, or it is the engine that ends
			err = lost(errors.New("it ended before that was done"))
		}
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(resp)
	})
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	updates, err := s.e.Watch(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	flusher, _ := w.(http.Flusher)
	for u := range updates {
		if enc.Encode(u) != nil || out.Flush() != nil {
			return
		}
		flusher.Flush()
	}
}

// read takes in what is asked for, which has to arrive in time; nothing at all
// asks for nothing in particular.
func (s *server) read(w http.ResponseWriter, r *http.Request, req any) bool {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(s.door.body))
	err := json.NewDecoder(r.Body).Decode(req)
	if err == nil || errors.Is(err, io.EOF) {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		fail(w, api.Errorf(api.CodeUsage, "the request is not understood: %v", err))
		return false // and what is still to come is not waited for either
	}
	_ = c.SetReadDeadline(time.Time{})
	return true
}

func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	var req nodeRequest
	if !s.read(w, r, &req) {
		return
	}
	log, err := s.e.Logs(r.Context(), req.Lab, req.Node, req.Log)
	stream(w, "text/plain; charset=utf-8", log, err)
}

func (s *server) capture(w http.ResponseWriter, r *http.Request) {
	var req api.CaptureRequest
	if !s.read(w, r, &req) {
		return
	}
	frames, err := s.e.Capture(r.Context(), req)
	stream(w, "application/vnd.tcpdump.pcap", frames, err)
}

// stream sends bytes as they come, until there are no more or nobody reads.
func stream(w http.ResponseWriter, what string, from io.ReadCloser, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { _ = from.Close() }()
	w.Header().Set("Content-Type", what)
	w.WriteHeader(http.StatusOK)
	flusher, _ := w.(http.Flusher)
	flusher.Flush()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			flusher.Flush()
		}
		if err != nil {
			return
		}
	}
}

// hijack turns a request into a stream of frames. The context ends when the
// other side hangs up.
func (s *server) hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Time{})
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: archetype-frames\r\n\r\n")
	return c, rw, errors.Join(err, rw.Flush())
}

// presence says who answers, and later why another of the process's connections
// was cut; it lasts as long as the client does.
func (s *server) presence(w http.ResponseWriter, _ *http.Request) {
	c, rw, err := s.hijack(w)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(); s.client(c, false) }()
	out := &framer{w: c}
	if out.value(frameHello, hello{Version: s.opt.Version, PID: os.Getpid()}) != nil {
		return
	}
	if p, ok := c.(*peerConn); ok {
		s.mu.Lock()
		s.present[p] = out
		s.mu.Unlock()
		defer func() { s.mu.Lock(); delete(s.present, p); s.mu.Unlock() }()
	}
	_, _ = io.Copy(io.Discard, rw)
}

func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	var req nodeRequest
	if !s.read(w, r, &req) {
		return
	}
	c, rw, err := s.hijack(w)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(); s.client(c, false) }()
	ctx, cancel := context.WithCancel(api.WithOwner(context.WithoutCancel(r.Context()), owner(r)))
	defer cancel()
	out := &framer{w: c}
	er := backends.ExecRequest{Command: req.Command, Env: req.Env, Dir: req.Dir, User: req.User,
		Stdout: frameStream{out, frameOut}, Stderr: frameStream{out, frameErr}}
	stdinR, stdinW := io.Pipe()
	if req.Stdin {
		er.Stdin = stdinR
	}
	go func() {
		defer cancel()
		defer func() { _ = stdinW.Close() }()
		for {
			sort, data, err := readFrame(rw)
			if err != nil {
				return
			}
			if sort != frameIn {
				continue
			}
			if len(data) == 0 {
				_ = stdinW.Close()
			} else if _, err := stdinW.Write(data); err != nil {
				continue // the command no longer reads
			}
		}
	}()
	res, err := s.e.Exec(ctx, req.Lab, req.Node, er)
	_ = stdinR.Close()
	if err != nil {
		_ = out.value(frameFailed, apiError(err))
		return
	}
	_ = out.value(frameEnd, res.Code)
}

func (s *server) console(w http.ResponseWriter, r *http.Request) {
	var req nodeRequest
	if !s.read(w, r, &req) {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	con, err := s.e.Console(ctx, req.Lab, req.Node, req.Size)
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { _ = con.Close() }()
	c, rw, err := s.hijack(w)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(); s.client(c, false) }()
	go func() {
		defer func() { _ = con.Close() }()
		for {
			sort, data, err := readFrame(rw)
			if err != nil {
				return
			}
			switch sort {
			case frameIn:
				_, err = con.Write(data)
			case frameResize:
				var size backends.Size
				if json.Unmarshal(data, &size) == nil {
					_ = con.Resize(size)
				}
			}
			if err != nil {
				return
			}
		}
	}()
	out := &framer{w: c}
	_, err = io.Copy(frameStream{out, frameOut}, con)
	if err != nil {
		_ = out.value(frameFailed, apiError(err))
		return
	}
	_ = out.frame(frameEnd, nil)
}
