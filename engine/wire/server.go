package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	// OnClients is told how many clients are connected, at every change.
	OnClients func(n int)
}

func asError(err error) (*api.Error, bool) {
	var e *api.Error
	ok := errors.As(err, &e)
	return e, ok
}

type server struct {
	e   api.Engine
	opt Options

	mu      sync.Mutex
	clients map[net.Conn]bool
}

// Serve answers on l until ctx ends. Only the user that runs the engine, root
// and the members of the group are answered.
func Serve(ctx context.Context, l net.Listener, e api.Engine, opt Options) error {
	s := &server{e: e, opt: opt, clients: map[net.Conn]bool{}}
	srv := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState:   s.connState,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(&owned{l, opt.Group}); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return err
	}
	return nil
}

// handler answers every request; none is read further than maxRequest.
func (s *server) handler() http.Handler {
	e := s.e
	mux := http.NewServeMux()
	handle(mux, pathSnapshot, func(ctx context.Context, _ struct{}) (*api.Snapshot, error) { return e.Snapshot(ctx) })
	handle(mux, pathPlan, e.Plan)
	handle(mux, pathDeploy, e.Deploy)
	handle(mux, pathDestroy, func(ctx context.Context, r nameRequest) (*api.Job, error) { return e.Destroy(ctx, r.Name) })
	handle(mux, pathNodes, e.SetNodes)
	handle(mux, pathLink, e.SetLink)
	handle(mux, pathEdit, e.Edit)
	if care, ok := e.(api.Caretaker); ok {
		handle(mux, pathBackup, care.Backup)
		handle(mux, pathStrays, care.Strays)
		handle(mux, pathConfig, care.Config)
	}
	handle(mux, pathImpair, e.Impair)
	handle(mux, pathNetwork, e.SetNetwork)
	handle(mux, pathCancel, func(ctx context.Context, r nameRequest) (struct{}, error) {
		return struct{}{}, e.CancelJob(ctx, r.Name)
	})
	handle(mux, pathStats, func(ctx context.Context, r nameRequest) ([]api.NodeStats, error) { return e.Stats(ctx, r.Name) })
	handle(mux, pathBackends, func(ctx context.Context, _ struct{}) ([]api.BackendInfo, error) { return e.Backends(ctx) })
	handle(mux, pathPolicy, func(ctx context.Context, r api.PolicyRequest) (struct{}, error) {
		return struct{}{}, e.SetPolicy(ctx, r)
	})
	handle(mux, pathDrift, e.SetDrift)
	mux.HandleFunc(pathPresence, s.presence)
	mux.HandleFunc(pathWatch, s.watch)
	mux.HandleFunc(pathLogs, s.logs)
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

func handle[Req, Resp any](mux *http.ServeMux, path string, f func(context.Context, Req) (Resp, error)) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil && !errors.Is(err, io.EOF) {
			fail(w, api.Errorf(api.CodeUsage, "the request is not understood: %v", err))
			return
		}
		resp, err := f(api.WithOwner(r.Context(), owner(r)), req)
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

func decodeNode(w http.ResponseWriter, r *http.Request) (req nodeRequest, ok bool) {
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		fail(w, api.Errorf(api.CodeUsage, "the request is not understood: %v", err))
		return req, false
	}
	return req, true
}

func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	req, ok := decodeNode(w, r)
	if !ok {
		return
	}
	log, err := s.e.Logs(r.Context(), req.Lab, req.Node, req.Log)
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { _ = log.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	flusher, _ := w.(http.Flusher)
	flusher.Flush()
	buf := make([]byte, 32<<10)
	for {
		n, err := log.Read(buf)
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

// presence says who answers, and lasts as long as the client does.
func (s *server) presence(w http.ResponseWriter, _ *http.Request) {
	c, rw, err := s.hijack(w)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(); s.client(c, false) }()
	out := &framer{w: c}
	if out.value(frameHello, hello{Version: s.opt.Version, PID: os.Getpid()}) == nil {
		_, _ = io.Copy(io.Discard, rw)
	}
}

func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	req, ok := decodeNode(w, r)
	if !ok {
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
	req, ok := decodeNode(w, r)
	if !ok {
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
