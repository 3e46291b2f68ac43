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
	"archetype/internal/unixsock"
)

// maxLog is the size in bytes above which a node's log is put aside at its
// next start.
const maxLog = 4 << 20

// boot makes a node's view of the machine and starts its first process; it
// returns also where the log of this boot begins. The caller has its lock.
func (s *server) boot(n *node) (pid int, at int64, end <-chan unix.WaitStatus, err error) {
	b := bootFiles{}
	defer b.close()
	dir := n.status.Folder
	log, at, err := openLog(filepath.Join(dir, "log"))
	if err != nil {
		return 0, 0, nil, err
	}
	b.add(log, nil)
	null := b.add(os.Open(os.DevNull))
	listener := b.listener(filepath.Join(dir, "ctl.sock"))
	signals := b.add(signalFile())
	program := b.add(os.OpenFile("/proc/self/exe", unix.O_PATH, 0))
	if b.err != nil {
		return 0, 0, nil, b.err
	}
	err = s.spawner.apart(n.netns, func() error {
		cfg := n.config
		if err := nodeinit.Prepare(&cfg); err != nil {
			_, _ = fmt.Fprintf(log, "archetype-init: failed: %v\n", err)
			return err
		}
		idle := nodeinit.Idle(&cfg)
		first, err := stub.File(nodeinit.Stub(&cfg, idle))
		switch {
		case errors.Is(err, stub.ErrUnsupported):
			first = program
		case err != nil:
			return err
		default:
			defer func() { _ = first.Close() }()
			cfg.Stepped, cfg.Booted = true, idle
		}
		config := b.add(configFile(&cfg))
		if b.err != nil {
			return b.err
		}
		// By its place among the holder's files: the child's are others.
		pid, end, err = s.reaper.Start(self(first),
			[]string{"archetype", InitVerb, n.status.Ref.String()}, &os.ProcAttr{
				Dir: "/", Env: []string{"GOMAXPROCS=2", "GOGC=50"},
				Files: []*os.File{null, log, log, config, listener, signals, program},
				Sys: &syscall.SysProcAttr{
					Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
					Setsid:     true, Pdeathsig: unix.SIGKILL,
				},
			})
		if err != nil {
			return fmt.Errorf("start its init: %w", err)
		}
		return nil
	})
	return pid, at, end, err
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

func (b *bootFiles) listener(path string) *os.File {
	l, err := unixsock.Listen(path)
	if err != nil {
		return b.add(nil, err)
	}
	defer func() { _ = l.Close() }()
	return b.add(l.File())
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
