package holder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/internal/reap"
	"archetype/internal/unixsock"
)

// maxLog is the size in bytes above which a node's log is put aside at its
// next start.
const maxLog = 4 << 20

// node is one that is held. Its lock is held over whole operations, so that
// they come one after the other; status has the server's lock.
type node struct {
	sync.Mutex
	netns  *os.File
	gone   bool
	asked  bool          // its end was asked for
	ended  chan struct{} // closed when the init that runs has ended
	status Status
}

func (s *server) find(ref backends.NodeRef) (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[ref]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("node %s: %w", ref, backends.ErrNotFound)
}

// create makes the node's namespace and folder, or takes over its new
// configuration.
func (s *server) create(w *Node) error {
	s.mu.Lock()
	n := s.nodes[w.Ref]
	if n == nil {
		n = &node{}
		n.status.Ref = w.Ref
		n.status.Identifier = w.Ref.String()
		s.nodes[w.Ref] = n
	}
	s.mu.Unlock()
	n.Lock()
	defer n.Unlock()
	if n.gone {
		return fmt.Errorf("node %s is being removed", w.Ref)
	}
	err := s.make(n, w)
	if err != nil && n.netns == nil { // nothing of it exists yet
		n.gone = true
		s.mu.Lock()
		delete(s.nodes, w.Ref)
		s.mu.Unlock()
	}
	return err
}

// makeFolder makes a node's folder, also while the last node of its lab is
// being removed and takes the folder above with it.
func makeFolder(dir string) error {
	var err error
	for range 5 {
		if err = os.MkdirAll(dir, 0o700); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

func (s *server) make(n *node, w *Node) error {
	if err := makeFolder(w.Folder); err != nil {
		return err
	}
	file := filepath.Join(w.Folder, "init.json")
	if err := os.WriteFile(file+".new", w.Config, 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	if n.netns == nil {
		ns, err := s.spawner.newNetns()
		if err != nil {
			return err
		}
		n.netns = ns
	}
	s.mu.Lock()
	n.status.Netns, n.status.Folder, n.status.Labels = self(n.netns), w.Folder, w.Labels
	s.mu.Unlock()
	return nil
}

func (s *server) start(ref backends.NodeRef) error {
	n, err := s.find(ref)
	if err != nil {
		return err
	}
	n.Lock()
	defer n.Unlock()
	if n.gone {
		return fmt.Errorf("node %s: %w", ref, backends.ErrNotFound)
	}
	if n.status.Running {
		return nil
	}
	dir := n.status.Folder
	cfg, err := os.Open(filepath.Join(dir, "init.json"))
	if err != nil {
		return err
	}
	defer func() { _ = cfg.Close() }()
	log, at, err := openLog(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	l, err := unixsock.Listen(filepath.Join(dir, "ctl.sock"))
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	lf, err := l.File()
	if err != nil {
		return err
	}
	defer func() { _ = lf.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()

	var pid int
	var end <-chan unix.WaitStatus
	err = s.spawner.in(n.netns, func() (err error) {
		pid, end, err = s.reaper.Start("/proc/self/exe", []string{"archetype", InitVerb, ref.String()}, &os.ProcAttr{
			Dir: "/", Env: []string{"GOMAXPROCS=2", "GOGC=50"}, Files: []*os.File{null, log, log, cfg, lf},
			Sys: &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
				Setsid:     true, Pdeathsig: unix.SIGKILL,
			},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("node %s: start its init: %w", ref, err)
	}
	n.asked, n.ended = false, make(chan struct{})
	s.mu.Lock()
	st := &n.status
	st.Running, st.PID, st.ExitReason, st.Started, st.LogAt = true, pid, "", time.Now(), at
	st.Boot = max(st.Boot+1, uint64(time.Now().UnixMilli())) // grows also from one holder to the next
	s.tell(*st)
	s.mu.Unlock()
	go s.watch(n, end, n.ended)
	return nil
}

func openLog(path string) (*os.File, int64, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// watch notes the end of a node's init, asked for or not.
func (s *server) watch(n *node, end <-chan unix.WaitStatus, ended chan struct{}) {
	ws := <-end
	s.mu.Lock()
	st := &n.status
	st.Running, st.PID, st.Started = false, 0, time.Time{}
	if !n.asked {
		st.ExitReason = "its init " + reap.Ended(ws)
	}
	_ = os.Remove(filepath.Join(st.Folder, "ctl.sock"))
	s.tell(*st)
	s.mu.Unlock()
	close(ended)
}

// halt ends a node's init, by force after grace. The caller has its lock.
func (s *server) halt(n *node, grace time.Duration) {
	s.mu.Lock()
	pid, ended := n.status.PID, n.ended
	n.asked = true
	s.mu.Unlock()
	if pid == 0 {
		return
	}
	if grace > 0 {
		_ = unix.Kill(pid, unix.SIGTERM)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-ended:
			return
		case <-t.C:
		}
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	<-ended
}

func (s *server) stop(ref backends.NodeRef, grace time.Duration) error {
	n, err := s.find(ref)
	if err != nil {
		return err
	}
	n.Lock()
	defer n.Unlock()
	s.halt(n, grace)
	return nil
}

func (s *server) remove(ref backends.NodeRef) error {
	n, err := s.find(ref)
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	n.Lock()
	defer n.Unlock()
	if n.gone {
		return nil
	}
	s.halt(n, 0)
	n.gone = true
	dir := n.status.Folder
	err = os.RemoveAll(dir)
	lab := filepath.Dir(dir)
	if os.Remove(lab) == nil { // with its last node
		_ = os.Remove(filepath.Dir(lab)) // with the last lab
	}
	if n.netns != nil {
		_ = n.netns.Close()
	}
	s.mu.Lock()
	delete(s.nodes, ref)
	st := n.status
	st.Gone = true
	s.tell(st)
	s.mu.Unlock()
	s.mayEnd()
	return err
}
