package holder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"archetype/internal/fail"
)

// Lost are the holders of this folder that nobody reaches any more, because
// another one has its socket: what they hold goes with them.
func (c *Client) Lost(ctx context.Context) ([]int, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return nil, err
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range all {
		if pid, err := strconv.Atoi(e.Name()); err == nil && c.lost(pid, info.PID) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// lost reports whether a process is such a holder, beside the one that is
// reached. What that one has just forked is none.
func (c *Client) lost(pid, holder int) bool {
	if pid == holder || pid == os.Getpid() {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	argv := strings.Split(string(line), "\x00")
	if err != nil || len(argv) < 4 || argv[1] != Verb || argv[2] != c.cfg.Dir {
		return false
	}
	var it unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d", pid), &it) != nil || int(it.Uid) != os.Getuid() {
		return false
	}
	parent, depth := of(pid)
	_, ours := of(os.Getpid())
	if depth != ours || parent == holder {
		return false
	}
	// In a container whose processes are seen here, the folder is another.
	here, err := os.Stat(c.cfg.Dir)
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(fmt.Sprintf("/proc/%d/root", pid), c.cfg.Dir))
	return os.IsPermission(err) || err == nil && os.SameFile(here, there)
}

// of says whose child a process is, and in how many PID namespaces it is.
func of(pid int) (parent, depth int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		switch f := strings.Fields(line); {
		case len(f) > 1 && f[0] == "PPid:":
			parent, _ = strconv.Atoi(f[1])
		case len(f) > 1 && f[0] == "NSpid:":
			depth = len(f) - 1
		}
	}
	return parent, depth
}

// End ends a holder that is lost, and waits for it.
func (c *Client) End(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if !c.lost(pid, info.PID) { // looked at once more, now that the number cannot become another's
		return nil
	}
	err = fail.Around("holder.end", func() error { return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) })
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for ctx.Err() == nil {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int((100 * time.Millisecond).Milliseconds()))
		if ready > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}
