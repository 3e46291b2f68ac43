// Package logfile reads files that grow: from some place on, the last lines of
// them, and what is added while somebody reads.
package logfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Watcher tells readers of logs that there is more. There is one for all
// logs: the kernel allows a user only some hundred.
type Watcher struct {
	fs   *fsnotify.Watcher
	mu   sync.Mutex
	wake map[string]map[chan struct{}]bool // by folder
}

// New makes a watcher.
func New() (*Watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &Watcher{fs: fs, wake: map[string]map[chan struct{}]bool{}}
	go func() {
		for {
			select {
			case ev, ok := <-fs.Events:
				if !ok {
					return
				}
				w.signal(filepath.Dir(ev.Name))
				w.signal(ev.Name) // the folder itself went
			case _, ok := <-fs.Errors:
				if !ok {
					return
				}
				w.mu.Lock()
				for dir := range w.wake { // events were lost: let all look
					w.wakeLocked(dir)
				}
				w.mu.Unlock()
			}
		}
	}()
	return w, nil
}

// Close ends it. Who reads then hears of nothing more.
func (w *Watcher) Close() error { return w.fs.Close() }

func (w *Watcher) signal(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked(dir)
}

func (w *Watcher) wakeLocked(dir string) {
	for ch := range w.wake[dir] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (w *Watcher) add(dir string) (chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake[dir] == nil {
		if err := w.fs.Add(dir); err != nil {
			return nil, err
		}
		w.wake[dir] = map[chan struct{}]bool{}
	}
	ch := make(chan struct{}, 1)
	w.wake[dir][ch] = true
	return ch, nil
}

func (w *Watcher) remove(dir string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wake[dir], ch)
	if len(w.wake[dir]) == 0 {
		delete(w.wake, dir)
		_ = w.fs.Remove(dir)
	}
}

// Options say which part of a file is wanted.
type Options struct {
	From   int64 // bytes; 0 where the file is shorter by now: it was cut
	Lines  int   // the last n after that; 0 means all
	Follow bool  // go on with what comes, until ctx ends or the folder is gone
}

// Open opens a file, which need not be there yet, in a folder, which must.
func (w *Watcher) Open(ctx context.Context, dir, name string, opt Options) (io.ReadCloser, error) {
	l := &logReader{dir: dir, name: name}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if opt.Follow {
		var err error
		if l.wake, err = w.add(dir); err != nil {
			l.cancel()
			return nil, err
		}
		l.release = func() { w.remove(dir, l.wake) }
	}
	if err := l.open(); err != nil {
		_ = l.Close()
		return nil, err
	}
	if l.f != nil {
		if info, err := l.f.Stat(); err == nil && info.Size() >= opt.From {
			l.at = opt.From
		}
	}
	if opt.Lines > 0 {
		var err error
		if l.at, err = lastLines(l.f, l.at, opt.Lines); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	return l, nil
}

// logReader reads a log and, where it follows, what is added, also after the
// file was put aside for a new one.
type logReader struct {
	ctx     context.Context
	cancel  func()
	dir     string
	name    string
	f       *os.File // nil while the node has never started
	at      int64
	wake    chan struct{} // nil: it does not follow
	release func()
	once    sync.Once
}

func (l *logReader) open() error {
	f, err := os.Open(filepath.Join(l.dir, l.name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.f, l.at = f, 0
	return nil
}

func (l *logReader) Read(p []byte) (int, error) {
	for {
		if l.ctx.Err() != nil {
			return 0, io.EOF
		}
		if l.f != nil {
			n, err := l.f.ReadAt(p, l.at)
			l.at += int64(n)
			if n > 0 {
				return n, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
		}
		if l.wake == nil {
			return 0, io.EOF
		}
		next, err := l.moved()
		if err != nil {
			return 0, io.EOF // the node is gone
		}
		if next {
			continue
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return 0, io.EOF
		}
	}
}

// moved looks whether the log is another file by now, or was cut short.
func (l *logReader) moved() (bool, error) {
	if _, err := os.Stat(l.dir); err != nil {
		return false, err
	}
	now, err := os.Stat(filepath.Join(l.dir, l.name))
	if err != nil {
		return false, nil //nolint:nilerr // not yet there
	}
	if l.f != nil {
		old, err := l.f.Stat()
		if err != nil {
			return false, err
		}
		if os.SameFile(old, now) {
			if now.Size() < l.at {
				l.at = 0
				return true, nil
			}
			return now.Size() > l.at, nil
		}
		if old.Size() > l.at { // the rest of it, before the one that took its place
			return true, nil
		}
		_ = l.f.Close()
	}
	return true, l.open()
}

func (l *logReader) Close() error {
	l.once.Do(func() {
		l.cancel()
		if l.release != nil {
			l.release()
		}
	})
	return nil // the file itself goes with the reader, which may be reading
}

// lastLines finds where the last n lines after from begin.
func lastLines(f *os.File, from int64, n int) (int64, error) {
	if f == nil {
		return 0, nil
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := st.Size()
	buf := make([]byte, 32<<10)
	for pos, lines := end, 0; pos > from; {
		k := min(int64(len(buf)), pos-from)
		pos -= k
		if _, err := f.ReadAt(buf[:k], pos); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		chunk := buf[:k]
		for i := bytes.LastIndexByte(chunk, '\n'); i >= 0; i = bytes.LastIndexByte(chunk[:i], '\n') {
			if pos+int64(i) == end-1 {
				continue // the end of the last line begins none
			}
			if lines++; lines == n {
				return pos + int64(i) + 1, nil
			}
		}
	}
	return from, nil
}
