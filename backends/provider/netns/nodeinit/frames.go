package nodeinit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The sorts of frames on a connection to an init. After one line of JSON, the
// Request, everything both ways is frames.
const (
	FrameStdin  byte = iota + 1 // an empty one ends the input
	FrameStdout                 // also the output of a terminal
	FrameStderr
	FrameExit   // exit code as decimal text
	FrameError  // why the command did not start
	FrameResize // JSON Size
)

const maxFrame = 1 << 20

// Request is what a connection is about.
type Request struct {
	Command []string `json:"command,omitempty"` // empty: the kind's console
	Env     []string `json:"env,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	User    string   `json:"user,omitempty"`
	TTY     bool     `json:"tty,omitempty"`
	Stdin   bool     `json:"stdin,omitempty"`
	Size    Size     `json:"size,omitzero"`
}

// Size is that of a terminal, in cells.
type Size struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// FrameWriter writes whole frames from any goroutine.
type FrameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewFrameWriter writes frames to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Frame writes one frame.
func (f *FrameWriter) Frame(sort byte, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), maxFrame)
		head := binary.BigEndian.AppendUint32([]byte{sort}, uint32(n))
		if _, err := f.w.Write(append(head, data[:n]...)); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// JSON writes a frame with a value in it.
func (f *FrameWriter) JSON(sort byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.Frame(sort, data)
}

// Stream is an io.Writer whose writes become frames of one sort.
func (f *FrameWriter) Stream(sort byte) io.Writer { return stream{f, sort} }

type stream struct {
	f    *FrameWriter
	sort byte
}

func (s stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.f.Frame(s.sort, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadFrame reads one frame.
func ReadFrame(r io.Reader) (sort byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	data = make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return head[0], data, nil
}
