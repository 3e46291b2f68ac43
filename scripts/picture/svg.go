package main

import (
	"fmt"
	"html"
	"image/color"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
)

// Sizes in pixels. Text is stretched to its cells and lines are drawn, so
// that the picture is the same whatever fonts there are.
const (
	cellW, cellH = 8.4, 18.0
	fontSize     = 14.0
	padding      = 18.0
	title        = 30.0
	ground       = "#0f131b"
	ink          = "#d8dee9"
)

// arms of a piece of line: up, down, left, right; 1 is thin and 2 is heavy.
var arms = map[string][4]int{
	"─": {0, 0, 1, 1}, "│": {1, 1, 0, 0}, "├": {1, 1, 0, 1}, "┤": {1, 1, 1, 0}, "┬": {0, 1, 1, 1}, "┴": {1, 0, 1, 1}, "┼": {1, 1, 1, 1},
	"━": {0, 0, 2, 2}, "┃": {2, 2, 0, 0}, "┏": {0, 2, 0, 2}, "┓": {0, 2, 2, 0}, "┗": {2, 0, 0, 2}, "┛": {2, 0, 2, 0},
	"┣": {2, 2, 0, 2}, "┫": {2, 2, 2, 0}, "┳": {0, 2, 2, 2}, "┻": {2, 0, 2, 2}, "╋": {2, 2, 2, 2}, "╂": {2, 2, 1, 1}, "┿": {1, 1, 2, 2},
}

// round corners, by where their arms go.
var corners = map[string][2]float64{"╭": {1, 1}, "╮": {-1, 1}, "╰": {1, -1}, "╯": {-1, -1}}

// dashes of lines that are not up.
var dashes = map[string]bool{"┊": true, "┄": false, "╌": false} // vertical or not

func svg(em *vt.Emulator) string {
	w, h := columns*cellW+2*padding, rows*cellH+padding+title+padding/2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="The workbench: a topology, its nodes and links, and a console">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%.0f" height="%.0f" rx="10" fill="%s"/>`+"\n", w, h, ground)
	for i, c := range []string{"#f7768e", "#e0af68", "#9ece6a"} {
		fmt.Fprintf(&b, `<circle cx="%.0f" cy="16" r="5.5" fill="%s"/>`+"\n", 20+float64(i)*19, c)
	}
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%.0f" xml:space="preserve">`+"\n", fontSize)
	for y := range rows {
		row(&b, em, y)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// place is the top left of a cell.
func place(x, y int) (px, py float64) {
	return padding + float64(x)*cellW, title + float64(y)*cellH
}

func row(b *strings.Builder, em *vt.Emulator, y int) {
	type run struct {
		x    int
		text strings.Builder
		st   uv.Style
	}
	var r *run
	flush := func() {
		if r != nil && strings.TrimSpace(r.text.String()) != "" {
			text(b, r.x, y, r.text.String(), r.st)
		}
		r = nil
	}
	for x := 0; x < columns; x++ {
		c := em.CellAt(x, y)
		if c == nil || c.Width == 0 {
			continue
		}
		fg, bg := colours(c.Style)
		if bg != "" {
			px, py := place(x, y)
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="%s"/>`+"\n", px, py, cellW+0.4, cellH, bg)
		}
		if n := alike(em, x, y, c.Content); n > 1 { // a long line is one
			flush()
			px, py := place(x, y)
			width := 0.4 + float64(arms[c.Content][3])
			fmt.Fprintf(b, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="%.1f"/>`+"\n", px, py+cellH/2, px+float64(n)*cellW, fg, width)
			x += n - 1
			continue
		}
		if drawn(b, x, y, c.Content, fg) {
			flush()
			continue
		}
		if r != nil && (r.st.Fg != c.Style.Fg || r.st.Bg != c.Style.Bg || r.st.Attrs != c.Style.Attrs) {
			flush()
		}
		if r == nil {
			r = &run{x: x, st: c.Style}
		}
		if c.Content == "" {
			r.text.WriteByte(' ')
		}
		r.text.WriteString(c.Content)
	}
	flush()
}

// alike is how many cells in a row hold the same horizontal line.
func alike(em *vt.Emulator, x, y int, s string) int {
	if s != "─" && s != "━" {
		return 0
	}
	n := 1
	first := em.CellAt(x, y).Style
	for ; x+n < columns; n++ {
		if c := em.CellAt(x+n, y); c == nil || c.Content != s || c.Style.Fg != first.Fg || c.Style.Bg != first.Bg {
			break
		}
	}
	return n
}

func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func colours(st uv.Style) (fg, bg string) {
	fg = ink
	if st.Fg != nil {
		fg = hex(st.Fg)
	}
	if st.Bg != nil {
		bg = hex(st.Bg)
	}
	if st.Attrs&uv.AttrReverse != 0 {
		if bg == "" {
			bg = ground
		}
		fg, bg = bg, fg
	}
	return fg, bg
}

func text(b *strings.Builder, x, y int, s string, st uv.Style) {
	trimmed := strings.TrimLeft(s, " ")
	x += len(s) - len(trimmed)
	trimmed = strings.TrimRight(trimmed, " ")
	px, py := place(x, y)
	fg, _ := colours(st)
	weight := ""
	if st.Attrs&uv.AttrBold != 0 {
		weight = ` font-weight="bold"`
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s"%s textLength="%.1f" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n",
		px, py+13.2, fg, weight, float64(len([]rune(trimmed)))*cellW, html.EscapeString(trimmed))
}

// drawn draws what is no letter.
func drawn(b *strings.Builder, x, y int, s, fg string) bool {
	px, py := place(x, y)
	cx, cy := px+cellW/2, py+cellH/2
	path := func(width float64, extra, format string, args ...any) {
		fmt.Fprintf(b, `<path d="%s" stroke="%s" stroke-width="%.1f" fill="none"%s/>`+"\n", fmt.Sprintf(format, args...), fg, width, extra)
	}
	if a, ok := arms[s]; ok {
		for i, to := range [4][2]float64{{cx, py}, {cx, py + cellH}, {px, cy}, {px + cellW, cy}} {
			if a[i] > 0 {
				path(0.4+float64(a[i]), ` stroke-linecap="square"`, "M%.1f %.1fL%.1f %.1f", cx, cy, to[0], to[1])
			}
		}
		return true
	}
	if to, ok := corners[s]; ok {
		path(1.4, "", "M%.1f %.1fQ%.1f %.1f %.1f %.1fL%.1f %.1f", cx+to[0]*cellW/2, cy, cx, cy, cx, cy+to[1]*cellW/2, cx, cy+to[1]*cellH/2)
		return true
	}
	if vertical, ok := dashes[s]; ok {
		if vertical {
			path(1.4, ` stroke-dasharray="3 3"`, "M%.1f %.1fV%.1f", cx, py+1.5, py+cellH)
		} else {
			path(1.4, ` stroke-dasharray="2.6 1.6"`, "M%.1f %.1fH%.1f", px+0.8, cy, px+cellW)
		}
		return true
	}
	switch s {
	case "●":
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", cx, cy, fg)
	case "○":
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.4" fill="none" stroke="%s" stroke-width="1.3"/>`+"\n", cx, cy, fg)
	case "▌":
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="%s"/>`+"\n", px, py, cellW/2, cellH, fg)
	default:
		return false
	}
	return true
}
