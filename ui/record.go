package ui

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// recording writes what a console shows into a file, line by line: words
// alone, so that reading it does nothing to a terminal.
type recording struct {
	file *os.File
	rest []byte // of a line that has not ended
}

// maxLine is how much of a line that never ends is held back, in bytes.
const maxLine = 64 << 10

// recordPrompt begins a recording, or ends the one that runs.
func (m *Model) recordPrompt(c *console) tea.Cmd {
	if c.recorded() != "" {
		return m.endRecording(c)
	}
	name := c.node + "-" + time.Now().Format("20060102-150405") + ".log"
	m.push(&prompt{title: "record " + c.node, text: "Everything that the console shows from now on is written to this file, which must not be there yet.", in: newInput(name), low: true,
		done: func(_ *Model, v string) tea.Cmd {
			path, err := filepath.Abs(expand(strings.TrimSpace(v)))
			return func() tea.Msg {
				return command(func() resultMsg {
					if err == nil {
						err = c.record(path)
					}
					return resultMsg{what: "record", err: err, say: "recording to " + tilde(path) + " until " + m.opt.ConsoleKey + " r"}
				})
			}
		}})
	return nil
}

func (m *Model) endRecording(c *console) tea.Cmd {
	return func() tea.Msg {
		return command(func() resultMsg {
			name, err := c.endRecord()
			return resultMsg{what: "record", err: err, say: "recorded to " + tilde(name)}
		})
	}
}

func (c *console) record(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	c.rec.Lock()
	defer c.rec.Unlock()
	c.recording = &recording{file: f}
	return nil
}

// recorded is the file that is recorded to, empty without one.
func (c *console) recorded() string {
	c.rec.Lock()
	defer c.rec.Unlock()
	if c.recording == nil {
		return ""
	}
	return c.recording.file.Name()
}

// endRecord writes what is left and closes the file, whose name it returns.
func (c *console) endRecord() (string, error) {
	c.rec.Lock()
	defer c.rec.Unlock()
	r := c.recording
	if r == nil {
		return "", nil
	}
	c.recording = nil
	err := r.line(r.rest)
	if cerr := r.file.Close(); err == nil {
		err = cerr
	}
	return r.file.Name(), err
}

// write takes in what the device sent.
func (r *recording) write(b []byte) error {
	r.rest = append(r.rest, b...)
	for {
		i := slices.Index(r.rest, '\n')
		if i < 0 && len(r.rest) < maxLine {
			return nil
		}
		if i < 0 {
			i = len(r.rest) - 1
		}
		if err := r.line(r.rest[:i+1]); err != nil {
			return err
		}
		r.rest = append(r.rest[:0], r.rest[i+1:]...)
	}
}

// line writes one line: what was typed over or taken back is left out.
func (r *recording) line(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	text := strings.TrimRight(string(b), "\r\n")
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	for i := strings.IndexByte(text, '\b'); i >= 0; i = strings.IndexByte(text, '\b') {
		_, size := utf8.DecodeLastRuneInString(text[:i])
		text = text[:i-size] + text[i+1:]
	}
	_, err := r.file.WriteString(clean(text) + "\n")
	return err
}

// heard hands what the device sent to the recording. One that cannot be
// written ends, and that is told.
func (c *console) heard(b []byte) {
	c.rec.Lock()
	var err error
	if c.recording != nil {
		if err = c.recording.write(b); err != nil {
			_ = c.recording.file.Close()
			c.recording = nil
		}
	}
	c.rec.Unlock()
	if err != nil {
		c.send(resultMsg{what: "the recording has ended", err: err})
	}
}
