package ui

import (
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"archetype/internal/plain"
	"archetype/themes"
)

func (m *Model) paint(r themes.Role, s string) string { return m.theme.Style(r).Render(s) }

// fit makes a line exactly w cells wide.
func (m *Model) fit(s string, w int) string {
	if w <= 0 {
		return ""
	}
	n := ansi.StringWidth(s)
	if n > w {
		return ansi.Truncate(s, w, m.glyphs.More)
	}
	return s + strings.Repeat(" ", w-n)
}

// fitName is fit for a name, which loses its middle where it is too long: names
// that are alike often differ at their end.
func (m *Model) fitName(s string, w int) string {
	n := ansi.StringWidth(s)
	tail := (w - ansi.StringWidth(m.glyphs.More)) / 2
	if n <= w || tail < 2 {
		return m.fit(s, w)
	}
	head := w - ansi.StringWidth(m.glyphs.More) - tail
	return m.fit(ansi.Truncate(s, head, "")+m.glyphs.More+ansi.TruncateLeft(s, n-tail, ""), w)
}

// fitEnd is fit for an end of a link, which keeps its interface.
func (m *Model) fitEnd(end string, w int) string {
	node, iface, ok := strings.Cut(end, ":")
	room := w - ansi.StringWidth(iface) - 1
	if !ok || room < 6 || ansi.StringWidth(end) <= w {
		return m.fitName(end, w)
	}
	return m.fitName(node, room) + ":" + iface
}

// wrapped breaks text into lines of at most w cells, between words where it can.
func wrapped(text string, w int) []string {
	return strings.Split(ansi.Hardwrap(ansi.Wordwrap(text, max(1, w), ""), max(1, w), true), "\n")
}

// clean keeps what a node says from doing anything to the terminal.
func clean(s string) string { return plain.Text(s) }

// highlight marks where a line has the text, whatever its case.
func (m *Model) highlight(line, text string) string {
	plain := ansi.Strip(line)
	low, find := strings.ToLower(plain), strings.ToLower(text)
	if find == "" || len(low) != len(plain) || !strings.Contains(low, find) {
		return line
	}
	var b strings.Builder
	for {
		i := strings.Index(low, find)
		if i < 0 {
			b.WriteString(plain)
			return b.String()
		}
		b.WriteString(plain[:i] + m.paint(themes.Selection, plain[i:i+len(find)]))
		plain, low = plain[i+len(find):], low[i+len(find):]
	}
}

var sgr = regexp.MustCompile("\x1b\\[([0-9;:]*)m")

// uncolour keeps bold, underlined and the like of a line, and drops colours.
func uncolour(line string) string {
	return sgr.ReplaceAllStringFunc(line, func(seq string) string {
		fields := strings.Split(seq[2:len(seq)-1], ";")
		var keep []string
		for i := 0; i < len(fields); i++ {
			f := fields[i]
			switch {
			case f == "38" || f == "48" || f == "58":
				if i+1 < len(fields) && fields[i+1] == "5" {
					i += 2
				} else {
					i += 4
				}
			case strings.ContainsRune(f, ':') && len(f) > 2 && f[0] != '4':
			case len(f) >= 2 && (f[0] == '3' || f[0] == '4' || f[0] == '9' || strings.HasPrefix(f, "10")):
			default:
				keep = append(keep, f)
			}
		}
		if len(keep) == 0 {
			return ""
		}
		return "\x1b[" + strings.Join(keep, ";") + "m"
	})
}
