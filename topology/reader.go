package topology

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"archetype/internal/bounded"
	"archetype/lab"
)

// Kinds is what the reader must know of the kinds of devices.
type Kinds interface {
	// Canonical returns the name of the kind that goes by a name or alias.
	Canonical(kind string) (name string, ok bool)
	// Names returns all kinds, for suggestions.
	Names() []string
	// Interface returns the kernel's name for an interface that may be given
	// by the device's own name.
	Interface(kind, name string) (kernel string, err error)
	// Outside returns what part of the machine a node of the kind is: host
	// always, a bridge where the node asks for network-mode: host.
	Outside(kind string) lab.OutsideType
	// License returns where in a node of the kind its licence goes (empty: it
	// takes none), and a command that tells the device of it once it is ready.
	License(kind string) (path, tell string)
	// StartupConfig returns what of a startup configuration does not come true on
	// nodes of the kind; file is empty for one that stands in the topology.
	StartupConfig(kind, file string) string
	// Types returns what the type of a node of the kind may be; none: anything.
	Types(kind string) []string
	// Elsewhere returns why a kind of containerlab's is not known here.
	Elsewhere(kind string) (why string, ok bool)
}

// Options say what the reader may rely on.
type Options struct {
	// Env looks up a variable; nil means the program's environment.
	Env func(name string) (value string, ok bool)
	// Environ is all of them; nil, like Env, means the program's.
	Environ func() map[string]string
	// Kinds nil means that every kind is accepted.
	Kinds Kinds
	// Vars are the files of a template's variables; without any, those beside
	// the file are read: for lab.clab.yml lab.clab_vars.yml and the like.
	Vars []string
	// Fetch gets a file that the topology gives by its address on the web, and
	// returns its path; old says why it is one that was fetched before. Without
	// it such files are taken to be there. What is fetched is the lab's.
	Fetch func(labName, address string) (path string, old, err error)
}

// Load reads a topology file. The diagnostics are warnings. When the file
// cannot be used the error is a *lab.FileError with everything that is wrong
// with it, or says why it cannot be read.
func Load(path string, opt Options) (*lab.Topology, []lab.Diagnostic, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, nil, fmt.Errorf("topology file %s: this is a folder", path)
	}
	data, err := bounded.ReadFile(path, maxFile)
	if err != nil {
		return nil, nil, fmt.Errorf("topology file: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	t, diags, err := parse(path, abs, data, opt)
	return t, diags, err
}

// Parse reads a topology from data, as Load does; file names it in messages
// and its folder is what relative paths start from.
func Parse(file string, data []byte, opt Options) (*lab.Topology, []lab.Diagnostic, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, err
	}
	return parse(file, abs, data, opt)
}

