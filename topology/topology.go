package topology

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"archetype/lab"
)

// sections are the parts of a file that nodes inherit from.
type sections struct {
	lab      string
	defaults *definition
	kinds    map[string]*definition
	groups   map[string]*definition
}

var labName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)

// hostName is RFC 1123's form of a name, and takes '_' beside it: the kernel
// does, and many labs' nodes are called so.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)

// maxHostName is what the kernel takes as a host name, in bytes.
const maxHostName = 63

func (r *reader) topology(root *value) *lab.Topology {
	t := &lab.Topology{File: r.abs}
	var body, name *value
	bodyAt := root
	r.fields(root, "the file", topConstructs, map[string]func(field){
		"name": func(f field) { name = f.value; t.Name = r.gitNames(r.str(f.value, "name")) },
		"prefix": func(f field) {
			s := r.str(f.value, "prefix")
			t.Prefix = &s
		},
		"mgmt":     func(f field) { t.Management = r.management(f.value) },
		"topology": func(f field) { body = f.value; bodyAt = &value{line: f.line, column: f.column} },
	})
	if root.form != formMap {
		return nil
	}
	switch {
	case name == nil || t.Name == "":
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(r.abs), ".yml"), ".yaml"), ".clab")
		r.errorAt(1, 1, "add a line such as name: "+base, "the lab has no name")
	case !labName.MatchString(t.Name):
		r.errorAt(name.line, name.column, "", "lab name %q: use up to 63 letters, digits, '-', '_' and '.'", t.Name)
	}
	if body == nil || body.form == formNull {
		r.errorAt(bodyAt.line, bodyAt.column, "add topology: with nodes: below it", "the file has no topology")
		return nil
	}
	base := &sections{lab: t.Name, defaults: r.definition(&value{}, "defaults"), kinds: map[string]*definition{}, groups: map[string]*definition{}}
	var nodes, links *value
	r.fields(body, "topology", sectionConstructs, map[string]func(field){
		"defaults": func(f field) { base.defaults = r.definition(f.value, "defaults") },
		"kinds":    func(f field) { r.section(f.value, "kind", base.kinds) },
		"groups":   func(f field) { r.section(f.value, "group", base.groups) },
		"nodes":    func(f field) { nodes = f.value },
		"links":    func(f field) { links = f.value },
	})
	if body.form != formMap {
		return nil
	}
	if nodes == nil || nodes.form == formNull || (nodes.form == formMap && len(nodes.fields) == 0) {
		r.errorAt(bodyAt.line, bodyAt.column, "", "the topology has no nodes")
		return nil
	}
	if nodes.form != formMap {
		r.errorAt(nodes.line, nodes.column, "write each as name: on a line of its own", "nodes must be a map, this is %s", nodes.form)
		return nil
	}
	if len(nodes.fields) > maxNodes {
		r.errorAt(nodes.line, nodes.column, "", "%d nodes: a lab has at most %d", len(nodes.fields), maxNodes)
		return nil
	}
	r.broken, r.outside = map[string]bool{}, map[string]lab.OutsideType{}
	lower := map[string]string{}
	var waits []wait
	seen := map[*definition]bool{}
	addresses := map[string]*value{}
	for _, f := range nodes.fields {
		switch other, ok := lower[strings.ToLower(f.name)]; {
		case strings.Contains(f.name, "|"):
			bridge, other, _ := strings.Cut(f.name, "|")
			r.errorAt(f.line, f.column, fmt.Sprintf("call it %q, and it is a switch of the lab's own", bridge), "node %q: a bridge inside the namespace of another node (%s) is not served", f.name, other)
			r.broken[f.name] = true
			continue
		case len(f.name) > maxHostName || !hostName.MatchString(f.name):
			r.errorAt(f.line, f.column, "", "node name %q cannot be a host name: use up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", f.name)
			r.broken[f.name] = true
			continue
		case slices.Contains(special, f.name) && !r.isMachine(f.value):
			r.errorAt(f.line, f.column, "", "node name %q has a meaning of its own in links", f.name)
			r.broken[f.name] = true
			continue
		case ok:
			r.errorAt(f.line, f.column, "", "node names %q and %q differ by case only", other, f.name)
		}
		lower[strings.ToLower(f.name)] = f.name
		n, ls, ok := r.node(f.name, f, base)
		if !ok {
			r.broken[f.name] = true
			continue
		}
		if out := r.partOfMachine(n); out != "" {
			r.outside[n.Name] = out
			r.notANode(n, ls)
			continue
		}
		t.Nodes = append(t.Nodes, n)
		r.namesake(n, f)
		for _, d := range ls {
			if !seen[d] {
				seen[d] = true
				waits = append(waits, d.waits...)
			}
		}
		for _, name := range []string{"mgmt-ipv4", "mgmt-ipv6"} {
			if s, ok := ls[len(ls)-1].single[name]; ok {
				addresses[n.Name+" "+name] = s.at
			}
		}
	}
	if len(t.Nodes) == 0 && r.fails == 0 {
		r.errorAt(nodes.line, nodes.column, "", "the topology has no nodes of its own, only parts of the machine")
	}
	r.checkWaits(t, waits)
	r.nodeAddresses(t, addresses)
	r.links(t, links)
	return t
}

