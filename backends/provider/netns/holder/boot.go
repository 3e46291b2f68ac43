package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/nodeinit"
	"archetype/backends/provider/netns/stub"
	"archetype/backends/provider/power"
	"archetype/internal/unixsock"
)

// maxLog is the size in bytes above which a node's log is put aside at its
// next start.
const maxLog = 4 << 20

// maxSaid is how long, in bytes, what was said may be before it is put into a
// file: the boots of a node that nobody has used.
const maxSaid = 1 << 10

// started is a node's first process.
type started struct {
	pid  int
	end  <-chan unix.WaitStatus
	at   int64  // where in the node's log this boot begins
	said string // what the log will begin with once it is there
}

// boot makes a node's view of the machine and starts its first process. Off
// says that the node was switched off before. The caller has its lock.
func (s *server) boot(n *node, off bool) (out started, err error) {
	b := bootFiles{}
	defer b.close()
	ours, theirs, err := unixsock.Pair(true)
	if err != nil {
		return out, err
	}
	b.add(theirs, nil)
	control, err := unixsock.Conn(ours)
	if err != nil {
		return out, err
	}
	s.hangUp(n, control)
	cfg, idle, dark := n.config, false, false
	said := os.Stderr // of what starts it, while it has no log
	err = s.spawner.apart(n.netns, func() error {
		if stub.Supported() {
			idle, dark = nodeinit.Idle(&cfg)
		}
		if idle && len(n.said) < maxSaid && !exists(n.status.Log) {
			out.at, out.said = int64(len(n.said)), n.said+nodeinit.Boots(&cfg)
			cfg.Log, cfg.Said = n.status.Log, out.said
			return nil
		}
		log, at, err := openLog(n.status.Log, n.said)
		if err != nil {
			return err
		}
		b.add(log, nil)
		said, out.at = log, at
		return nil
	}, func(machine *os.File) error {
		if !idle {
			if err := makeFolder(n.status.Folder); err != nil {
				return err
			}
		}
		if err := nodeinit.Prepare(&cfg, idle); err != nil {
			_, _ = fmt.Fprintf(said, "archetype-init: failed: %v\n", err)
			return err
		}
		if off || dark || !idle && nodeinit.Dark(&cfg) {
			if err := power.On(int(n.netns.Fd()), cfg.Addresses); err != nil {
				return err
			}
		}
		first := s.program
		if stub.Supported() {
			if first, err = stub.File(nodeinit.Stub(&cfg, idle)); err != nil {
				return err
			}
			defer func() { _ = first.Close() }()
		}
		cfg.Built, cfg.Stepped, cfg.Booted = !idle, stub.Supported() && !idle, idle
		config := b.add(configFile(&cfg))
		if b.err != nil {
			return b.err
		}
		if idle { // what it is told before it listens waits for it
			set := nodeinit.Signals()
			var had unix.Sigset_t
			if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &had); err != nil {
				return err
			}
			defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &had, nil) }()
		}
		// By its place among the holder's files: the child's are others.
		out.pid, out.end, err = s.reaper.Start(self(first),
			[]string{"archetype", InitVerb, n.status.Ref.String()}, &os.ProcAttr{
				Dir: "/", Env: []string{"GOMAXPROCS=2", "GOGC=50"},
				Files: []*os.File{s.null, said, said, config, theirs, s.signals, s.program, machine},
				Sys: &syscall.SysProcAttr{
					Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
					Setsid:     true, Pdeathsig: unix.SIGKILL,
				},
			})
		if err != nil {
			return fmt.Errorf("start its init: %w", err)
		}
		n.said = out.said
		return nil
	})
	return out, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// bootFiles are those a node's first process is given, open only for as long
// as that takes.
type bootFiles struct {
	all []*os.File
	err error // the first that happened
}

func (b *bootFiles) add(f *os.File, err error) *os.File {
	if err != nil {
		b.err = errors.Join(b.err, err)
		return nil
	}
	b.all = append(b.all, f)
	return f
}

func (b *bootFiles) close() {
	for _, f := range b.all {
		_ = f.Close()
	}
}

func signalFile() (*os.File, error) {
	set := nodeinit.Signals()
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "signals"), nil
}

func configFile(cfg *nodeinit.Config) (*os.File, error) {
	data, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("config", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "config")
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// oldLog is added to the name of a log that was put aside.
const oldLog = ".old"

// openLog opens a node's log, which begins with what was said before it was
// there, and tells how long it is.
func openLog(path, said string) (*os.File, int64, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxLog {
		if err := putAside(path); err != nil {
			return nil, 0, err
		}
	}
	begun := err == nil && st.Size() > 0
	const flags = os.O_CREATE | os.O_APPEND | os.O_RDWR
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrNotExist) { // the folder went with the lab's other nodes
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return nil, 0, err
		}
		f, err = os.OpenFile(path, flags, 0o600)
	}
	if err != nil {
		return nil, 0, err
	}
	if !begun {
		_, _ = f.WriteString(said) // a full disk keeps no node from running
	}
	if st, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// putAside replaces a log by an empty one; there is a log at any moment,
// because who reads it takes it for gone otherwise.
func putAside(path string) error {
	if err := os.Remove(path + oldLog); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Link(path, path+oldLog); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".next-")
	if err != nil {
		return err
	}
	return errors.Join(next.Close(), os.Rename(next.Name(), path))
}
