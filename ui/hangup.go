package ui

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// quitWithTerminal ends the program when its terminal goes: when it is told so,
// or else, where whoever started it keeps the signal to itself as make does, when
// the terminal says so itself.
func quitWithTerminal(ctx context.Context, p *tea.Program) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	gone := make(chan struct{})
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		go func() {
			if hungUp(int32(in)) {
				close(gone)
			}
		}()
	}
	select {
	case <-hangup:
	case <-gone:
	case <-ctx.Done():
		return
	}
	p.Quit()
}

// hungUp waits until a terminal is no more. Nothing is read from it.
func hungUp(fd int32) bool {
	for {
		fds := []unix.PollFd{{Fd: fd}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0:
			return true
		}
	}
}
