package topology

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// form is what a value of the file is.
type form int

const (
	formNull form = iota
	formScalar
	formMap
	formList
)

func (f form) String() string {
	return [...]string{"nothing", "a single value", "a map", "a list"}[f]
}

// value is one value of the file with its place in the text that YAML was
// read from, anchors and merges resolved.
type value struct {
	form         form
	line, column int
	text         string // of a scalar
	quoted       bool   // a scalar that is text whatever it looks like
	fields       []field
	items        []*value
	index        map[string]int // of fields by name, once they are many
}

type field struct {
	name         string
	line, column int
	value        *value
	merged       bool // brought by a merge key; the map's own fields win
}

func (v *value) get(name string) *value {
	if i := v.find(name); i >= 0 {
		return v.fields[i].value
	}
	return nil
}

// manyFields is where looking names up one by one becomes slow.
const manyFields = 16

// find is the place of a field in fields, or -1.
func (v *value) find(name string) int {
	if v == nil {
		return -1
	}
	if v.index != nil {
		if i, ok := v.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range v.fields {
		if v.fields[i].name == name {
			return i
		}
	}
	return -1
}

func (v *value) add(f field) {
	v.fields = append(v.fields, f)
	if v.index != nil {
		v.index[f.name] = len(v.fields) - 1
	} else if len(v.fields) > manyFields {
		v.index = make(map[string]int, 2*manyFields)
		for i, f := range v.fields {
			v.index[f.name] = i
		}
	}
}

// Limits on what a file may hold. They are far above any real lab and far
// below what would hurt.
const (
	maxFile   = 4 << 20 // bytes
	maxTokens = 800_000 // values, keys and signs, roughly: each costs the YAML library hundreds of bytes
	maxLines  = 12_000  // keys of one block map: the YAML library's time grows with their square
	maxProps  = 20_000  // anchors and tags
	maxChain  = 64      // "- - - -" in one line
	maxValues = 1_000_000
	maxDepth  = 64
	maxNodes  = 10_000
	maxLinks  = 50_000
)

// treeBuilder turns the YAML library's tree into values. Aliases are followed
// within a budget, so that a small file cannot grow without bound.
type treeBuilder struct {
	r       *reader
	anchors map[string]ast.Node
	open    map[string]bool // anchors being followed: one inside itself is a cycle
	count   int
	over    bool
}

func (b *treeBuilder) build(n ast.Node, depth int) *value {
	if b.over {
		return &value{line: 1, column: 1}
	}
	v := &value{line: 1, column: 1}
	if n == nil {
		return v
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		v.line, v.column = t.Position.Line, t.Position.Column
	}
	b.count++
	if b.count > maxValues || depth > maxDepth {
		b.over = true
		if depth > maxDepth {
			b.r.errorAt(v.line, v.column, "", "nested deeper than %d levels", maxDepth)
		} else {
			b.r.errorAt(v.line, v.column, "", "the file has more than %d values once its aliases are followed", maxValues)
		}
		return v
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		v.form = formMap
		if len(n.Values) > 0 { // the token of a map is that of its first ':'
			if t := n.Values[0].Key.GetToken(); t != nil && t.Position != nil && !n.IsFlowStyle {
				v.line, v.column = t.Position.Line, t.Position.Column
			}
		}
		for _, mv := range n.Values {
			b.field(v, mv, depth)
		}
	case *ast.MappingValueNode:
		v.form = formMap
		if t := n.Key.GetToken(); t != nil && t.Position != nil {
			v.line, v.column = t.Position.Line, t.Position.Column
		}
		b.field(v, n, depth)
	case *ast.SequenceNode:
		v.form = formList
		for _, item := range n.Values {
			v.items = append(v.items, b.build(item, depth+1))
		}
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		b.anchors[name] = n.Value
		b.open[name] = true
		v = b.build(n.Value, depth+1)
		delete(b.open, name)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := b.anchors[name]
		switch {
		case b.open[name]:
			b.r.errorAt(v.line, v.column, "", "the alias *%s is inside its own anchor: the file goes round in a circle", name)
		case !ok:
			b.r.errorAt(v.line, v.column, "", "no anchor &%s before this alias", name)
		default:
			line, column := v.line, v.column
			b.open[name] = true
			v = b.build(target, depth+1)
			delete(b.open, name)
			v.line, v.column = line, column
		}
	case *ast.TagNode:
		v = b.build(n.Value, depth+1)
	case *ast.NullNode:
	case *ast.LiteralNode:
		v.form, v.text, v.quoted = formScalar, n.Value.Value, true
	case *ast.StringNode:
		v.form, v.text, v.quoted = formScalar, n.Value, true
	case ast.ScalarNode:
		v.form, v.text = formScalar, n.GetToken().Value
	}
	return v
}

func (b *treeBuilder) field(m *value, n *ast.MappingValueNode, depth int) {
	line, column := m.line, m.column
	if t := n.Key.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	if n.Key.IsMergeKey() {
		b.merge(m, b.build(n.Value, depth+1))
		return
	}
	k := b.build(n.Key, depth+1)
	if k.form != formScalar {
		b.r.errorAt(line, column, "", "a key must be a single value")
		return
	}
	name := strings.TrimSpace(k.text)
	f := field{name: name, line: line, column: column, value: b.build(n.Value, depth+1)}
	if i := m.find(name); i >= 0 {
		if !m.fields[i].merged {
			b.r.errorAt(line, column, "", "%q stands twice, first in line %d", name, b.r.place(m.fields[i].line, 1).line)
			return
		}
		m.fields[i] = f
		return
	}
	m.add(f)
}

// merge brings in the fields of a "<<" that the map does not have itself.
func (b *treeBuilder) merge(m, from *value) {
	maps := []*value{from}
	if from.form == formList {
		maps = from.items
	}
	for _, src := range maps {
		if src.form != formMap {
			b.r.errorAt(src.line, src.column, "", "what is merged with << must be a map, this is %s", src.form)
			continue
		}
		for _, f := range src.fields {
			if m.find(f.name) < 0 {
				f.merged = true
				m.add(f)
			}
		}
	}
}

func (v *value) String() string { return fmt.Sprintf("%s at %d:%d", v.form, v.line, v.column) }
