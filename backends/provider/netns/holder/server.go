package holder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/internal/heap"
	"archetype/internal/ownfile"
	"archetype/internal/reap"
	"archetype/internal/unixsock"
)

// patience is how long a holder that was never used waits for its first task.
const patience = 10 * time.Second

type server struct {
	making                 atomic.Int64 // nodes that are being made or started
	cfg                    Config
	reaper                 *reap.Reaper
	spawner                *spawner // of nodes
	keeper                 *spawner // of the engine
	panel                  *panel
	null, signals, program *os.File // what every init is given
	l                      *net.UnixListener
	done                   chan struct{}

	mu     sync.Mutex
	nodes  map[backends.NodeRef]*node
	engine int // PID
	busy   int // requests that may make something
	used   bool
	ending bool
	subs   map[chan Status]bool
	look   later
}

// Main is the program of the holder: it serves until it holds nothing. The
// arguments are what Ensure gave; it says on descriptor 3 that it serves, or
// what went wrong.
func Main(args []string) int {
	ready := os.NewFile(3, "ready")
	unix.CloseOnExec(3)
	fail := func(err error) int {
		_, _ = fmt.Fprintf(ready, "%v", err)
		return 1
	}
	if len(args) == 1 && args[0] == "probe" {
		if err := probe(); err != nil {
			return fail(err)
		}
		_, _ = ready.WriteString("ok")
		return 0
	}
	if len(args) != 2 {
		fmt.Fprintln(os.Stderr, "the holder is started by the program itself")
		return 2
	}
	heap.Burst()
	// Caught and not ignored: what is ignored stays so in all that is started.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGPIPE, unix.SIGINT)
	s, err := newServer(Config{Dir: args[0], Rootless: args[1] == "rootless"})
	if err != nil {
		return fail(err)
	}
	_, _ = ready.WriteString("ok")
	_ = ready.Close()
	go s.accept()
	time.AfterFunc(patience, func() {
		s.mu.Lock()
		s.used = true
		s.mu.Unlock()
		s.mayEnd()
	})
	<-s.done
	return 0
}

func newServer(cfg Config) (*server, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	raiseFileLimit()
	s := &server{cfg: cfg, reaper: reap.New(), nodes: map[backends.NodeRef]*node{}, subs: map[chan Status]bool{},
		done: make(chan struct{})}
	var err error
	prepare := nodeinit.DropCapabilities
	if cfg.Rootless { // the kernel refuses what is not the node's own
		prepare = func() error { return nil }
	}
	if s.spawner, err = newSpawner(4, prepare); err != nil {
		return nil, err
	}
	if s.keeper, err = newSpawner(1, func() error { return nil }); err != nil {
		return nil, err
	}
	if s.panel, err = newPanel(s.spawner); err != nil {
		return nil, err
	}
	if s.null, err = os.Open(os.DevNull); err != nil {
		return nil, err
	}
	if s.signals, err = signalFile(); err != nil {
		return nil, err
	}
	if s.program, err = os.OpenFile("/proc/self/exe", unix.O_PATH, 0); err != nil {
		return nil, err
	}
	if s.l, err = unixsock.Listen(cfg.socket()); err != nil {
		return nil, err
	}
	return s, nil
}

// raiseFileLimit makes room for a descriptor per node and then some.
func raiseFileLimit() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil && lim.Cur < lim.Max {
		lim.Cur = lim.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	}
}

// spare is how many descriptors no node takes, so that the holder answers
// whoever asks, be it to end, also when it can hold no more.
const spare = 48

// each is how many a node may take while it is made or started.
const each = 8

// room refuses what would take the last of them, and otherwise keeps some for it
// until it is done. The kernel gives the lowest number that is free, which is
// about how many there are.
func (s *server) room() (done func(), err error) {
	n := s.making.Add(1)
	done = func() { s.making.Add(-1) }
	if err = enough(uint64(n) * each); err != nil {
		done()
	}
	return done, err
}

func enough(more uint64) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	next, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.Close(next)
	if uint64(next)+more+min(spare, lim.Cur/4) >= lim.Cur {
		return fmt.Errorf("the nodes' holder, process %d: %w", os.Getpid(), unix.EMFILE)
	}
	return nil
}

// mayEnd ends the holder once it has been used and holds nothing any more.
func (s *server) mayEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || !s.used || s.engine != 0 || s.busy > 0 || len(s.nodes) > 0 {
		return
	}
	if s.panel.inUse() { // by nodes that are not held here, such as containers
		s.look.again(s.mayEnd)
		return
	}
	s.ending = true
	_ = os.Remove(s.cfg.socket())
	_ = s.l.Close()
	close(s.done)
}

func (s *server) accept() {
	for {
		c, err := s.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: it passes
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go s.serve(c)
	}
}

// serve answers one question after the other.
func (s *server) serve(c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	for r := bufio.NewReader(c); ; {
		req, err := readRequest(r)
		var bad *misunderstood
		if errors.As(err, &bad) {
			s.answer(c, response{Error: bad.Error()})
		}
		if err != nil {
			return
		}
		if req.Op == "events" {
			s.events(c)
			return
		}
		if !s.begin() {
			return
		}
		if req.Op == "dial" {
			s.pass(c, req.Ref)
		} else {
			resp, err := s.handle(req)
			s.answer(c, resp.with(err))
		}
		s.finish()
	}
}

