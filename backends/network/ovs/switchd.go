package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/rpc2"
	"github.com/cenkalti/rpc2/jsonrpc"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// errStopped is a database without the daemon that carries out what it says.
var errStopped = fmt.Errorf("ovs-vswitchd does not run (%w)", backends.ErrUnavailable)

const (
	// lookAgain is how often one looks for a switch that has stopped.
	lookAgain = 200 * time.Millisecond
	// reexamination bounds the wait for a switch to go through its flows. It
	// is over in a millisecond or a few, but one who asks too late is told only
	// of the next, half a second later.
	reexamination = 50 * time.Millisecond
)

// findSwitch returns the process ID of the ovs-vswitchd that serves a socket,
// as the files beside the socket tell it. It is 0 when they tell nothing, as
// when the switch runs in a container, and errStopped when they tell that it
// does not run.
func findSwitch(socket string) (pid int, err error) {
	dir := filepath.Dir(socket)
	text, err := os.ReadFile(filepath.Join(dir, "ovs-vswitchd.pid"))
	if err != nil {
		if _, serr := os.Stat(filepath.Join(dir, "ovsdb-server.pid")); serr == nil && errors.Is(err, os.ErrNotExist) {
			return 0, errStopped
		}
		return 0, nil
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, nil
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	switch {
	case err == nil && strings.TrimSpace(string(comm)) == "ovs-vswitchd":
		return pid, nil
	case unix.Kill(pid, 0) == nil && err != nil:
		return pid, nil
	default:
		return 0, errStopped
	}
}

// reexamined waits for a switch that has changed to have gone through its flows:
// until then frames like some that were dropped are dropped as well. Where that
// cannot be asked, one does without.
func (n *Network) reexamined(ctx context.Context) {
	pid, err := findSwitch(n.cfg.Socket)
	if err != nil || pid == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reexamination)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(filepath.Dir(n.cfg.Socket), fmt.Sprintf("ovs-vswitchd.%d.ctl", pid)))
	if err != nil {
		return
	}
	c := rpc2.NewClientWithCodec(jsonrpc.NewJSONCodec(conn))
	go c.Run()
	defer func() { _ = c.Close() }()
	var said string
	_ = c.CallWithContext(ctx, "revalidator/wait", []any{}, &said)
}

// namespaceOf is the path of the network namespace that the switch is in: the
// interfaces that it can have.
func namespaceOf(pid int) string {
	if pid == 0 {
		pid = os.Getpid()
	}
	return fmt.Sprintf("/proc/%d/ns/net", pid)
}

// death returns a channel that is closed when the process ends. A process of
// which nothing is known does not end.
func death(ctx context.Context, pid int) <-chan struct{} {
	ended := make(chan struct{})
	if pid == 0 {
		return ended
	}
	fd, err := unix.PidfdOpen(pid, unix.O_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			close(ended)
		}
		return ended
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	go func() {
		defer func() { _ = f.Close() }()
		defer stop()
		raw, err := f.SyscallConn()
		if err != nil {
			return
		}
		err = raw.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			return n > 0 && err == nil
		})
		if err == nil {
			close(ended)
		}
	}()
	return ended
}
