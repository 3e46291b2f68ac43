package themes

import (
	"os"
	"strings"

	"archetype/lab"
)

// Glyphs are the shapes on the screen. Every state has its own, so that the
// screen reads without colour.
type Glyphs struct {
	ASCII bool
	// Box is the eleven pieces of frames: horizontal, vertical, the corners
	// top left, top right, bottom left, bottom right.
	Horizontal, Vertical, TopLeft, TopRight, BottomLeft, BottomRight string
	BarFull, BarEmpty                                                string
	Cursor, Mark, Dot, More, Arrow, Cross, Outside, Loop, Down       string
	Lines                                                            [3][16]rune // by stroke, then by arms
}

// Strokes of links.
const (
	StrokeSolid  = iota // up, and error, which has a cross on it
	StrokeDotted        // on its way, or cut
	StrokeHeavy         // selected
)

// Arms of a piece of line, to be added up.
const (
	ArmUp = 1 << iota
	ArmDown
	ArmLeft
	ArmRight
)

// UTF8 needs a terminal that shows Unicode.
var UTF8 = Glyphs{
	Horizontal: "─", Vertical: "│", TopLeft: "╭", TopRight: "╮", BottomLeft: "╰", BottomRight: "╯",
	BarFull: "▰", BarEmpty: "▱", Cursor: "▌", Mark: "◆", Dot: "·", More: "…", Arrow: "→", Cross: "✗", Outside: "↥", Loop: "↺", Down: "▾",
	Lines: [3][16]rune{
		[16]rune([]rune(" │││─╯╮┤─╰╭├─┴┬┼")),
		[16]rune([]rune(" ┊┊┊┄╯╮┤┄╰╭├┄┴┬┼")),
		[16]rune([]rune(" ┃┃┃━┛┓┫━┗┏┣━┻┳╋")),
	},
}

// Plain needs nothing but ASCII.
var Plain = Glyphs{
	ASCII:      true,
	Horizontal: "-", Vertical: "|", TopLeft: "+", TopRight: "+", BottomLeft: "+", BottomRight: "+",
	BarFull: "#", BarEmpty: ".", Cursor: ">", Mark: "*", Dot: ".", More: "~", Arrow: "->", Cross: "x", Outside: "^", Loop: "@", Down: "v",
	Lines: [3][16]rune{
		[16]rune([]rune(" |||-+++-+++-+++")),
		[16]rune([]rune(" :::.'''.'''.'''")),
		[16]rune([]rune(" |||=###=###=###")),
	},
}

// Crossing is where a vertical and a horizontal line of these strokes cross.
func (g *Glyphs) Crossing(v, h int) rune {
	const all = ArmUp | ArmDown | ArmLeft | ArmRight
	switch {
	case g.ASCII && h == StrokeHeavy && v != StrokeHeavy:
		return g.Lines[h][ArmLeft|ArmRight]
	case g.ASCII: // one passes over the other: + is for corners
		return g.Lines[v][ArmUp|ArmDown]
	case v == StrokeHeavy && h != StrokeHeavy:
		return '╂'
	case h == StrokeHeavy && v != StrokeHeavy:
		return '┿'
	}
	return g.Lines[v][all]
}

// GlyphsFor returns a set by name. "auto" looks at the locale, as the
// environment gives it.
func GlyphsFor(name string) Glyphs {
	switch name {
	case "ascii":
		return Plain
	case "utf8", "utf-8":
		return UTF8
	}
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if s := strings.ToUpper(os.Getenv(v)); s != "" {
			if strings.Contains(s, "UTF-8") || strings.Contains(s, "UTF8") {
				return UTF8
			}
			return Plain
		}
	}
	return Plain
}

// Node is the shape of a node's state.
func (g *Glyphs) Node(s lab.NodeState) string {
	utf, ascii := "○", "o"
	switch s {
	case lab.NodeRunning:
		utf, ascii = "●", "@"
	case lab.NodeStarting:
		utf, ascii = "◐", "%"
	case lab.NodePaused:
		utf, ascii = "‖", "\""
	case lab.NodePending:
		utf, ascii = "◌", ":"
	case lab.NodeStopping:
		utf, ascii = "◑", "/"
	case lab.NodeError:
		utf, ascii = "✗", "x"
	case lab.NodeUndeployed:
		utf, ascii = "·", "."
	}
	if g.ASCII {
		return ascii
	}
	return utf
}

// Link is the shape of a link's state in a list.
func (g *Glyphs) Link(s lab.LinkState) string {
	utf, ascii := "┄", ":"
	switch s {
	case lab.LinkUp:
		utf, ascii = "━", "="
	case lab.LinkDown:
		utf, ascii = "╌", "-"
	case lab.LinkError:
		utf, ascii = "✗", "x"
	case lab.LinkUnknown:
		utf, ascii = "?", "?"
	}
	if g.ASCII {
		return ascii
	}
	return utf
}
