package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

const screenW, screenH = 120, 40

// screen is the workbench on a terminal that answers nothing.
type screen struct {
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}

	mu    sync.Mutex
	text  []byte
	total int
	last  time.Time
	more  chan struct{}
}

// openScreen starts the workbench and waits until it has drawn the text.
func (b *bench) openScreen(file, text string) (*screen, time.Duration, error) {
	s := &screen{cmd: b.command(file), done: make(chan struct{}), more: make(chan struct{}, 1)}
	began := time.Now()
	tty, err := pty.StartWithSize(s.cmd, &pty.Winsize{Cols: screenW, Rows: screenH})
	if err != nil {
		return nil, 0, err
	}
	s.tty = tty
	go s.read()
	b.cleanup = append(b.cleanup, s.close)
	ok := s.await(func() bool { return bytes.Contains(s.text, []byte(text)) && bytes.Contains(s.text, []byte("n1")) })
	if !ok {
		return nil, 0, errors.New("the workbench did not show " + text)
	}
	return s, time.Since(began), nil
}

func (s *screen) read() {
	defer close(s.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.tty.Read(buf)
		s.mu.Lock()
		s.text = append(s.text, buf[:n]...)
		s.total += n
		s.last = time.Now()
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// await looks whenever something was written.
func (s *screen) await(f func() bool) bool {
	late := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		ok := f()
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-s.more:
		case <-s.done:
			return false
		case <-late:
			return false
		}
	}
}

// quiet waits until nothing has been written for a while.
func (s *screen) quiet(d time.Duration) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		s.mu.Lock()
		wait := d - time.Since(s.last)
		s.mu.Unlock()
		if wait <= 0 {
			return
		}
		time.Sleep(wait)
	}
}

// answer presses a key and waits for the first byte of what follows.
func (s *screen) answer(key string) (time.Duration, error) {
	s.quiet(50 * time.Millisecond)
	before := s.bytes()
	began := time.Now()
	if _, err := s.tty.WriteString(key); err != nil {
		return 0, err
	}
	if !s.await(func() bool { return s.total > before }) {
		return 0, errors.New("no answer to the key " + key)
	}
	return time.Since(began), nil
}

func (s *screen) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *screen) cells() int { return screenW * screenH }

// close leaves the workbench as a user does.
func (s *screen) close() {
	select {
	case <-s.done:
	default:
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	_ = s.cmd.Wait()
	_ = s.tty.Close()
}

func median(all []time.Duration) time.Duration {
	s := slices.Clone(all)
	slices.Sort(s)
	return s[len(s)/2]
}
