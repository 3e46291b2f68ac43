// Package serialline is the serial line of a virtual machine, which its boot,
// commands and any number of people share.
//
// The line has one record, which the emulator itself writes from the first
// byte on, and one way in. Whoever looks reads the record, so nothing is lost
// when nobody does; whoever writes does so over the one way in. From the first
// key that a person types on a console until that console is closed the line
// is that person's: what answers the device's boot says nothing meanwhile, and
// a command waits until nobody has typed for a while.
package serialline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/logfile"
)

// Record is the file of a line's record, in the node's folder.
const Record = "console.log"

// ErrTaken is for who would talk over a person.
var ErrTaken = fmt.Errorf("somebody types on its console (%w)", backends.ErrConflict)

// Line is one.
type Line struct {
	dir, socket string
	logs        *logfile.Watcher

	command sync.Mutex // held by whoever waits for an answer

	mu   sync.Mutex // held by whoever writes
	conn atomic.Pointer[net.Conn]

	who   sync.Mutex
	taken int       // consoles in which somebody has typed
	typed time.Time // when somebody did last
}

// New is the line of a node whose record is in a folder and whose way in is a
// socket. Neither need be there yet.
func New(logs *logfile.Watcher, dir, socket string) *Line {
	return &Line{dir: dir, socket: socket, logs: logs}
}

const (
	dialFor = 5 * time.Second  // a machine that has just started may take so long to listen
	stuck   = 30 * time.Second // and a device to read the next byte
	glance  = time.Millisecond // how often it is looked whether it has
	briskly = 100              // looks without such a pause: most bytes are taken at once
)

// write hands a text to the device, a byte at a time. The way in is for that
// direction only: an emulator whose output somebody takes there as well, but
// not fast enough, tries again, and what it tries again is in the record
// twice. One that cannot get rid of its output may hang up instead; then it is
// known whether it had taken the byte, and the rest goes the same way anew.
func (l *Line) write(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for over := time.Now().Add(stuck); len(p) > 0; {
		n, err := l.hand(p)
		if n > 0 {
			over = time.Now().Add(stuck)
		}
		p = p[n:]
		if err != nil && (!hungUp(err) || time.Now().After(over)) {
			return err
		}
	}
	return nil
}

func hungUp(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

// hand hands over what the device takes before the emulator hangs up.
func (l *Line) hand(p []byte) (n int, err error) {
	d := net.Dialer{Timeout: dialFor, Control: oneWay}
	c, err := d.Dial("unix", l.socket)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	l.conn.Store(&c)
	defer l.conn.Store(nil)
	raw, err := c.(*net.UnixConn).SyscallConn()
	for ; n < len(p) && err == nil; n++ {
		if _, err = c.Write(p[n : n+1]); err == nil {
			err = taken(raw)
		}
		if err != nil {
			break
		}
	}
	return n, err
}

// oneWay makes a socket take nothing, before it is connected: what came in
// between would wait to be read, and when there is no more room be tried again.
func oneWay(_, _ string, raw syscall.RawConn) (err error) {
	if cerr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RD) }); cerr != nil {
		return cerr
	}
	return err
}

// taken waits until the other end has read all that was written to it.
func taken(raw syscall.RawConn) error {
	over := time.Now().Add(stuck)
	for i := 0; ; i++ {
		var waiting, failed int
		var ierr error
		if err := raw.Control(func(fd uintptr) {
			// In this order: one that hangs up is rid of what it has not read.
			if waiting, ierr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); ierr == nil {
				failed, ierr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
			}
		}); err != nil {
			return err
		}
		switch {
		case ierr != nil:
			return ierr
		case failed != 0:
			return unix.Errno(failed)
		case waiting == 0:
			return nil
		case time.Now().After(over):
			return errors.New("the device does not read what is written to it")
		case i < briskly:
			runtime.Gosched()
		default:
			time.Sleep(glance)
		}
	}
}

// Close hangs up, if somebody is writing. Whoever writes later is let in again.
func (l *Line) Close() {
	if c := l.conn.Load(); c != nil {
		_ = (*c).Close()
	}
}

// take notes that somebody types in a console; first: not before.
func (l *Line) take(first bool) {
	l.who.Lock()
	defer l.who.Unlock()
	l.typed = time.Now()
	if first {
		l.taken++
	}
}

func (l *Line) leave() {
	l.who.Lock()
	defer l.who.Unlock()
	l.taken--
}

// isTaken reports whether a person has the line, and how long ago a key was
// typed last.
func (l *Line) isTaken() (bool, time.Duration) {
	l.who.Lock()
	defer l.who.Unlock()
	return l.taken > 0, time.Since(l.typed)
}

// history is how many lines of the record a console begins with.
const history = 50

// Console opens the line beside all others who have it open, with the end of
// the record since a place in it. It ends with ctx.
func (l *Line) Console(ctx context.Context, from int64) (backends.Console, error) {
	r, err := l.Read(ctx, logfile.Options{From: from, Lines: history, Follow: true})
	if err != nil {
		return nil, err
	}
	c := &console{ReadCloser: r, line: l}
	context.AfterFunc(ctx, c.end)
	return c, nil
}

// Read reads the record.
func (l *Line) Read(ctx context.Context, opt logfile.Options) (io.ReadCloser, error) {
	return l.logs.Open(ctx, l.dir, Record, opt)
}

// Say writes a text, unless a person has the line; see backends.Speaker. It
// does not talk over a command either.
func (l *Line) Say(text []byte) error {
	if taken, _ := l.isTaken(); taken {
		return ErrTaken
	}
	if len(text) == 0 {
		return nil
	}
	if !l.command.TryLock() {
		return errors.New("a command runs on its line")
	}
	defer l.command.Unlock()
	return l.write(text)
}

// answers are what a terminal says by itself when a device asks for its
// position, attributes, state or colours: nobody has typed them.
var answers = regexp.MustCompile(`^(?:\x1b\[[?>=]?[0-9;]*\$?[Rcnty]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\)+$`)

type console struct {
	io.ReadCloser
	line *Line

	mu          sync.Mutex
	typed, over bool
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.over && !answers.Match(p) {
		c.line.take(!c.typed)
		c.typed = true
	}
	c.mu.Unlock()
	if err := c.line.write(p); err != nil {
		return 0, errors.Join(errors.New("the serial line does not take it"), err)
	}
	return len(p), nil
}

// Close gives the line back to whoever had it.
func (c *console) Close() error {
	c.end()
	return c.ReadCloser.Close()
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.typed && !c.over {
		c.line.leave()
	}
	c.over = true
}

// Resize does nothing: a serial line knows no size.
func (c *console) Resize(backends.Size) error { return nil }
