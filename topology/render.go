package topology

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/template"
	ttree "text/template/parse"
	"time"
	"unicode/utf8"

	"archetype/internal/gotemplate"
)

// maxWork bounds what the functions of a template make, in bytes and elements. A
// lab of thousands of nodes stays far below it.
const maxWork = 64 << 20

// rendered is what became of a template, and the way back to its files.
type rendered struct {
	text  string
	lines []int // offset of each line's beginning in text
	files []templateFile
	parts []part // by out
}

// templateFile is the topology file or one of clab_templates/*.gotmpl.
type templateFile struct {
	name  string // for messages
	text  string
	lines []int
}

// part says that text from out on stems from a file's offset in. What an
// action wrote is all at the action's own place.
type part struct {
	out, file, in int
	fixed         bool
}

func (*reader) isTemplate(text string) bool { return strings.Contains(text, "{{") }

// render runs the file as a Go template, as containerlab does.
func (r *reader) render(text string) string {
	out := &rendered{files: []templateFile{{name: r.file, text: text, lines: lineOffsets(text)}}}
	vars := r.variables()
	if r.fails > 0 {
		return ""
	}
	work := &gotemplate.Work{Left: maxWork}
	base := filepath.Base(r.abs)
	if line, column := gotemplate.TooDeep(text); line > 0 {
		r.errorIn(r.file, line, column, "", "blocks of a template nested deeper than %d", gotemplate.MaxDepth)
		return ""
	}
	t, err := template.New(base).Funcs(work.Functions()).Parse(text)
	if err != nil {
		r.templateError(out, map[string]int{base: 0}, err)
		return ""
	}
	index := map[string]int{base: 0} // by the name that the template package uses
	subs, _ := filepath.Glob(filepath.Join(filepath.Dir(r.abs), "clab_templates", "*.gotmpl"))
	for _, path := range subs {
		data, err := readBounded(path, maxFile)
		if err != nil || !utf8.Valid(data) {
			r.errorIn(r.file, 1, 1, "", "template %s: cannot be read as text: %v", path, err)
			return ""
		}
		name := filepath.Base(path)
		index[name] = len(out.files)
		out.files = append(out.files, templateFile{name: filepath.Join(filepath.Dir(r.file), "clab_templates", name), text: string(data), lines: lineOffsets(string(data))})
		if line, column := gotemplate.TooDeep(string(data)); line > 0 {
			r.errorIn(out.files[index[name]].name, line, column, "", "blocks of a template nested deeper than %d", gotemplate.MaxDepth)
			return ""
		}
		if _, err := t.New(name).Parse(string(data)); err != nil {
			r.templateError(out, index, err)
			return ""
		}
	}
	w := newTracer(out)
	for _, sub := range t.Templates() {
		if sub.Tree != nil {
			w.instrument(sub.Root, index[sub.ParseName])
		}
	}
	work.Until = time.Now().Add(gotemplate.MaxTime)
	w.until = work.Until
	if err := t.Execute(w, vars); err != nil {
		r.templateError(out, index, err)
		return ""
	}
	out.text = w.buf.String()
	out.lines = lineOffsets(out.text)
	r.rendered = out
	if i := strings.Index(out.text, "<no value>"); i >= 0 {
		p := out.at(i)
		r.errorIn(p.file, p.line, p.column, "give it in a file of variables, such as "+strings.TrimSuffix(base, filepath.Ext(base))+"_vars.yml",
			"a variable of the template has no value [line %d of the rendered text]", p.rendered)
		return ""
	}
	if !utf8.ValidString(out.text) {
		r.errorIn(r.file, 1, 1, "", "the template does not become UTF-8 text")
		return ""
	}
	if i := strings.IndexByte(out.text, 0); i >= 0 {
		p := out.at(i)
		r.errorIn(p.file, p.line, p.column, "", "the template does not become text")
		return ""
	}
	return out.text
}

// place turns a line and column of the rendered text into those of the file
// they stem from.
func (o *rendered) place(line, column int) place {
	if line < 1 || line > len(o.lines) {
		return place{file: o.files[0].name, line: max(line, 1), column: max(column, 1)}
	}
	return o.at(byteAt(o.text, o.lines[line-1], column))
}

func (o *rendered) at(offset int) place {
	line := sort.Search(len(o.lines), func(i int) bool { return o.lines[i] > offset })
	i := sort.Search(len(o.parts), func(i int) bool { return o.parts[i].out > offset }) - 1
	if i < 0 {
		return place{file: o.files[0].name, line: 1, column: 1, rendered: line}
	}
	p := o.parts[i]
	in := p.in
	if !p.fixed {
		in += offset - p.out
	}
	f := o.files[p.file]
	l, column := position(f.text, f.lines, in)
	return place{file: f.name, line: l, column: column, rendered: line}
}

