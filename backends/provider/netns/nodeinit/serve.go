package nodeinit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"archetype/internal/reap"
	"archetype/internal/unixsock"
)

// serve answers the connections that come over the control socket.
func (n *node) serve(control *net.UnixConn) {
	for {
		_, f, err := unixsock.Receive(control, make([]byte, 1))
		if err != nil {
			return // the holder has ended
		}
		if f == nil {
			continue
		}
		c, err := unixsock.Conn(f)
		if err != nil {
			continue
		}
		go func() {
			defer func() { _ = c.Close() }()
			r := bufio.NewReader(c)
			line, err := r.ReadBytes('\n')
			var req Request
			out := NewFrameWriter(c)
			if err != nil || json.Unmarshal(line, &req) != nil {
				_ = out.Frame(FrameError, []byte("the request is not understood"))
				return
			}
			<-n.built // not before the node looks as it should
			if err := n.run(req, r, out); err != nil {
				_ = out.Frame(FrameError, []byte(err.Error()))
			}
		}()
	}
}

func (n *node) run(req Request, in io.Reader, out *FrameWriter) error {
	argv := req.Command
	env := append(n.environment(), req.Env...)
	if len(argv) == 0 {
		for _, sh := range append(n.cfg.Console, "bash", "sh") {
			if _, err := lookPath(sh, env); err == nil {
				argv = []string{sh}
				break
			}
		}
		if len(argv) == 0 {
			return errors.New("no shell on this machine")
		}
	}
	dir := req.Dir
	if dir == "" {
		dir = "/root"
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if req.User != "" {
		cred, err := credential(req.User)
		if err != nil {
			return err
		}
		attr.Credential = cred
	}
	if req.TTY {
		return n.runTTY(argv, env, dir, attr, req.Size, in, out)
	}
	return n.runPipes(argv, env, dir, attr, req.Stdin, in, out)
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("user %q does not exist in the node", name)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, nil
}

func startError(argv []string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s: no such program in the node", argv[0])
	}
	return err
}

// runPipes runs a command with its streams apart.
func (n *node) runPipes(argv, env []string, dir string, attr *syscall.SysProcAttr, stdin bool, in io.Reader, out *FrameWriter) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	files := []*os.File{null, nil, nil}
	var stdinW *os.File
	if stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		files[0], stdinW = r, w
	}
	var copies sync.WaitGroup
	var mine, theirs []*os.File
	for i, sort := range map[int]byte{1: FrameStdout, 2: FrameStderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		files[i] = w
		mine, theirs = append(mine, r), append(theirs, w)
		copies.Add(1)
		go func() {
			defer copies.Done()
			copyStream(out.Stream(sort), r)
			_ = r.Close()
		}()
	}
	pid, end, err := n.start(argv, env, dir, files, attr)
	for _, w := range theirs {
		_ = w.Close()
	}
	if err != nil {
		copies.Wait()
		return startError(argv, err)
	}
	go func() {
		// The other side hanging up ends the command, but not what it has
		// left in the background once it has ended.
		for {
			sort, data, err := ReadFrame(in)
			if err != nil {
				n.reaper.Signal(pid, unix.SIGKILL, true)
				break
			}
			if sort == FrameStdin && stdinW != nil {
				if len(data) == 0 {
					_ = stdinW.Close()
					stdinW = nil
				} else {
					_, _ = stdinW.Write(data)
				}
			}
		}
		if stdinW != nil {
			_ = stdinW.Close()
		}
	}()
	ws := <-end
	for _, r := range mine {
		_ = r.SetReadDeadline(time.Now().Add(leftovers))
	}
	copies.Wait()
	return out.Frame(FrameExit, []byte(strconv.Itoa(reap.ExitCode(ws))))
}

// leftovers is how long the streams of a command that has ended stay open for
// what it has left in the background.
const leftovers = 200 * time.Millisecond

// copyStream copies until the stream's end, or until its deadline and then
// what was in the pipe by that time.
func copyStream(w io.Writer, r *os.File) {
	if _, err := io.Copy(w, r); !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	left := 0
	if c, err := r.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	_ = r.SetReadDeadline(time.Time{})
	_, _ = io.CopyN(w, r, int64(left))
}

// runTTY runs a command on a terminal of its own.
func (n *node) runTTY(argv, env []string, dir string, attr *syscall.SysProcAttr, size Size, in io.Reader, out *FrameWriter) error {
	ptm, tty, err := openTerminal()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = ptm.Close() }()
	resize := func(s Size) {
		if s.Cols <= 0 || s.Rows <= 0 {
			return
		}
		if c, err := ptm.SyscallConn(); err == nil {
			_ = c.Control(func(fd uintptr) {
				_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(min(s.Rows, 4096)), Col: uint16(min(s.Cols, 4096))})
			})
		}
	}
	resize(size)
	attr.Setctty, attr.Ctty = true, 0
	pid, end, err := n.start(argv, env, dir, []*os.File{tty, tty, tty}, attr)
	_ = tty.Close()
	if err != nil {
		return startError(argv, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyStream(out.Stream(FrameStdout), ptm) // ends with EIO when the last process closed it
	}()
	over := make(chan struct{})
	go func() {
		for {
			sort, data, err := ReadFrame(in)
			if err != nil {
				_ = ptm.Close()
				n.hangUp(pid, over)
				return
			}
			switch sort {
			case FrameStdin:
				_, _ = ptm.Write(data)
			case FrameResize:
				var s Size
				if json.Unmarshal(data, &s) == nil {
					resize(s)
				}
			}
		}
	}()
	ws := <-end
	close(over)
	_ = ptm.SetReadDeadline(time.Now().Add(leftovers))
	<-done
	return out.Frame(FrameExit, []byte(strconv.Itoa(reap.ExitCode(ws))))
}
