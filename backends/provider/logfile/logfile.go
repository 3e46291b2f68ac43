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
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Watcher tells readers of logs that there is more. There is one for all
// logs: the kernel allows a user only some hundred.
type Watcher struct {
	fs   *fsnotify.Watcher
	mu   sync.Mutex
	dirs map[string]int                    // how many listen to a folder's files
	wake map[string]map[chan struct{}]bool // by file
}

// New makes a watcher.
func New() (*Watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &Watcher{fs: fs, dirs: map[string]int{}, wake: map[string]map[chan struct{}]bool{}}
	go func() {
		for {
			select {
			case ev, ok := <-fs.Events:
				if !ok {
					return
				}
				w.Signal(ev.Name)
			case _, ok := <-fs.Errors:
				if !ok {
					return
				}
				w.mu.Lock()
				for file := range w.wake { // events were lost: let all look
					w.wakeLocked(file)
				}
				w.mu.Unlock()
			}
		}
	}()
	return w, nil
}

// Close ends it. Who reads then hears of nothing more.
func (w *Watcher) Close() error { return w.fs.Close() }

// Signal has the readers of a file look again, or those of all in a folder
// that has gone.
func (w *Watcher) Signal(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked(path)
	if w.dirs[path] == 0 {
		return
	}
	for file := range w.wake {
		if filepath.Dir(file) == path {
			w.wakeLocked(file)
		}
	}
}

func (w *Watcher) wakeLocked(file string) {
	for ch := range w.wake[file] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (w *Watcher) add(file string) (chan struct{}, error) {
	dir := filepath.Dir(file)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirs[dir] == 0 {
		if err := w.fs.Add(dir); err != nil {
			return nil, err
		}
	}
	w.dirs[dir]++
	if w.wake[file] == nil {
		w.wake[file] = map[chan struct{}]bool{}
	}
	ch := make(chan struct{}, 1)
	w.wake[file][ch] = true
	return ch, nil
}

func (w *Watcher) remove(file string, ch chan struct{}) {
	dir := filepath.Dir(file)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wake[file], ch)
	if len(w.wake[file]) == 0 {
		delete(w.wake, file)
	}
	if w.dirs[dir]--; w.dirs[dir] == 0 {
		delete(w.dirs, dir)
		_ = w.fs.Remove(dir)
	}
}

// Options say which part of a file is wanted.
type Options struct {
	From   int64 // bytes; 0 where the file is shorter by now: it was cut
	Lines  int   // the last n after that; 0 means all
	Follow bool  // go on with what comes, until ctx ends or the folder is gone
	// Gone says, where the folder is others' too, that a file that is not
	// there never will be. Signal makes readers ask.
	Gone func() bool
	// Unwritten, where not nil, is what the file will begin with, for as long
	// as it is not there. Signal makes readers ask.
	Unwritten func() string
}

// Open opens a file, which need not be there yet, in a folder, which must.
func (w *Watcher) Open(ctx context.Context, dir, name string, opt Options) (io.ReadCloser, error) {
	l := &logReader{file: filepath.Join(dir, name), gone: opt.Gone, unwritten: opt.Unwritten}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if opt.Follow {
		var err error
		if l.wake, err = w.add(l.file); err != nil {
			l.cancel()
			return nil, err
		}
		l.release = func() { w.remove(l.file, l.wake) }
	}
	if err := l.open(); err != nil {
		_ = l.Close()
		return nil, err
	}
	size, err := l.size()
	if err == nil && size >= opt.From {
		l.at = opt.From
	}
	if err == nil && opt.Lines > 0 {
		l.at, err = lastLines(l.text(), size, l.at, opt.Lines)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// logReader reads a log and, where it follows, what is added, also after the
// file was put aside for a new one.
type logReader struct {
	ctx     context.Context
	cancel  func()
	file    string
	gone    func() bool
	f       *os.File // nil while there is none
	head    string   // what is read then
	at      int64
	wake    chan struct{} // nil: it does not follow
	woken   bool
	release func()
	once    sync.Once

	unwritten func() string
}

// text is what can be read by now.
func (l *logReader) text() io.ReaderAt {
	if l.f != nil {
		return l.f
	}
	return strings.NewReader(l.head)
}

func (l *logReader) size() (int64, error) {
	if l.f == nil {
		return int64(len(l.head)), nil
	}
	info, err := l.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (l *logReader) ask() {
	if l.unwritten != nil {
		l.head = l.unwritten()
	}
}

func (l *logReader) open() error {
	f, err := os.Open(l.file)
	if errors.Is(err, os.ErrNotExist) {
		l.ask()
		return nil
	}
	if err != nil {
		return err
	}
	l.f = f
	return nil
}

func (l *logReader) Read(p []byte) (int, error) {
	for {
		if l.ctx.Err() != nil {
			return 0, io.EOF
		}
		n, err := l.text().ReadAt(p, l.at)
		l.at += int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if l.wake == nil {
			return 0, io.EOF
		}
		// To ask about what is not there costs more than to look at a file.
		if l.f != nil || l.woken {
			next, err := l.moved()
			if err != nil {
				return 0, io.EOF // the node is gone
			}
			if next {
				continue
			}
		}
		select {
		case <-l.wake:
			l.woken = true
		case <-l.ctx.Done():
			return 0, io.EOF
		}
	}
}

// moved looks whether the log is another file by now, or was cut short.
func (l *logReader) moved() (bool, error) {
	now, err := os.Stat(l.file)
	if err != nil {
		if _, derr := os.Stat(filepath.Dir(l.file)); derr != nil || l.gone != nil && l.gone() {
			return false, err
		}
		l.ask()
		return l.f == nil && int64(len(l.head)) > l.at, nil // not yet there
	}
	if l.f == nil && now.Size() < l.at {
		return false, nil // what was read already is being written
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
		l.at = 0
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
func lastLines(f io.ReaderAt, end, from int64, n int) (int64, error) {
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
