package topology

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"archetype/lab"
)

// inherited are the levels of one node, with its kind and group settled in
// containerlab's way: the kind may come from the node, its group, the default
// group or the defaults; the group from the node, its kind or the defaults.
func (s *sections) inherited(r *reader, own *definition) (l levels, kind single, ok bool) {
	groupOf := func(d *definition) *definition {
		name, _ := d.single["group"].value.(string)
		return s.groups[name]
	}
	for _, d := range []*definition{own, groupOf(own), groupOf(s.defaults), s.defaults} {
		if d == nil {
			continue
		}
		if kind, ok = d.single["kind"]; ok {
			break
		}
	}
	if !ok {
		return nil, kind, false
	}
	l = levels{s.defaults}
	byKind := s.kindLevel(r, kind.value.(string))
	if byKind != nil {
		l = append(l, byKind)
	}
	for _, d := range []*definition{own, byKind, s.defaults} {
		if d == nil {
			continue
		}
		if name, ok := d.single["group"]; ok {
			if g := s.groups[name.value.(string)]; g != nil {
				l = append(l, g)
			}
			break
		}
	}
	return append(l, own), kind, true
}

// kindLevel is what the kinds section says of a kind, by any of its names.
func (s *sections) kindLevel(r *reader, kind string) *definition {
	if d, ok := s.kinds[kind]; ok {
		return d
	}
	if name, ok := r.canonical(kind); ok {
		return s.kinds[name]
	}
	return s.kinds[strings.ToLower(kind)]
}

// canonical is the kind's own name, for a name or alias in any case. Without
// a registry every name is one.
func (r *reader) canonical(kind string) (string, bool) {
	kind = strings.ToLower(strings.TrimSpace(kind))
	if r.opt.Kinds == nil {
		return kind, true
	}
	return r.opt.Kinds.Canonical(kind)
}

func (r *reader) node(name string, f field, base *sections) (lab.Node, levels, bool) {
	what := fmt.Sprintf("node %q", name)
	own := r.definition(f.value, what)
	ls, kind, ok := base.inherited(r, own)
	if !ok {
		r.errorAt(f.line, f.column, "", "%s has no kind", what)
		return lab.Node{}, nil, false
	}
	kindName, ok := r.canonical(kind.value.(string))
	if !ok {
		r.unknownKind(kind, what)
		return lab.Node{}, nil, false
	}
	n := lab.Node{Name: name, Kind: kindName, Type: get[string](ls, "type"), Group: get[string](ls, "group"),
		Provider: get[string](ls, "provider"), Image: get[string](ls, "image"),
		Entrypoint: get[string](ls, "entrypoint"), Cmd: get[string](ls, "cmd"), User: get[string](ls, "user"),
		Labels: ls.merged("labels"), Sysctls: ls.merged("sysctls"), MTU: get[int](ls, "mtu")}
	if n.Provider == "" {
		n.Provider = get[string](ls, "runtime")
	}
	if t, ok := ls.single("type"); ok && r.opt.Kinds != nil {
		if types := r.opt.Kinds.Types(kindName); len(types) > 0 && !slices.Contains(types, strings.ToLower(n.Type)) {
			r.errorAt(t.at.line, t.at.column, didYouMean(lab.Closest(strings.ToLower(n.Type), types)), "%s: type %q: kind %s has %s", what, n.Type, kindName, strings.Join(types, ", "))
		}
	}
	n.StartupDelay = get[time.Duration](ls, "startup-delay")
	n.EnforceConfig, n.SuppressConfig = get[bool](ls, "enforce-startup-config"), get[bool](ls, "suppress-startup-config")
	replace := func(s string) string { return r.magic(s, name, base.lab) }
	n.Stages = r.stagePlans(ls, replace)
	n.Container = r.container(ls)
	n.Container.Volumes = volumes(ls, replace)
	n.Env = r.environment(ls, what, replace)
	for _, line := range ls.texts("exec") {
		n.Exec = append(n.Exec, replace(line))
	}
	r.binds(&n, ls, base.lab)
	if s, ok := ls.single("startup-config"); ok {
		r.startupConfig(&n, s.at, base.lab)
	}
	if s, ok := ls.single("license"); ok && r.opt.Kinds != nil {
		r.license(&n, s.at, base.lab)
	}
	return n, ls, true
}

