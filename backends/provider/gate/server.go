package gate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"archetype/internal/unixsock"
)

// Server answers the gates of one node, one after another.
type Server struct {
	l  *net.UnixListener
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  map[*net.UnixConn]bool
	closed bool
}

// Listen serves the socket in the folder that the container sees. For every
// gate that asks, open is called with the process ID of the container's init,
// as this machine sees it; what it returns decides whether the gate opens, and
// gone is closed when the gate does not wait any more.
func Listen(folder string, open func(pid int, gone <-chan struct{}) error) (*Server, error) {
	path := filepath.Join(folder, Socket)
	l, err := unixsock.Listen(path)
	if err != nil {
		return nil, err
	}
	// Whoever the container's user is may ask; who may reach the socket is
	// decided by the folder above it.
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, err
	}
	s := &Server{l: l, conns: map[*net.UnixConn]bool{}}
	s.wg.Add(1)
	go s.accept(open)
	return s, nil
}

func (s *Server) accept(open func(int, <-chan struct{}) error) {
	defer s.wg.Done()
	for {
		c, err := s.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: it passes
			time.Sleep(retry)
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.serve(c, open)
		}()
	}
}

func (s *Server) serve(c *net.UnixConn, open func(int, <-chan struct{}) error) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	pid, err := initOf(c)
	if err != nil {
		return // no gate of ours, or gone already
	}
	gone := make(chan struct{})
	go func() {
		_, _ = c.Read(make([]byte, 1)) // ends when either side hangs up
		close(gone)
	}()
	code, text := byte(codeFailed), ""
	if err := open(pid, gone); err == nil {
		code, text = look(pid)
	} else if errors.Is(err, net.ErrClosed) {
		return // the gate asks the next engine
	} else {
		text = err.Error()
	}
	if code != codeGo {
		text = "archetype: " + strings.ReplaceAll(text, "\n", " ")
		text = text[:min(len(text), maxAnswer-3)] + "\n"
	}
	_, _ = c.Write(append([]byte{code}, text...))
}

// initOf is the process at the other end, which must be the first of a PID
// namespace: nothing that runs in the node later can ask in its name.
func initOf(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, err
	}
	if cred.Pid == 0 {
		return 0, errors.New("the other end is in a PID namespace that is not below ours")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cred.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if f := strings.Fields(rest); len(f) > 1 && f[len(f)-1] == "1" {
				return int(cred.Pid), nil
			}
		}
	}
	return 0, fmt.Errorf("process %d is no container's init", cred.Pid)
}

// Close stops serving. Gates that wait go on waiting for the next Listen.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	_ = s.l.Close()
	s.wg.Wait()
}
