package vendors

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// pattern is a regular expression that knows words of which one stands in all
// that it matches: lines without any, which are nearly all, cost next to
// nothing. A nil one matches nothing.
type pattern struct {
	re    *regexp.Regexp
	words []string // empty: unknown
}

// patterns are those made so far by their expressions, of which there
// are as many as the files of kinds have, however many nodes boot.
var patterns sync.Map

// compile makes one of an expression that was checked when its kind was read.
func compile(expr string) *pattern {
	if p, ok := patterns.Load(expr); ok {
		return p.(*pattern)
	}
	p := newPattern(expr)
	patterns.Store(expr, p)
	return p
}

func newPattern(expr string) *pattern {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil
	}
	p := &pattern{re: re}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil {
		p.words = words(tree)
	}
	return p
}

// plainText is one that matches where a text stands.
func plainText(text string) *pattern { return compile(regexp.QuoteMeta(text)) }

func (p *pattern) match(line string) bool {
	if p == nil {
		return false
	}
	possible := len(p.words) == 0
	for _, w := range p.words {
		if possible = strings.Contains(line, w); possible {
			break
		}
	}
	return possible && p.re.MatchString(line)
}

// words are texts of which at least one is in everything that an expression
// matches; none where that is not known.
func words(e *syntax.Regexp) []string {
	switch e.Op {
	case syntax.OpLiteral:
		if e.Flags&syntax.FoldCase == 0 {
			return []string{string(e.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return words(e.Sub[0])
	case syntax.OpRepeat:
		if e.Min > 0 {
			return words(e.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range e.Sub {
			if w := words(sub); shortest(w) > shortest(best) {
				best = w
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range e.Sub {
			w := words(sub)
			if len(w) == 0 {
				return nil
			}
			all = append(all, w...)
		}
		return all
	}
	return nil
}

func shortest(words []string) int {
	least := 0
	for i, w := range words {
		if i == 0 || len(w) < least {
			least = len(w)
		}
	}
	return least
}
