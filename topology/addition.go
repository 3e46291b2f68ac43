package topology

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"archetype/lab"
)

// ReadNode reads the fields of one node that is to come to a lab which is
// there, as they would stand below its name in the lab's file. What the file
// says in its defaults, kinds and groups is not known any more. The file names
// data in messages, and its folder is where relative paths start. Errors and
// diagnostics are as those of Load.
func ReadNode(name, file string, data []byte, to *lab.Topology, opt Options) (n lab.Node, diags []lab.Diagnostic, err error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return n, nil, err
	}
	if err := CheckNodeName(name); err != nil {
		return n, nil, err
	}
	diags, err = guarded(file, abs, opt, func(r *reader) {
		if strings.TrimSpace(string(data)) == "" {
			r.errorAt(1, 1, "it needs a kind", "node %q: nothing is said of it", name)
			return
		}
		root := r.root(data)
		if root == nil {
			return
		}
		base := &sections{lab: to.Name, defaults: r.definition(&value{}, "defaults")}
		at := field{name: name, value: root, line: 1, column: 1}
		var ls levels
		var ok bool
		if n, ls, ok = r.node(name, at, base); !ok {
			return
		}
		if out := r.partOfMachine(n); out != "" {
			r.errorAt(1, 1, "write the cable's end as host:, or deploy the file with such a node", "node %q would be a part of this machine", name)
			return
		}
		r.namesake(n, at)
		r.joins(n, ls, to)
	})
	return n, diags, err
}

// joins checks a node against the rest of the lab that it is to come to.
func (r *reader) joins(n lab.Node, ls levels, to *lab.Topology) {
	whole := *to
	whole.Nodes = append(slices.Clone(to.Nodes), n)
	var waits []wait
	for _, d := range ls {
		waits = append(waits, d.waits...)
	}
	r.checkWaits(&whole, waits)
	addresses := map[string]*value{}
	for _, field := range []string{"mgmt-ipv4", "mgmt-ipv6"} {
		if s, ok := ls[len(ls)-1].single[field]; ok {
			addresses[n.Name+" "+field] = s.at
		}
	}
	r.nodeAddresses(&whole, addresses)
}

// NodeFields writes a node's fields, each given as key=value, as ReadNode reads
// them. A list's and a map's key may come several times: each adds an item, a
// map's as NAME=VALUE. A value that begins with [ or { is YAML as in a file;
// any other is taken literally.
func NodeFields(settings []string) (string, error) {
	var order []string
	given := map[string][]string{}
	for _, s := range settings {
		key, v, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("%q: write key=value, with a key of a node in a topology file", s)
		}
		if given[key] == nil {
			order = append(order, key)
		}
		given[key] = append(given[key], v)
	}
	var b strings.Builder
	for _, key := range order {
		text, err := fieldText(key, given[key])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s: %s\n", literal(key), text)
	}
	return b.String(), nil
}

// listsOf are the fields whose value is a list.
var listsOf = slices.Concat(mergedLists, []string{"ports", "aliases", "ulimits", "tmpfs", "security-opt"})

// fieldText is the YAML of a field that was given those values.
func fieldText(key string, values []string) (string, error) {
	v := values[0]
	whole := strings.HasPrefix(v, "[") || strings.HasPrefix(v, "{")
	var parts []string
	switch {
	case len(values) == 1 && whole:
		return v, nil
	case slices.Contains(listsOf, key):
		for _, v := range values {
			parts = append(parts, literal(v))
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case slices.Contains(mergedMaps, key):
		for _, v := range values {
			name, text, ok := strings.Cut(v, "=")
			if !ok || name == "" {
				return "", fmt.Errorf("%s=%s: write %s=NAME=VALUE", key, v, key)
			}
			parts = append(parts, literal(name)+": "+literal(text))
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	case len(values) > 1:
		return "", fmt.Errorf("%s is given %d times and has one value", key, len(values))
	}
	return literal(v), nil
}

// literal is text as YAML in which nothing is replaced: neither a variable nor
// a template's action begins in it.
func literal(s string) string {
	b, _ := json.Marshal(s)
	return strings.NewReplacer("$", `\u0024`, "{", `\u007b`).Replace(string(b))
}