// isMachine reports whether a node says itself that it is the machine.
func (r *reader) isMachine(v *value) bool {
	kind := v.get("kind")
	return kind != nil && r.opt.Kinds != nil && r.opt.Kinds.Outside(kind.text) == lab.OutsideHost
}

// partOfMachine says what part of the machine a node is, if it is one.
func (r *reader) partOfMachine(n lab.Node) lab.OutsideType {
	if r.opt.Kinds == nil {
		return ""
	}
	out := r.opt.Kinds.Outside(n.Kind)
	if out == lab.OutsideHost || out != "" && n.Container.NetworkMode == "host" {
		return out
	}
	return ""
}

// namesake warns of a switch that the machine has a bridge by the name of:
// containerlab would take that one.
func (r *reader) namesake(n lab.Node, f field) {
	if r.opt.Kinds == nil || r.opt.Kinds.Outside(n.Kind) == "" {
		return
	}
	if _, err := os.Stat(filepath.Join("/sys/class/net", n.Name)); err == nil {
		r.warnAt(f.line, f.column, "network-mode: host takes the machine's", "node %q is a switch of the lab's own, not the machine's interface of that name", n.Name)
	}
}

// notANode says what a part of the machine was asked for in vain.
func (r *reader) notANode(n lab.Node, ls levels) {
	if at := ls[len(ls)-1].lists["exec"]; len(at) > 0 {
		r.warnOnce("exec on the machine", at[0].line, at[0].column, "node %q: commands are not run on the machine itself", n.Name)
	}
	if problem := interfaceName(n.Name); problem != "" && r.outside[n.Name] != lab.OutsideHost {
		s, _ := ls.single("kind")
		r.errorAt(s.at.line, s.at.column, "", "node %q: the name of the machine's bridge %s", n.Name, problem)
	}
}

func (r *reader) section(v *value, what string, into map[string]*definition) {
	if v.form == formNull {
		return
	}
	if v.form != formMap {
		r.errorAt(v.line, v.column, "", "%ss must be a map, this is %s", what, v.form)
		return
	}
	for _, f := range v.fields {
		d := r.definition(f.value, what+` "`+f.name+`"`)
		name := f.name
		if what == "kind" && r.opt.Kinds != nil {
			canonical, ok := r.canonical(f.name)
			if _, elsewhere := r.opt.Kinds.Elsewhere(strings.ToLower(f.name)); !ok && !elsewhere {
				r.warnAt(f.line, f.column, didYouMean(lab.Closest(f.name, r.opt.Kinds.Names())), "kinds: unknown kind %q", f.name)
			} else if ok {
				name = canonical
			}
		}
		into[name] = d
	}
}

func (r *reader) links(t *lab.Topology, v *value) {
	if v == nil || v.form == formNull {
		return
	}
	if v.form != formList {
		r.errorAt(v.line, v.column, `write each as - endpoints: ["a:eth1", "b:eth1"]`, "links must be a list, this is %s", v.form)
		return
	}
	if len(v.items) > maxLinks {
		r.errorAt(v.line, v.column, "", "%d links: a lab has at most %d", len(v.items), maxLinks)
		return
	}
	index := make(map[string]int, len(t.Nodes))
	for i, n := range t.Nodes {
		index[n.Name] = i
	}
	r.index = index
	r.used, r.onMachine = map[lab.Endpoint]int{}, map[string]int{}
	for i, item := range v.items {
		r.link(t, item, i)
	}
}
