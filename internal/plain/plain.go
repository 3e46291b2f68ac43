// Package plain keeps what devices, files and engines say from doing anything
// to the user's terminal: it is the one place that knows what may reach it.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes one line of whatever a device or a file says: escape sequences,
// control characters and characters that cannot be seen are gone, a tab or the
// end of a line is a space.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	m := machine{flat: true, out: make([]byte, 0, len(s))}
	m.feed(s)
	return string(m.out)
}

// Screen lets colours and the like through (SGR sequences) and the ends of
// lines, and nothing else that a terminal acts on. It is for what was drawn
// by us around words and consoles of others.
func Screen(s string) string {
	if isScreen(s) {
		return s
	}
	m := machine{sgr: true, out: make([]byte, 0, len(s))}
	m.feed(s)
	return string(m.out)
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// isScreen is the fast way for what has nothing to take out, which is nearly
// every frame.
func isScreen(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0x1b:
			n := sgrLen(s[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		case c < 0x20 && c != '\n', c == 0x7f:
			return false
		case c < utf8.RuneSelf:
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || !visible(r) {
				return false
			}
			i += n - 1
		}
	}
	return true
}

// sgrLen is the length of the SGR sequence that s begins with, or 0.
func sgrLen(s string) int {
	if len(s) < 3 || s[1] != '[' {
		return 0
	}
	for i := 2; i < len(s) && i < maxSGR; i++ {
		switch c := s[i]; {
		case c == 'm':
			return i + 1
		case c < '0' || c > ';':
			return 0
		}
	}
	return 0
}

// maxSGR bounds a sequence that is let through, in bytes.
const maxSGR = 128

// visible reports whether a rune does nothing but show: no C0 or C1 control,
// no end of a line of Unicode's, nothing that turns the direction of text.
func visible(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return false
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return false
	}
	return true
}

type state int

const (
	ground  state = iota
	escape        // after ESC
	control       // CSI: until its final byte
	text          // OSC, DCS, SOS, PM, APC: until ST or BEL
	textEsc       // ESC in one of these
)

// machine follows a stream the way a terminal does, over any borders of
// reads, and keeps what may be shown. Its memory does not grow with the input.
type machine struct {
	flat  bool // one line: tabs and ends of lines become spaces
	sgr   bool // SGR passes, and so does what has no width, which letters are made of
	state state
	seq   []byte // of a control sequence, while sgr
	cr    bool   // a carriage return waits for what follows it
	part  []byte // the beginning of a rune
	out   []byte
}

func (m *machine) feed(s string) {
	if len(m.part) > 0 {
		s = string(m.part) + s
		m.part = m.part[:0]
	}
	for len(s) > 0 {
		if m.state == ground && !m.cr {
			n := 0
			for n < len(s) && s[n] >= 0x20 && s[n] < 0x7f { // nearly all there is
				n++
			}
			if m.out, s = append(m.out, s[:n]...), s[n:]; s == "" {
				return
			}
		}
		r, n := rune(s[0]), 1
		if r >= utf8.RuneSelf {
			if r, n = utf8.DecodeRuneInString(s); r == utf8.RuneError && n == 1 && !utf8.FullRuneInString(s) {
				m.part = append(m.part, s...)
				return
			}
		}
		m.rune(r, n == 1 && r == utf8.RuneError)
		s = s[n:]
	}
}

func (m *machine) rune(r rune, broken bool) {
	// Nothing goes on beyond the end of a line: a sequence that never ends
	// must not hide the rest of a log.
	if r == '\n' || r == '\r' {
		m.state = ground
	}
	switch m.state {
	case escape:
		m.escaped(r)
		return
	case control:
		m.controlled(r)
		return
	case text, textEsc:
		switch {
		case r == 0x07, r == 0x9c, r == 0x18, r == 0x1a, r == '\\' && m.state == textEsc:
			m.state = ground
		case m.state == textEsc && r != 0x1b: // another sequence, which ends it, too
			m.escaped(r)
		case r == 0x1b:
			m.state = textEsc
		}
		return
	}
	switch r {
	case 0x1b:
		m.state = escape
	case 0x9b:
		m.state, m.seq = control, m.seq[:0]
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		m.state = text
	case '\r':
		m.cr = true
	case '\n':
		m.cr = false
		m.put('\n')
	case '\t':
		m.put('\t')
	default:
		if broken && m.flat || !visible(r) || !m.sgr && unicode.Is(unicode.Cf, r) {
			return
		}
		m.put(r)
	}
}

func (m *machine) escaped(r rune) {
	switch {
	case r == '[':
		m.state, m.seq = control, m.seq[:0]
	case strings.ContainsRune("]PX^_", r):
		m.state = text
	case r == 0x1b, r >= 0x20 && r < 0x30: // once more, or an intermediate byte
		m.state = escape
	default:
		m.state = ground
	}
}

func (m *machine) controlled(r rune) {
	switch {
	case r == 0x1b:
		m.state = escape
	case r >= 0x40 && r < 0x7f:
		m.state = ground
		if m.sgr && r == 'm' {
			if seq := "\x1b[" + string(m.seq) + "m"; sgrLen(seq) == len(seq) {
				m.out = append(m.out, seq...)
			}
		}
	case r < 0x20 || r >= 0x7f:
		m.state = ground
	case len(m.seq) < maxSGR:
		m.seq = append(m.seq, byte(r))
	}
}

// put keeps a rune. A carriage return before anything but the end of the line
// would have it written over what is there: it ends the line instead.
func (m *machine) put(r rune) {
	if m.cr {
		m.cr = false
		m.put('\n')
	}
	switch {
	case m.flat && (r == '\n' || r == '\t'):
		r = ' '
	case m.sgr && r == '\t':
		r = ' '
	}
	m.out = utf8.AppendRune(m.out, r)
}
