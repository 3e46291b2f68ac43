package topology

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// variables reads a template's variables: the files given, or those beside
// the topology file. Later files win over earlier ones, map by map.
func (r *reader) variables() map[string]any {
	files := r.opt.Vars
	if len(files) == 0 {
		files = r.varsBeside()
	}
	out := map[string]any{}
	for _, path := range files {
		data, err := readBounded(path, maxFile)
		if err != nil {
			r.errorIn(path, 1, 1, "", "file of variables: %v", err)
			continue
		}
		sub := &reader{file: path, abs: path, opt: r.opt, src: &expanded{}}
		sub.opt.Env = func(string) (string, bool) { return "", false } // nothing is replaced in it
		if !utf8.Valid(data) {
			r.errorIn(path, 1, 1, "save it as UTF-8", "the file is not UTF-8 text")
			continue
		}
		root := sub.tree(strings.ReplaceAll(string(data), "\r\n", "\n"))
		if sub.fails == 0 && root != nil && root.form != formMap && root.form != formNull {
			sub.errorAt(root.line, root.column, "", "variables must be a map, this is %s", root.form)
		}
		if sub.fails > 0 {
			r.fails += sub.fails
			r.diags = append(r.diags, sub.diags...)
			continue
		}
		if root != nil && root.form == formMap {
			mergeVars(out, root.native().(map[string]any))
		}
	}
	return out
}

func (r *reader) varsBeside() []string {
	base := filepath.Base(r.abs)
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(r.abs), strings.TrimSuffix(base, filepath.Ext(base))+"_vars.*"))
	return slices.DeleteFunc(found, func(path string) bool {
		return !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path))
	})
}

func mergeVars(into, from map[string]any) {
	for k, v := range from {
		a, ok := into[k].(map[string]any)
		if b, ok2 := v.(map[string]any); ok && ok2 {
			mergeVars(a, b)
			continue
		}
		into[k] = v
	}
}

// native is a value as a template has it.
func (v *value) native() any {
	switch v.form {
	case formMap:
		out := make(map[string]any, len(v.fields))
		for _, f := range v.fields {
			out[f.name] = f.value.native()
		}
		return out
	case formList:
		out := make([]any, len(v.items))
		for i, item := range v.items {
			out[i] = item.native()
		}
		return out
	case formScalar:
		if v.quoted {
			return v.text
		}
		switch strings.ToLower(v.text) {
		case "true":
			return true
		case "false":
			return false
		}
		if n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64); err == nil {
			return int(n)
		}
		if n, err := strconv.ParseFloat(v.text, 64); err == nil {
			return n
		}
		return v.text
	}
	return nil
}
