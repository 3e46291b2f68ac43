package plain

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Writer passes on what may be shown, with the ends of lines and tabs, to
// another writer. It may be used from several goroutines.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
	m  machine
}

// NewWriter makes one before w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write implements io.Writer: what was taken out counts as written.
func (p *Writer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m.out = p.m.out[:0]
	p.m.feed(string(b))
	if len(p.m.out) > 0 {
		if _, err := p.w.Write(p.m.out); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// JSON writes what does not show in JSON text as escapes, so that a program
// reads the same and a person's terminal hears nothing that it acts on.
func JSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, hidden) {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if hidden(r) {
			for _, u := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, "\\u%04x", u)
			}
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

// hidden is what can be in JSON text and does not show; the encoder has
// escaped the others.
func hidden(r rune) bool { return r != '\n' && (!visible(r) || unicode.Is(unicode.Cf, r)) }
