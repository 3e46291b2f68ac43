package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/unixsock"
)

// served puts an engine behind a real socket, and says what its log says.
func served(t *testing.T, e api.Engine, l limits, group uint32) (socket string, said <-chan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := unixsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // its folder is the test's, and who connects is looked at
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, lines := make(chan error), make(chan string, 100)
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) { lines <- string(p); return len(p), nil }), nil))
	go func() { ended <- Serve(ctx, listener, e, Options{Group: group, limits: &l, Log: log}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path, lines
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// refused has a client refused with words that say so and what to do.
func refused(t *testing.T, path, why, hint string) {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err == nil {
		_ = c.Close()
	}
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeUnavailable || !strings.Contains(e.Message, why) || !strings.Contains(e.Hint, hint) {
		t.Errorf("not refused because of %q: %v", why, err)
	}
}

// admitted waits until there is room again: the engine sees a connection end
// after it has ended.
func admitted(t *testing.T, path string) *Client {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		c, err := Dial(t.Context(), path)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// as runs f as another user of a group, by what the kernel sees of the thread.
func as(t *testing.T, uid, gid int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS, 0, 0, 0}, {syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)}} {
			if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- errno
				return
			}
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A user who fills the engine with connections keeps nobody else from it, is
// told what the bound is, and may go on when some have ended.
func TestConnectionsAreBounded(t *testing.T) {
	e, _ := fuzzed(t)
	l := limitsOf(64)
	t.Run("own", func(t *testing.T) {
		path, _ := served(t, e, l, 0)
		var held []net.Conn
		for range l.own {
			held = append(held, dial(t, path))
		}
		refused(t, path, fmt.Sprintf("has %d connections to the engine, as many as one user may have", l.own), "end workbenches")
		_ = held[0].Close()
		admitted(t, path)
	})
	t.Run("members", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root becomes others")
		}
		const group, first = 4711, 54321
		path, _ := served(t, e, l, group)
		if err := os.Chmod(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // others are to come to the socket
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755); err != nil { //nolint:gosec // likewise
			t.Fatal(err)
		}
		fill := func(uid int) (held []net.Conn) {
			as(t, uid, group, func() {
				for range l.user {
					c, err := unixsock.Dial(t.Context(), path)
					if err != nil {
						t.Error(err)
						return
					}
					held = append(held, c)
				}
			})
			t.Cleanup(func() {
				for _, c := range held {
					_ = c.Close()
				}
			})
			return held
		}
		fill(first)
		as(t, first, group, func() {
			refused(t, path, fmt.Sprintf("user %d has %d connections", first, l.user), "of this user")
		})
		second := fill(first + 1) // has its own share
		as(t, first+2, group, func() {
			refused(t, path, fmt.Sprintf("the group's members have %d connections", l.others), "some of them")
		})
		c := admitted(t, path) // and the owner the whole of its own
		if _, err := c.Snapshot(t.Context()); err != nil {
			t.Error(err)
		}
		for _, c := range second {
			_ = c.Close()
		}
		as(t, first+2, group, func() { admitted(t, path) })
	})
}

// Requests that do not arrive hold no more than their user's turns, and those
// only for a time.
func TestRequestsAreBounded(t *testing.T) {
	l := limitsOf(64)
	l.ownCalls, l.turn, l.body = 2, 50*time.Millisecond, time.Hour
	e, _ := fuzzed(t)
	path, _ := served(t, e, l, 0)
	c := admitted(t, path)
	var held []net.Conn
	for range l.ownCalls {
		h := dial(t, path)
		if _, err := io.WriteString(h, "POST "+pathStats+" HTTP/1.1\r\nHost: engine\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	said := func() *api.Error {
		_, err := c.Snapshot(t.Context())
		var e *api.Error
		errors.As(err, &e)
		return e
	}
	for end := time.Now().Add(time.Minute); said() == nil; { // until both have come in
		if time.Now().After(end) {
			t.Fatal("there is always room")
		}
	}
	if e := said(); e == nil || e.Code != api.CodeUnavailable || !strings.Contains(e.Message, "2 requests of ") || e.Hint == "" {
		t.Errorf("the third is told %v", e)
	}
	_ = held[0].Close()
	for end := time.Now().Add(time.Minute); said() != nil; {
		if time.Now().After(end) {
			t.Fatal("there is no room after one has gone")
		}
	}

	l.body = 50 * time.Millisecond
	path, _ = served(t, e, l, 0)
	h := dial(t, path)
	if _, err := io.WriteString(h, "POST "+pathStats+" HTTP/1.1\r\nHost: engine\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(h); !strings.Contains(string(answer), "400 Bad Request") || !strings.Contains(string(answer), "not understood") {
		t.Errorf("a request that never arrives is told %q", answer)
	}
}

// loud is an engine whose nodes never stop to print.
type loud struct{ api.Engine }

func (loud) Logs(ctx context.Context, _, _ string, _ backends.LogOptions) (io.ReadCloser, error) {
	return printer{ctx}, nil
}

func (loud) Console(context.Context, string, string, backends.Size) (backends.Console, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return printerConsole{printer{ctx}, cancel}, nil
}

func (loud) Exec(ctx context.Context, _, _ string, req backends.ExecRequest) (backends.ExecResult, error) {
	_, err := io.Copy(req.Stdout, printer{ctx})
	return backends.ExecResult{}, err
}

type printer struct{ ctx context.Context }

func (p printer) Read(b []byte) (int, error) { return len(b), p.ctx.Err() }
func (printer) Close() error                 { return nil }

type printerConsole struct {
	printer
	cancel func()
}

func (printerConsole) Write(b []byte) (int, error) { return len(b), nil }
func (printerConsole) Resize(backends.Size) error  { return nil }
func (c printerConsole) Close() error              { c.cancel(); return nil }

// Who asks for much and reads nothing is cut off, and told why.
func TestSlowReadersAreDropped(t *testing.T) {
	l := limitsOf(64)
	l.slow = 100 * time.Millisecond
	e, _ := fuzzed(t)
	path, said := served(t, loud{e}, l, 0)
	c := admitted(t, path)
	told := func(what string, err error) {
		t.Helper()
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeLost || !strings.Contains(e.Message, "was not read for 100ms") || e.Hint == "" {
			t.Errorf("%s: told %v", what, err)
		}
	}
	dropped := func() {
		t.Helper()
		select {
		case line := <-said:
			if !strings.Contains(line, "does not read") || !strings.Contains(line, fmt.Sprintf("process=%d", os.Getpid())) {
				t.Errorf("the log says %q", line)
			}
		case <-time.After(time.Minute):
			t.Fatal("nobody is cut off")
		}
	}
	log, err := c.Logs(t.Context(), "l", "a", backends.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	dropped()
	_, err = io.Copy(io.Discard, log)
	told("logs", err)

	con, err := c.Console(t.Context(), "l", "a", backends.Size{Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = con.Close() }()
	dropped()
	_, err = io.Copy(io.Discard, con)
	told("console", err)

	_, err = c.Exec(t.Context(), "l", "a", backends.ExecRequest{Command: []string{"yes"}, Stdout: stuck(dropped)})
	told("exec", err)
	if _, err := c.Snapshot(t.Context()); err != nil {
		t.Errorf("what the client does read is not served: %v", err)
	}
}

// stuck is a screen that takes nothing until the engine has lost patience, and
// then all.
func stuck(until func()) io.Writer {
	var once sync.Once
	return writer(func(p []byte) (int, error) { once.Do(until); return len(p), nil })
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