func (r *reader) unknownKind(kind single, what string) {
	name := strings.ToLower(kind.value.(string))
	if why, ok := r.opt.Kinds.Elsewhere(name); ok {
		r.errorOnce("kind "+name, kind.at.line, kind.at.column, "%s: containerlab's kind %q is not served: %s; a vendor file of yours can bring it in", what, name, why)
		return
	}
	names := r.opt.Kinds.Names()
	hint := didYouMean(lab.Closest(name, names))
	if hint == "" {
		hint = "archetype vendors lists the kinds"
	}
	r.errorAt(kind.at.line, kind.at.column, hint, "%s: unknown kind %q", what, name)
}

// magic replaces containerlab's own variables. As there, the lab's name is
// that of its folder, clab- and all.
func (r *reader) magic(s, node, labName string) string {
	if !strings.Contains(s, "__clab") {
		return s
	}
	base := filepath.Dir(r.abs)
	if dir, ok := r.opt.Env("CLAB_LABDIR_BASE"); ok && dir != "" {
		base = r.absolute(dir)
	}
	dir := filepath.Join(base, "clab-"+labName)
	return strings.NewReplacer("__clabNodeDir__", filepath.Join(dir, node), "__clabDir__", dir,
		"__clabNodeName__", node, "__clabLabName__", filepath.Base(dir)).Replace(s)
}

func (r *reader) absolute(path string) string {
	if home, err := os.UserHomeDir(); err == nil && (path == "~" || strings.HasPrefix(path, "~/")) {
		return filepath.Join(home, path[1:])
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(r.abs), path)
	}
	return filepath.Clean(path)
}

// checkBind looks at a bind's form; its host path is made absolute once the
// node's name is known.
func (r *reader) checkBind(v *value, what string) {
	if strings.HasPrefix(v.text, "/") && !strings.Contains(v.text, ":") { // a volume without a name
		return
	}
	switch b, err := lab.ParseBind(v.text); {
	case err != nil:
		r.errorAt(v.line, v.column, "write host-path:/path/in/the/node or host-path:/path:ro", "%s: %q is not a bind", what, v.text)
	default:
		for _, o := range b.Options {
			if !slices.Contains(bindOptions, o) {
				r.errorAt(v.line, v.column, "the options are "+strings.Join(bindOptions, ", "), "%s: %q has the unknown option %q", what, v.text, o)
			}
		}
	}
}

var bindOptions = []string{"ro", "rw", "z", "Z", "shared", "rshared", "slave", "rslave", "private", "rprivate", "nocopy", "consistent", "cached", "delegated"}

func (r *reader) checkVolume(v *value, what string) {
	parts := strings.Split(v.text, ":")
	switch {
	case len(parts) == 1 && strings.HasPrefix(v.text, "/"):
	case len(parts) > 1 && strings.HasPrefix(parts[0], "/"):
		r.errorAt(v.line, v.column, "write it under binds", "%s: %q is a path of the machine, not a volume", what, v.text)
	case len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/"):
		r.errorAt(v.line, v.column, "write name:/path/in/the/node or /path", "%s: %q is not a volume", what, v.text)
	case len(parts) == 3:
		for _, o := range strings.Split(parts[2], ",") {
			if !slices.Contains([]string{"ro", "rw", "nocopy", "volume-nocopy"}, o) {
				r.errorAt(v.line, v.column, "the options are ro, rw and nocopy", "%s: %q has the unknown option %q", what, v.text, o)
			}
		}
	}
}