// maxRequest bounds a request, in bytes: a node's configuration is in it.
const maxRequest = 64 << 20

// misunderstood is the error of a request that is none.
type misunderstood struct{ error }

// readRequest reads one line.
func readRequest(r *bufio.Reader) (*request, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxRequest {
			return nil, &misunderstood{fmt.Errorf("the request has more than %d MiB", maxRequest>>20)}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return nil, &misunderstood{fmt.Errorf("the request is not understood: %w", err)}
	}
	return &req, nil
}

func (r response) with(err error) response {
	if err != nil {
		r.Error, r.Missing = err.Error(), errors.Is(err, backends.ErrNotFound)
	}
	return r
}

// pass answers with a connection to a node's init.
func (s *server) pass(c *net.UnixConn, ref backends.NodeRef) {
	f, err := s.dial(ref)
	if err != nil {
		s.answer(c, response{}.with(err))
		return
	}
	defer func() { _ = f.Close() }()
	_ = unixsock.Send(c, []byte("{}\n"), f)
}

func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.busy++
	}
	return !s.ending
}

func (s *server) finish() {
	s.mu.Lock()
	s.busy--
	s.mu.Unlock()
	s.mayEnd()
}

func (s *server) answer(c net.Conn, r response) {
	b, err := json.Marshal(r)
	if err != nil {
		b = []byte(`{"error":"` + err.Error() + `"}`)
	}
	_, _ = c.Write(append(b, '\n'))
}

func (s *server) handle(req *request) (response, error) {
	switch req.Op {
	case "info":
		return response{Info: s.info()}, nil
	case "create":
		if req.Node == nil {
			return response{}, errors.New("no node given")
		}
		s.mu.Lock()
		s.used = true
		s.mu.Unlock()
		done, err := s.room()
		if err != nil {
			return response{}, err
		}
		defer done()
		if err := s.create(req.Node); err != nil {
			return response{}, err
		}
		return s.list(req.Node.Ref), nil
	case "start":
		done, err := s.room()
		if err != nil {
			return response{}, err
		}
		defer done()
		if err := s.start(req.Ref); err != nil {
			return response{}, err
		}
		return s.list(req.Ref), nil
	case "stop":
		return response{}, s.stop(req.Ref, req.Grace)
	case "remove":
		if req.Node == nil {
			return response{}, errors.New("no node given")
		}
		return response{}, s.remove(req.Ref, req.Node.Folder)
	case "list":
		return s.list(req.Ref), nil
	case "engine":
		pid, started, err := s.startEngine(req)
		return response{PID: pid, Started: started}, err
	}
	return response{}, fmt.Errorf("unknown request %q", req.Op)
}

func (s *server) info() *Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Info{PID: os.Getpid(), Protocol: protocol, Rootless: s.cfg.Rootless, Panel: self(s.panel.ns), Engine: s.engine, Nodes: len(s.nodes)}
}

// list answers with one node, those of a lab, or all.
func (s *server) list(ref backends.NodeRef) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[ref]; n != nil && n.status.Netns != "" {
		return response{Nodes: []Status{n.status.brief()}}
	}
	var out []Status
	for r, n := range s.nodes {
		if (ref.Lab == "" || ref.Lab == r.Lab) && (ref.Node == "" || ref.Node == r.Node) && n.status.Netns != "" {
			out = append(out, n.status)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Ref.String() < out[j].Ref.String() })
	return response{Nodes: out}
}

// tell gives a change to all who listen. One that does not keep up is cut
// off: it lists and listens again. The caller has the lock.
func (s *server) tell(st Status) {
	st = st.brief()
	for ch := range s.subs {
		select {
		case ch <- st:
		default:
			delete(s.subs, ch)
			close(ch)
		}
	}
}

// events streams changes: first an empty response, once nothing can be missed.
func (s *server) events(c *net.UnixConn) {
	ch := make(chan Status, 4096)
	s.mu.Lock()
	s.subs[ch] = true
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		_, _ = c.Read(make([]byte, 1)) // ends when the other side hangs up
		close(gone)
	}()
	defer func() {
		s.mu.Lock()
		delete(s.subs, ch)
		s.mu.Unlock()
	}()
	s.answer(c, response{})
	for {
		select {
		case st, ok := <-ch:
			if !ok {
				return
			}
			s.answer(c, response{Nodes: []Status{st}})
		case <-gone:
			return
		}
	}
}

// startEngine starts the engine unless one runs. It lives no longer than the
// holder: its view of the machine is the holder's.
func (s *server) startEngine(req *request) (pid int, started bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != 0 {
		return s.engine, false, nil
	}
	if len(req.Argv) == 0 {
		return 0, false, errors.New("no command given")
	}
	log, err := ownfile.Open(req.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = null.Close() }()
	var end <-chan unix.WaitStatus
	err = s.keeper.do(func(*home) (err error) {
		pid, end, err = s.reaper.Start(req.Argv[0], req.Argv, &os.ProcAttr{Dir: "/", Env: req.Env,
			Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}})
		return err
	})
	if err != nil {
		return 0, false, err
	}
	s.engine, s.used = pid, true
	go func() {
		<-end
		s.mu.Lock()
		s.engine = 0
		s.mu.Unlock()
		s.mayEnd()
	}()
	return pid, true, nil
}
