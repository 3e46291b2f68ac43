package plain

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var attacks = []struct{ in, text, screen, written string }{
	{"plain", "plain", "plain", "plain"},
	{"\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m", "red"},
	{"\x1b]52;c;ZXZpbA==\x07x", "x", "x", "x"},
	{"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link", "link", "link"},
	{"\u009d52;c;ZXZpbA==\u009cx", "x", "x", "x"},
	{"\u009b2Jx", "x", "x", "x"},
	{"\u009b31mx", "x", "\x1b[31mx", "x"},
	{"\x1bP+q544e\x1b\\x", "x", "x", "x"},
	{"\x1bP\x1b]52;c;x\x07\x1b\\x", "x", "x", "x"}, // one within another ends with the first
	{"\x1b_Gf=100;AAAA\x1b\\x", "x", "x", "x"},
	{"\x1b[?1049h\x1b[>0c\x1b[6nx", "x", "x", "x"},
	{"\x1b(0x\x1bcy\x1b#8z", "xyz", "xyz", "xyz"},
	{"\x1b[31\x1b[2Jx", "x", "x", "x"},
	{"\x1b[?31mx\x1b[>4mx", "xx", "xx", "xx"},
	{"a\x9b31mb", "a31mb", "a\uFFFD31mb", "a\uFFFD31mb"}, // a C1 byte is no UTF-8
	{"\u202egnp.exe\u202c\u2066x\u061c", "gnp.exex", "gnp.exex", "gnp.exex"},
	{"a\u200bb\ufeff", "ab", "a\u200bb\ufeff", "ab"},
	{"a\u2028b", "ab", "ab", "ab"},
	{"a\x00\x07\x08\x0e\x7fb", "ab", "ab", "ab"},
	{"never ends \x1b]0;title\nnext", "never ends  next", "never ends \nnext", "never ends \nnext"},
	{"good\rbad", "good bad", "good\nbad", "good\nbad"},
	{"line\r\r\nnext\ttab", "line next tab", "line\nnext tab", "line\nnext\ttab"},
	{"grüße 日本 👩‍👩", "grüße 日本 👩👩", "grüße 日本 👩‍👩", "grüße 日本 👩👩"},
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		if got := Text(a.in); got != a.text {
			t.Errorf("Text(%q) = %q, want %q", a.in, got, a.text)
		}
		if got := Screen(a.in); got != a.screen {
			t.Errorf("Screen(%q) = %q, want %q", a.in, got, a.screen)
		}
		// At once, and a byte at a time.
		for _, step := range []int{len(a.in), 1} {
			var b bytes.Buffer
			w := NewWriter(&b)
			for s := a.in; s != ""; s = s[step:] {
				if n, err := w.Write([]byte(s[:step])); n != step || err != nil {
					t.Fatal(n, err)
				}
			}
			if b.String() != a.written {
				t.Errorf("Writer %q by %d = %q, want %q", a.in, step, b.String(), a.written)
			}
		}
	}
}

// A program reads the very words; the terminal sees none that it acts on.
func TestJSON(t *testing.T) {
	in := "a\u009b2J\u202e\x7f\x1b[2Jgrüße 👩\u200d👩 \U000e0041"
	enc, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := JSON(enc)
	var back string
	if err := json.Unmarshal(out, &back); err != nil || back != in {
		t.Errorf("%s reads as %q: %v", out, back, err)
	}
	if acts(string(out)) {
		t.Errorf("%q", out)
	}
	var b bytes.Buffer
	if _, err := NewWriter(&b).Write(out); err != nil || b.String() != string(out) {
		t.Errorf("the verbs' output changes it to %q: %v", b.String(), err)
	}
}

// acts reports whether a terminal would do anything on hearing s but show it.
func acts(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !visible(r) && r != '\n' && r != '\t' })
}

func FuzzPlain(f *testing.F) {
	for _, a := range attacks {
		f.Add([]byte(a.in), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if s := Text(string(data)); acts(s) || strings.ContainsAny(s, "\n\t") || Text(s) != s {
			t.Fatalf("Text(%q) = %q", data, s)
		}
		s := Screen(string(data))
		rest := s
		for i := strings.IndexByte(rest, 0x1b); i >= 0; i = strings.IndexByte(rest, 0x1b) {
			n := sgrLen(rest[i:])
			if n == 0 {
				t.Fatalf("Screen(%q) = %q", data, s)
			}
			rest = rest[:i] + rest[i+n:]
		}
		if acts(rest) || !isScreen(s) {
			t.Fatalf("Screen(%q) = %q", data, s)
		}
		var whole, parts bytes.Buffer
		_, _ = NewWriter(&whole).Write(data)
		w := NewWriter(&parts)
		cut = min(max(cut, 0), len(data))
		_, _ = w.Write(data[:cut])
		_, _ = w.Write(data[cut:])
		if acts(whole.String()) || whole.String() != parts.String() {
			t.Fatalf("Writer of %q: %q, cut at %d %q", data, whole.String(), cut, parts.String())
		}
	})
}

// A frame of the screen costs little to look through.
func BenchmarkScreen(b *testing.B) {
	line := strings.Repeat("\x1b[38;5;39m│\x1b[0m some words ", 10) + "\n"
	frame := strings.Repeat(line, 50)
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		Screen(frame)
	}
}