// binds merges the levels' binds by their path in the node, where the nearer
// level takes the place. What they take of the machine must be there, as
// containerlab has it: those that a nearer level replaces need not.
func (r *reader) binds(n *lab.Node, ls levels, labName string) {
	targets := map[string]int{}
	var from []*value
	for _, v := range ls.items("binds") {
		host, rest, ok := strings.Cut(r.magic(v.text, n.Name, labName), ":")
		if !ok {
			if !slices.Contains(n.Container.Volumes, v.text) {
				n.Container.Volumes = append(n.Container.Volumes, v.text)
			}
			continue
		}
		target, _, _ := strings.Cut(rest, ":")
		b := r.absolute(host) + ":" + rest
		if i, ok := targets[target]; ok {
			n.Binds[i], from[i] = b, v
			continue
		}
		targets[target] = len(n.Binds)
		n.Binds, from = append(n.Binds, b), append(from, v)
	}
	for i, b := range n.Binds {
		source, _, _ := strings.Cut(b, ":")
		r.bindSource(n, from[i], source, labName)
	}
}

// bindSource is an error where a bind's path on the machine leads to nothing.
func (r *reader) bindSource(n *lab.Node, v *value, source, labName string) {
	_, err := os.Stat(source)
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return // or whoever makes the node may see what the reader may not
	}
	hint := "paths start at the topology file's folder"
	if dir := r.magic("__clabDir__", n.Name, labName); source == dir || strings.HasPrefix(source, dir+"/") {
		hint = "it is in the folder that containerlab keeps for the lab, where this program makes nothing: make it, or name another"
	}
	r.errorAt(v.line, v.column, hint, "node %q: binds: %q: no such file or folder", n.Name, v.text)
}

// volumes merges the levels' volumes by their path in the node, where the
// nearer level takes the place.
func volumes(ls levels, replace func(string) string) []string {
	var out []string
	at := map[string]int{}
	for _, d := range ls {
		for _, v := range d.lists["volumes"] {
			text := replace(v.text)
			parts := strings.Split(text, ":")
			target := parts[min(1, len(parts)-1)]
			if i, ok := at[target]; ok {
				out[i] = text
				continue
			}
			at[target] = len(out)
			out = append(out, text)
		}
	}
	return out
}

func (r *reader) startupConfig(n *lab.Node, v *value, labName string) {
	file := v.text
	if strings.Contains(v.text, "\n") {
		file = ""
	}
	if r.opt.Kinds != nil {
		if why := r.opt.Kinds.StartupConfig(n.Kind, file); why != "" {
			r.warnOnce("startup-config "+n.Kind, v.line, v.column, "node %q: startup-config: %s", n.Name, why)
		}
	}
	if file == "" {
		n.ConfigText = v.text
		return
	}
	if path, ok := r.existing(n, v, labName, "startup-config"); ok {
		n.StartupConfig = path
	}
}

// license puts the licence's file where the kind wants it.
func (r *reader) license(n *lab.Node, v *value, labName string) {
	if strings.Contains(v.text, "\n") {
		r.errorAt(v.line, v.column, "put it into a file and give its path", "node %q: the text of a license is not served", n.Name)
		return
	}
	target, tell := r.opt.Kinds.License(n.Kind)
	if target == "" {
		r.warnOnce("license "+n.Kind, v.line, v.column, "node %q: nodes of kind %q take no license: its vendor file does not say where one goes", n.Name, n.Kind)
		return
	}
	path, ok := r.existing(n, v, labName, "license")
	if !ok || path == "" {
		return
	}
	n.Binds = append(n.Binds, path+":"+target+":ro")
	if tell != "" {
		n.Exec = append(n.Exec, tell)
	}
}

// existing is the path of a file that a node names, of this machine or of the
// web; empty where it is of the web and nothing is to be fetched.
func (r *reader) existing(n *lab.Node, v *value, labName, what string) (string, bool) {
	text := r.magic(v.text, n.Name, labName)
	if strings.Contains(text, "://") {
		return r.fetched(n, v, labName, text, what)
	}
	path := r.absolute(text)
	st, err := os.Stat(path)
	switch {
	case err != nil:
		r.errorAt(v.line, v.column, "paths start at the topology file's folder", "node %q: %s %q: no such file", n.Name, what, v.text)
	case st.IsDir():
		r.errorAt(v.line, v.column, "", "node %q: %s %q is a folder", n.Name, what, v.text)
	default:
		return path, true
	}
	return "", false
}
