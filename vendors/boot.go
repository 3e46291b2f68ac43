package vendors

import (
	"strings"
	"unicode/utf8"

	"archetype/internal/plain"
)

// maxText bounds the text shown beside a per cent, in runes.
const maxText = 120

// Boot reads one boot of one node out of its log. It does no I/O and keeps
// no more than the latest message. The zero value is not usable.
type Boot struct {
	kind     *Kind
	patterns []*pattern // beside kind.Progress
	ready    *pattern
	after    *pattern // nil where there is none, or it was seen
	percent  int
	text     string
	line     string
	done     bool
}

// NewBoot begins a boot of a node of the kind. A kind without a readiness
// probe is ready at once.
func NewBoot(k *Kind) *Boot {
	b := &Boot{kind: k, patterns: make([]*pattern, len(k.Progress))}
	for i, p := range k.Progress {
		if p.Regexp != "" {
			b.patterns[i] = compile(p.Regexp)
		} else {
			b.patterns[i] = plainText(p.Text)
		}
	}
	switch k.Readiness.Probe {
	case "", "none":
		b.done, b.percent = true, 100
	case "log":
		b.ready = compile(k.Readiness.Pattern)
	}
	if k.Readiness.After != "" {
		b.after = compile(k.Readiness.After)
	}
	return b
}

// Line takes a line of the log in and reports whether per cent, text or
// readiness changed. The line may hold whatever a device prints.
func (b *Boot) Line(raw string) (changed bool) {
	if b.done {
		return false
	}
	line := Clean(raw)
	if b.after.match(line) {
		b.after = nil
	}
	for i, p := range b.kind.Progress {
		if p.Percent <= b.percent || !b.patterns[i].match(line) {
			continue
		}
		changed = b.Earn(p.Percent, p.Message, line) || changed
	}
	if b.ready.match(line) {
		b.Finish(line)
		changed = true
	}
	return changed
}

// Earn notes progress that a line has earned, with a message that may be
// empty, and reports whether there is more of it than before. The last per
// cent is earned by readiness alone.
func (b *Boot) Earn(percent int, message, line string) bool {
	if b.done || percent <= b.percent {
		return false
	}
	b.percent, b.line = min(percent, 99), short(line)
	if b.text = message; b.text == "" {
		b.text = b.line
	}
	return true
}

// Finish makes the boot ready, which a line has earned.
func (b *Boot) Finish(line string) {
	b.done, b.percent, b.line = true, 100, short(line)
	if b.text == "" {
		b.text = b.line
	}
}

// Due reports whether the device may be tried, by a command or at a port: its
// log has said what the kind waits for before that.
func (b *Boot) Due() bool { return b.after == nil }

// Percent is how far the boot got, 0 to 100. It never falls, and is 100 only
// once the boot is ready.
func (b *Boot) Percent() int { return b.percent }

// Text is the message that earned the per cent: the kind's own, or the line
// of the log.
func (b *Boot) Text() string { return b.text }

// Earned is the line of the log that earned the per cent; empty where
// something else did.
func (b *Boot) Earned() string { return b.line }

// Ready reports whether the log has said that the node is up. A kind probed
// by a command is not made ready by its log.
func (b *Boot) Ready() bool { return b.done }

// Clean makes a line of a device's output safe to show and to compare: of it
// only what can be seen is left, and a carriage return starts the line anew.
func Clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	return plain.Text(line)
}

func short(s string) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) <= maxText {
		return s
	}
	r := []rune(s)
	return string(r[:maxText-1]) + "…"
}
