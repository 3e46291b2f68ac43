package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/backends/provider/power"
	"archetype/internal/fail"
	"archetype/internal/folder"
	"archetype/internal/reap"
	"archetype/internal/unixsock"
)

// node is one that is held. Its lock is held over whole operations, so that
// they come one after the other; control and status have the server's lock.
type node struct {
	sync.Mutex
	netns   *os.File
	control *net.UnixConn // sessions are passed to the init over it
	config  nodeinit.Config
	said    string // that is not in its log, which is made when there is more to say
	gone    bool
	asked   bool          // its end was asked for
	leaving bool          // for good
	off     bool          // its interfaces are a switched-off device's
	ended   chan struct{} // closed when the init that runs has ended
	status  Status
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

// logFile is where a node's log is: the logs of a lab share a folder, which
// costs less than one for each where nodes have no use for theirs.
func logFile(ref backends.NodeRef, folder string) string {
	return filepath.Join(filepath.Dir(folder), ".logs", ref.Node)
}

// makeFolder makes a folder of a node's, also while the last node of its lab is
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
	var cfg nodeinit.Config
	if err := json.Unmarshal(w.Config, &cfg); err != nil {
		return err
	}
	log := logFile(w.Ref, w.Folder)
	if err := makeFolder(filepath.Dir(log)); err != nil {
		return err
	}
	n.config = cfg
	if n.netns == nil {
		fail.Point("holder.namespace.before")
		ns, err := s.spawner.newNetns()
		fail.Point("holder.namespace.after")
		if err != nil {
			return err
		}
		n.netns = ns
	}
	s.mu.Lock()
	n.status.Netns, n.status.Folder, n.status.Log, n.status.Labels = self(n.netns), w.Folder, log, w.Labels
	s.mu.Unlock()
	return nil
}

// sinceBoot is a number that grows also from one holder to the next, whatever
// becomes of the machine's clock, in nanoseconds.
func sinceBoot() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // every kernel has it
	return uint64(t.Nano())
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
	s.mu.Lock()
	running, off := n.status.Running, n.off
	s.mu.Unlock()
	if running {
		return nil
	}
	fail.Point("holder.boot.before")
	was, err := s.boot(n, off)
	fail.Point("holder.boot.after")
	if err != nil {
		return fmt.Errorf("node %s: %w", ref, errors.Join(err, power.Off(int(n.netns.Fd()))))
	}
	n.asked, n.ended = false, make(chan struct{})
	s.mu.Lock()
	n.off = false
	st := &n.status
	st.Running, st.PID, st.ExitReason, st.Started, st.LogAt, st.Said = true, was.pid, "", time.Now(), was.at, was.said
	st.Boot = max(st.Boot+1, sinceBoot())
	s.tell(*st)
	s.mu.Unlock()
	go s.watch(n, was.end, n.ended)
	return nil
}

// watch notes the end of a node's init, asked for or not.
func (s *server) watch(n *node, end <-chan unix.WaitStatus, ended chan struct{}) {
	ws := <-end
	s.mu.Lock()
	leaving := n.leaving
	s.mu.Unlock()
	var off error
	if !leaving { // else its interfaces go as well
		ns := int(n.netns.Fd())
		off = errors.Join(power.Forget(ns), power.Off(ns))
	}
	s.mu.Lock()
	n.off = !leaving
	st := &n.status
	st.Running, st.PID, st.Started = false, 0, time.Time{}
	if !n.asked {
		st.ExitReason = "its init " + reap.Ended(ws)
	}
	if off != nil {
		st.ExitReason = fmt.Sprintf("it does not run, but its interfaces cannot be set down: %v", off)
	}
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
		s.reaper.Signal(pid, unix.SIGTERM, false)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-ended:
			return
		case <-t.C:
		}
	}
	fail.Point("holder.kill.before")
	s.reaper.Signal(pid, unix.SIGKILL, false)
	<-ended
	fail.Point("holder.kill.after")
}

// hangUp gives a node another control socket, or none.
func (s *server) hangUp(n *node, next *net.UnixConn) {
	s.mu.Lock()
	last := n.control
	n.control = next
	s.mu.Unlock()
	if last != nil {
		_ = last.Close()
	}
}

// dial gives the init of a node one end of a new connection and returns the
// other.
func (s *server) dial(ref backends.NodeRef) (*os.File, error) {
	n, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	down := fmt.Errorf("node %s does not run: %w", ref.Node, backends.ErrNotFound)
	s.mu.Lock()
	running, control := n.status.Running, n.control
	s.mu.Unlock()
	if !running {
		return nil, down
	}
	ours, theirs, err := unixsock.Pair(false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	if err := unixsock.Send(control, []byte{0}, theirs); err != nil {
		_ = ours.Close()
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			return nil, down
		}
		return nil, fmt.Errorf("node %s: %w", ref.Node, err)
	}
	return ours, nil
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

// removeFiles removes what a node has left on the disk.
func removeFiles(ref backends.NodeRef, dir string) error {
	log := logFile(ref, dir)
	_ = unix.Unlink(log)
	_ = unix.Unlink(log + oldLog)
	return folder.Remove(dir)
}

// removeFolders removes the folders that a lab's nodes share, with its last
// node, and that of all labs with the last lab. Who makes a node makes them
// after it is known here.
func (s *server) removeFolders(ref backends.NodeRef, folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.nodes {
		if r.Lab == ref.Lab {
			return
		}
	}
	lab := filepath.Dir(folder)
	if empty(filepath.Dir(logFile(ref, folder))) && empty(lab) {
		empty(filepath.Dir(lab))
	}
}

// empty removes a folder with nothing in it, and reports whether it is gone,
// which it may have been before.
func empty(folder string) bool {
	err := unix.Rmdir(folder)
	return err == nil || errors.Is(err, os.ErrNotExist)
}

// remove removes a node and what it has left on the disk, also of one whose
// holder has ended before it came to that.
func (s *server) remove(ref backends.NodeRef, folder string) error {
	n, err := s.find(ref)
	if errors.Is(err, backends.ErrNotFound) {
		return fail.Around("holder.remove", func() error {
			err := removeFiles(ref, folder)
			s.removeFolders(ref, folder)
			return err
		})
	}
	n.Lock()
	defer n.Unlock()
	if n.gone {
		return nil
	}
	s.mu.Lock()
	n.leaving = true
	s.mu.Unlock()
	s.halt(n, 0)
	n.gone = true
	err = fail.Around("holder.remove", func() error { return removeFiles(ref, folder) })
	if n.netns != nil {
		_ = n.netns.Close()
	}
	s.hangUp(n, nil)
	s.mu.Lock()
	delete(s.nodes, ref)
	st := n.status
	st.Gone = true
	s.tell(st)
	s.mu.Unlock()
	s.removeFolders(ref, folder)
	s.mayEnd()
	return err
}