// Name reads a file's lab name alone: whatever else is wrong with the file
// does not matter, so that a lab can be destroyed by a file that has changed.
func Name(path string, opt Options) (string, error) {
	data, err := readBounded(path, maxFile)
	if err != nil {
		return "", fmt.Errorf("topology file %s: %w", path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	var name string
	_, err = guarded(path, abs, opt, func(r *reader) {
		root := r.root(data)
		if v := root.get("name"); v != nil {
			name = r.gitNames(r.str(v, "name"))
		}
		if r.fails == 0 && !labName.MatchString(name) {
			r.errorAt(1, 1, "", "the file names no lab")
		}
	})
	return name, err
}

// reader holds one file while it is read.
type reader struct {
	file string // as the user wrote it
	abs  string
	// fetches are what the web gave, by address.
	fetches map[string]got
	opt     Options
	src     *expanded
	// rendered is nil where the file is no template.
	rendered *rendered
	diags    []lab.Diagnostic
	fails    int
	warns    int
	// once are the warnings that are given once however often they apply.
	once map[string]*repeated
	// broken are the nodes left out because of errors.
	broken map[string]bool
	index  map[string]int // of t.Nodes by name
	// outside are the nodes that are parts of the machine.
	outside   map[string]lab.OutsideType
	used      map[lab.Endpoint]int // the link that uses it, from 0
	onMachine map[string]int       // likewise, of interfaces in the machine's namespace

	envFiles map[string]envResult // by path
}

func parse(file, abs string, data []byte, opt Options) (t *lab.Topology, diags []lab.Diagnostic, err error) {
	diags, err = guarded(file, abs, opt, func(r *reader) {
		if root := r.root(data); root != nil {
			t = r.topology(root)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return t, diags, nil
}

// guarded reads a file and answers with what is to be said of it.
func guarded(file, abs string, opt Options, read func(*reader)) (diags []lab.Diagnostic, err error) {
	if opt.Env == nil {
		opt.Env = os.LookupEnv
	}
	if opt.Environ == nil {
		opt.Environ = environ
	}
	r := &reader{file: file, abs: abs, opt: opt, src: &expanded{}}
	defer func() {
		// The YAML library has panicked on odd input before; a user's file
		// must not take the program down.
		if p := recover(); p != nil {
			r.errorAt(1, 1, "", "the file cannot be read as YAML: %v", p)
			diags, err = nil, &lab.FileError{Diagnostics: r.diags}
		}
	}()
	read(r)
	r.settle()
	if r.fails > 0 {
		return nil, &lab.FileError{Diagnostics: r.diags}
	}
	return r.diags, nil
}

// root reads a file's text up to its values; nil after an error.
func (r *reader) root(data []byte) *value {
	if len(data) > maxFile {
		r.errorAt(1, 1, "", "the file has more than %d bytes", maxFile)
		return nil
	}
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	if !utf8.Valid(data) {
		r.errorAt(1, 1, "save it as UTF-8", "the file is not UTF-8 text")
		return nil
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	if i := strings.IndexByte(text, 0); i >= 0 {
		r.errorAt(strings.Count(text[:i], "\n")+1, 1, "", "the file is not text")
		return nil
	}
	if r.isTemplate(text) {
		if text = r.render(text); r.fails > 0 {
			return nil
		}
	}
	root := r.tree(text)
	if r.fails > 0 {
		return nil
	}
	if root == nil || root.form == formNull {
		r.errorAt(1, 1, "it needs name and topology", "the file is empty")
		return nil
	}
	return root
}

// tree reads a text as YAML, with its variables replaced.
func (r *reader) tree(text string) *value {
	r.src = expand(text, r.opt.Env)
	for _, u := range r.src.unset {
		line, column := position(r.src.text, r.src.outLines, u.at)
		r.warnAt(line, column, fmt.Sprintf("set it, or give a default: ${%s:=value}", u.name),
			"the variable %s is not set: left as it is written", u.name)
	}
	if r.src.inVain > maxInVain {
		r.errorAt(1, 1, "write } after each ${", "too many variables without an end")
		return nil
	}
	if len(r.src.text) > 2*maxFile {
		r.errorAt(1, 1, "", "the file has more than %d bytes once its variables are replaced", 2*maxFile)
		return nil
	}
	if !r.bounded() {
		return nil
	}
	f, err := parser.ParseBytes([]byte(r.src.text), 0)
	if err != nil {
		r.yamlError(err)
		return nil
	}
	b := &treeBuilder{r: r, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	var root *value
	docs := 0
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		docs++
		if docs == 2 {
			t := doc.Body.GetToken()
			r.errorAt(t.Position.Line, t.Position.Column, "", "a second YAML document: a topology file has one")
			return nil
		}
		root = b.build(doc.Body, 0)
	}
	return root
}

// bounded refuses what would make the YAML library run out of stack, memory
// or time. It looks at signs only: a text that it lets pass may still be no
// YAML.
func (r *reader) bounded() bool {
	text := r.src.text
	line, column, depth, tokens, props, chain := 1, 0, 0, 0, 0, 0
	begins := true        // a value may begin here
	keys := map[int]int{} // of the block map at an indentation
	indent, inIndent := 0, true
	refuse := func(format string, a ...any) bool {
		r.errorAt(line, column, "", format, a...)
		return false
	}
	for i := range len(text) {
		column++
		c := text[i]
		blankNext := i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\n'
		if inIndent && c != ' ' && c != '\n' {
			inIndent = false
			if column-1 < indent { // the maps further in are over
				maps.DeleteFunc(keys, func(in, _ int) bool { return in >= column })
			}
			if indent = column - 1; depth == 0 && c != '-' && c != '#' {
				keys[indent]++
			}
		}
		switch {
		case c == '\n':
			line, column, chain, inIndent = line+1, 0, 0, true
			tokens++
		case c == '[' || c == '{':
			depth++
			tokens++
		case c == ']' || c == '}':
			depth = max(depth-1, 0)
		case c == ',':
			tokens++
		case c == ':' && blankNext:
			tokens++
		case begins && (c == '-' || c == '?') && blankNext:
			tokens++
			chain++
		case begins && (c == '&' || c == '!' || c == '*'):
			tokens++
			props++
		}
		begins = c == '\n' || c == ' ' || c == '[' || c == '{' || c == ',' || begins && chain > 0 && c == '-'
		switch {
		case keys[indent] > maxLines && mapLine(text[i-column+1:]):
			return refuse("more than %d keys in one map", maxLines)
		case depth > 1000:
			return refuse("brackets nested deeper than %d levels", maxDepth)
		case chain > maxChain:
			return refuse("lists nested deeper than %d levels", maxDepth)
		case props > maxProps:
			return refuse("more than %d anchors, aliases and tags", maxProps)
		case tokens > maxTokens:
			return refuse("more than %d values: this is no topology", maxTokens)
		}
	}
	return true
}

// mapLine reports whether a line has the form of a key and its value.
func mapLine(s string) bool {
	line, _, _ := strings.Cut(s, "\n")
	line = strings.TrimSpace(line)
	return !strings.HasPrefix(line, "- ") && !strings.HasPrefix(line, "#") && (strings.Contains(line, ": ") || strings.HasSuffix(line, ":"))
}

func (r *reader) yamlError(err error) {
	line, column, message := 1, 1, strings.TrimSpace(yaml.FormatError(err, false, false))
	var ye yaml.Error
	if errors.As(err, &ye) {
		message = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			line, column = t.Position.Line, t.Position.Column
		}
	}
	hint := ""
	if lines := strings.Split(r.src.text, "\n"); line <= len(lines) && strings.HasPrefix(lines[line-1], "\t") {
		hint = "indent with spaces: YAML takes no tabs"
	}
	r.errorAt(line, column, hint, "this is not YAML: %s", message)
}

// Readers of values. Each records an error and returns nothing when the value
// has another form.

func (r *reader) str(v *value, what string) string {
	switch v.form {
	case formScalar:
		return v.text
	case formNull:
		return ""
	}
	r.errorAt(v.line, v.column, "", "%s must be a single value, this is %s", what, v.form)
	return ""
}

func (r *reader) strs(v *value, what string) []string {
	var out []string
	for _, item := range r.items(v, what) {
		out = append(out, item.text)
	}
	return out
}

// items are a list's single values.
func (r *reader) items(v *value, what string) []*value {
	return r.listOf(v, what, formScalar, "single values")
}

// maps are a list's maps.
func (r *reader) maps(v *value, what string) []*value { return r.listOf(v, what, formMap, "maps") }

func (r *reader) listOf(v *value, what string, want form, name string) []*value {
	if v.form == formNull {
		return nil
	}
	if v.form != formList {
		r.errorAt(v.line, v.column, "write it as - item, one a line", "%s must be a list, this is %s", what, v.form)
		return nil
	}
	var out []*value
	for _, item := range v.items {
		if item.form != want {
			r.errorAt(item.line, item.column, "", "%s must hold %s, this is %s", what, name, item.form)
			continue
		}
		out = append(out, item)
	}
	return out
}

func (r *reader) strMap(v *value, what string) map[string]string {
	if v.form == formNull {
		return nil
	}
	if v.form != formMap {
		r.errorAt(v.line, v.column, "write it as key: value, one a line", "%s must be a map, this is %s", what, v.form)
		return nil
	}
	out := map[string]string{}
	for _, f := range v.fields {
		out[f.name] = r.str(f.value, what+"."+f.name)
	}
	return out
}

func (r *reader) integer(v *value, what string, low, high int) int {
	s := r.str(v, what)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		r.errorAt(v.line, v.column, "", "%s %q must be a number within %d to %d", what, s, low, high)
		return 0
	}
	return n
}

// fields goes through a map: each construct is handed to its function, one
// without effect gives a warning that says so, and an unknown one an error.
func (r *reader) fields(v *value, what string, known []construct, handle map[string]func(f field)) {
	if v.form == formNull {
		return
	}
	if v.form != formMap {
		r.errorAt(v.line, v.column, "", "%s must be a map, this is %s", what, v.form)
		return
	}
	for _, f := range v.fields {
		i := slices.IndexFunc(known, func(c construct) bool { return c.name == f.name })
		if i < 0 {
			names := make([]string, len(known))
			for i, c := range known {
				names[i] = c.name
			}
			hint := moved[f.name]
			if hint == "" {
				hint = didYouMean(lab.Closest(f.name, names))
			}
			r.errorAt(f.line, f.column, hint, "%s: unknown field %q", what, f.name)
			continue
		}
		if known[i].status == later && !empty(f.value) {
			r.warnOnce(f.name, f.line, f.column, "%s: %q is not served: %s", what, f.name, known[i].note)
		}
		if fn := handle[f.name]; fn != nil {
			fn(f)
		}
	}
}

// moved are fields of containerlab's earlier formats that stand elsewhere now.
var moved = map[string]string{"wait-for": "write it under stages: create: wait-for: [{node: NAME, stage: STAGE}]"}

// empty reports whether a value asks for nothing.
func empty(v *value) bool {
	switch v.form {
	case formScalar:
		return v.text == "" || v.text == "0" || v.text == "false"
	case formMap:
		return !slices.ContainsFunc(v.fields, func(f field) bool { return !empty(f.value) })
	case formList:
		return len(v.items) == 0
	}
	return true
}

func didYouMean(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", s)
}