// tracer is where a template writes to. Marks put between the pieces of the
// template tell it where each piece stems from, and let it stop a template
// that runs away.
type tracer struct {
	out   *rendered
	buf   bytes.Buffer
	mark  []byte // begins every mark, and nothing else
	steps int
	depth int
	until time.Time
}

func newTracer(out *rendered) *tracer {
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return &tracer{out: out, mark: append([]byte{0}, hex.EncodeToString(nonce)...)}
}

// The kinds of marks.
const (
	markText   = 't' // verbatim text follows
	markAction = 'a' // what an action writes follows
	markEnter  = '+' // another template follows
	markLeave  = '-'
)

func (w *tracer) newMark(kind byte, file, offset int) *ttree.TextNode {
	text := append(slices.Clone(w.mark), kind)
	text = append(text, strconv.Itoa(file)+":"+strconv.Itoa(offset)...)
	return &ttree.TextNode{NodeType: ttree.NodeText, Text: text}
}

// instrument puts marks into a template.
func (w *tracer) instrument(list *ttree.ListNode, file int) {
	if list == nil {
		return
	}
	nodes := []ttree.Node{w.newMark(markAction, file, int(list.Pos))}
	for _, n := range list.Nodes {
		at := int(n.Position())
		switch n := n.(type) {
		case *ttree.TextNode:
			nodes = append(nodes, w.newMark(markText, file, at), n)
			continue
		case *ttree.TemplateNode:
			nodes = append(nodes, w.newMark(markEnter, file, at), n, w.newMark(markLeave, file, at))
			continue
		case *ttree.IfNode:
			w.instrument(n.List, file)
			w.instrument(n.ElseList, file)
		case *ttree.RangeNode:
			w.instrument(n.List, file)
			w.instrument(n.ElseList, file)
		case *ttree.WithNode:
			w.instrument(n.List, file)
			w.instrument(n.ElseList, file)
		}
		nodes = append(nodes, w.newMark(markAction, file, at), n)
	}
	list.Nodes = nodes
}

func (w *tracer) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, w.mark) {
		if w.buf.Len()+len(p) > maxFile {
			return 0, fmt.Errorf("%w: it becomes more than %d bytes", gotemplate.ErrRunaway, maxFile)
		}
		return w.buf.Write(p)
	}
	w.steps++
	if w.steps > gotemplate.MaxSteps {
		return 0, fmt.Errorf("%w: it takes more than %d steps", gotemplate.ErrRunaway, gotemplate.MaxSteps)
	}
	if w.steps%1024 == 0 && time.Now().After(w.until) {
		return 0, fmt.Errorf("%w: it takes more than %v", gotemplate.ErrRunaway, gotemplate.MaxTime)
	}
	kind := p[len(w.mark)]
	file, offset, _ := strings.Cut(string(p[len(w.mark)+1:]), ":")
	f, _ := strconv.Atoi(file)
	in, _ := strconv.Atoi(offset)
	switch kind {
	case markEnter:
		if w.depth++; w.depth > gotemplate.MaxDepth {
			return 0, fmt.Errorf("%w: templates call each other deeper than %d", gotemplate.ErrRunaway, gotemplate.MaxDepth)
		}
	case markLeave:
		w.depth--
	}
	next := part{out: w.buf.Len(), file: f, in: in, fixed: kind != markText}
	if n := len(w.out.parts); n > 0 && w.out.parts[n-1].out == next.out {
		w.out.parts[n-1] = next // nothing was written for the one before
	} else {
		w.out.parts = append(w.out.parts, next)
	}
	return len(p), nil
}

// templateAt finds what the template package says of an error's place.
var templateAt = regexp.MustCompile(`(?s)^template: (.*?):([0-9]+)(?::([0-9]+))?: (.*)$`)

var executing = regexp.MustCompile(`^executing "[^"]*" (at <.*?>: )?`)

func (r *reader) templateError(out *rendered, index map[string]int, err error) {
	m := templateAt.FindStringSubmatch(err.Error())
	var hint string
	if errors.Is(err, gotemplate.ErrRunaway) {
		hint = "look for a loop or a template that calls itself"
	}
	if m == nil {
		r.errorIn(r.file, 1, 1, hint, "the template fails: %s", strings.TrimPrefix(err.Error(), "template: "))
		return
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	if column > 0 { // the template package counts them from 0
		column++
	}
	message := executing.ReplaceAllStringFunc(m[4], func(s string) string {
		_, at, _ := strings.Cut(s, " at <")
		if at == "" {
			return ""
		}
		return "at " + strings.TrimSuffix(at, ">: ") + ": "
	})
	name := r.file
	if i, ok := index[m[1]]; ok && i < len(out.files) {
		name = out.files[i].name
	}
	r.errorIn(name, line, column, hint, "the template fails: %s", message)
}
