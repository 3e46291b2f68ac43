package topology

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// expanded is a file's text with its variables replaced, and the way back
// from places in it to places in the file.
type expanded struct {
	text     string
	in       string // the text before
	inVain   int    // bytes looked at for references that were none
	unset    []unset
	segments []segment // by out
	outLines []int     // offset of each line's beginning in text
	inLines  []int     // the same in the file
}

// segment says that text from out on stems from the file's offset in. Within
// a replaced variable every place is the variable's own beginning.
type segment struct {
	out, in int
	fixed   bool
}

type unset struct {
	name string
	at   int // offset in text
}

// expand replaces $VAR, ${VAR}, ${VAR:-default}, ${VAR-default},
// ${VAR:=default}, ${VAR=default}, ${VAR:+other} and ${VAR+other} before the
// text is read as YAML, as containerlab does; $$VAR becomes $VAR. A default may hold further variables. A variable that is
// not set and has no default stays as it is written, and so does everything
// in a comment.
func expand(in string, env func(string) (string, bool)) *expanded {
	e := &expanded{in: in}
	var out strings.Builder
	lineStart, comment := true, false
	e.segments = append(e.segments, segment{})
	for i := 0; i < len(in); {
		c := in[i]
		switch {
		case c == '\n':
			lineStart, comment = true, false
		case c == '#' && (lineStart || i > 0 && (in[i-1] == ' ' || in[i-1] == '\t')):
			comment = true
		case c != ' ' && c != '\t':
			lineStart = false
		}
		if n := escaped(in[i:]); n > 0 && !comment { // a $ for later: $$VAR and $${VAR} lose one
			e.segments = append(e.segments, segment{out: out.Len(), in: i + 1})
			out.WriteString(in[i+1 : i+n])
			i += n
			continue
		}
		if c != '$' || comment {
			out.WriteByte(c)
			i++
			continue
		}
		name, value, n, ok, _ := e.variable(in[i:], env, 0)
		if !ok {
			if name != "" && strings.HasPrefix(in[i:], "${") {
				e.unset = append(e.unset, unset{name, out.Len()})
			}
			out.WriteByte(c)
			i++
			continue
		}
		e.segments = append(e.segments, segment{out: out.Len(), in: i, fixed: true})
		out.WriteString(value)
		i += n
		e.segments = append(e.segments, segment{out: out.Len(), in: i})
	}
	e.text = out.String()
	e.outLines, e.inLines = lineOffsets(e.text), lineOffsets(in)
	return e
}

// escaped is the length of $$VAR or of the beginning of $${VAR}, and 0 for
// two dollars that stand for themselves.
func escaped(s string) int {
	if !strings.HasPrefix(s, "$$") {
		return 0
	}
	n := 2
	if strings.HasPrefix(s[n:], "{") {
		return n + 1
	}
	for n < len(s) && nameByte(s[n], n == 2) {
		n++
	}
	if n == 2 {
		return 0
	}
	return n
}

// Limits on references: how deep defaults nest, how long one is, and how many
// bytes are looked at in vain for all of them.
const maxNesting, maxReference, maxInVain = 20, 4096, 32 << 20

// variable reads one reference at the beginning of s and returns its value
// and the length of what it was written as. With ok false nothing is replaced;
// broken says that a closing bracket is missing, for every reference around
// it, too.
func (e *expanded) variable(s string, env func(string) (string, bool), depth int) (name, value string, n int, ok, broken bool) {
	if len(s) < 2 {
		return "", "", 0, false, false
	}
	if s[1] != '{' {
		n = 1
		for n < len(s) && nameByte(s[n], n == 1) {
			n++
		}
		name = s[1:n]
		if name == "" {
			return "", "", 0, false, false
		}
		value, ok = env(name)
		return name, value, n, ok, false
	}
	if depth > maxNesting || e.inVain > maxInVain {
		return "", "", 0, false, true
	}
	s = s[:min(len(s), maxReference)]
	i := 2
	for i < len(s) && nameByte(s[i], i == 2) {
		i++
	}
	name = s[2:i]
	if name == "" || i >= len(s) {
		return "", "", 0, false, false
	}
	if s[i] == '}' {
		value, ok = env(name)
		return name, value, i + 1, ok, false
	}
	emptyCounts := true // as unset
	if s[i] == ':' {
		i++
	} else {
		emptyCounts = false
	}
	if i >= len(s) || (s[i] != '-' && s[i] != '=' && s[i] != '+') {
		return "", "", 0, false, false
	}
	other := s[i] == '+' // the value counts where the variable is set
	i++
	var def strings.Builder
	for i < len(s) && s[i] != '}' && s[i] != '\n' {
		if s[i] == '$' {
			if n := escaped(s[i:]); n > 0 {
				def.WriteString(s[i+1 : i+n])
				i += n
				continue
			}
			_, v, k, ok, broken := e.variable(s[i:], env, depth+1)
			if broken {
				return "", "", 0, false, true
			}
			if ok {
				def.WriteString(v)
				i += k
				continue
			}
		}
		def.WriteByte(s[i])
		i++
	}
	if i >= len(s) || s[i] == '\n' {
		e.inVain += i
		return "", "", 0, false, true
	}
	value, ok = env(name)
	switch set := ok && (!emptyCounts || value != ""); {
	case other && !set:
		value = ""
	case other, !set:
		value = def.String()
	}
	return name, value, i + 1, true, false
}

func nameByte(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || !first && c >= '0' && c <= '9'
}

func lineOffsets(s string) []int {
	lines := []int{0}
	for i := range len(s) {
		if s[i] == '\n' {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// place turns a line and column of the expanded text into those of the file.
// Columns count characters from 1, as the YAML library's do.
func (e *expanded) place(line, column int) (int, int) {
	if line < 1 || line > len(e.outLines) {
		return max(line, 1), max(column, 1)
	}
	out := byteAt(e.text, e.outLines[line-1], column)
	i := sort.Search(len(e.segments), func(i int) bool { return e.segments[i].out > out }) - 1
	s := e.segments[max(i, 0)]
	in := s.in
	if !s.fixed {
		in += out - s.out
	}
	return position(e.in, e.inLines, in)
}

// byteAt is the offset of a line's character, the line's last one at most.
func byteAt(text string, line, column int) int {
	at := line
	for range column - 1 {
		if at >= len(text) || text[at] == '\n' {
			break
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at
}

// position is the line and column of an offset.
func position(text string, lines []int, at int) (line, column int) {
	line = max(sort.Search(len(lines), func(i int) bool { return lines[i] > at }), 1)
	at = min(at, len(text))
	return line, utf8.RuneCountInString(text[min(lines[line-1], at):at]) + 1
}
