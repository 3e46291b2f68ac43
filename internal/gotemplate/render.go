package gotemplate

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// What no template may go beyond.
const (
	MaxDepth = 100 // templates within templates, and blocks within blocks
	MaxTime  = 20 * time.Second
	MaxSteps = 2_000_000 // numbers in a row, and steps of a whole template
)

// ErrRunaway is what a template fails with that goes beyond.
var ErrRunaway = errors.New("the template runs away")

// Render runs one template, which may become text of limit bytes. A variable
// of a map that it does not have is empty.
func Render(name, text string, data any, limit int) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if line, _ := TooDeep(text); line > 0 {
		return "", fmt.Errorf("%s:%d: blocks of a template nested deeper than %d", name, line, MaxDepth)
	}
	work := &Work{Left: limit, Until: time.Now().Add(MaxTime)}
	t, err := template.New(name).Option("missingkey=zero").Funcs(work.Functions()).Parse(text)
	if err != nil {
		return "", readable(err)
	}
	for _, sub := range t.Templates() {
		if sub.Tree != nil {
			noisy(sub.Root)
		}
	}
	w := &bounded{work: work, limit: limit}
	if err := t.Execute(w, data); err != nil {
		return "", readable(err)
	}
	return w.String(), nil
}

// noisy has every turn of a loop write nothing at all, so that one that writes
// nothing else is seen, too.
func noisy(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.IfNode:
			noisy(n.List)
			noisy(n.ElseList)
		case *parse.WithNode:
			noisy(n.List)
			noisy(n.ElseList)
		case *parse.RangeNode:
			noisy(n.List)
			noisy(n.ElseList)
			n.List.Nodes = append([]parse.Node{&parse.TextNode{NodeType: parse.NodeText}}, n.List.Nodes...)
		}
	}
}

// readable leaves out of an error what it says of itself.
func readable(err error) error {
	return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "template: "))
}

// bounded is where a template writes to.
type bounded struct {
	bytes.Buffer
	work   *Work
	limit  int
	writes int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("%w: it becomes more than %d bytes", ErrRunaway, b.limit)
	}
	if b.writes++; b.writes > MaxSteps {
		return 0, fmt.Errorf("%w: it takes more than %d steps", ErrRunaway, MaxSteps)
	}
	return b.Buffer.Write(p)
}

var (
	templateAction = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	templateBlock  = regexp.MustCompile(`^\{\{-?\s*(if|range|with|define|block|end)\b`)
)

// TooDeep finds what would make a recursive reader run out of stack: blocks
// or brackets nested without bound. Its answer is a place, or nothing.
func TooDeep(text string) (line, column int) {
	depth := 0
	for _, at := range templateAction.FindAllStringIndex(text, -1) {
		action := text[at[0]:at[1]]
		if m := templateBlock.FindStringSubmatch(action); m != nil {
			if m[1] == "end" {
				depth = max(depth-1, 0)
			} else {
				depth++
			}
		}
		brackets, deepest := 0, 0
		for i := range len(action) {
			switch action[i] {
			case '(':
				brackets++
			case ')':
				brackets = max(brackets-1, 0)
			}
			deepest = max(deepest, brackets)
		}
		if depth > MaxDepth || deepest > MaxDepth {
			line := strings.Count(text[:at[0]], "\n") + 1
			return line, at[0] - strings.LastIndexByte(text[:at[0]], '\n')
		}
	}
	return 0, 0
}
