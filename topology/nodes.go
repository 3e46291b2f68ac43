package topology

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"archetype/lab"
)

// definition is what one level (defaults, a kind, a group or a node) says.
type definition struct {
	line, column int
	set          map[string]*value // single values by field
	env, labels  map[string]string
	sysctls      map[string]string
	exec, binds  []string
	mtu          int
}

// notServed are containerlab's fields of a node that have no effect yet.
var notServed = []string{"aliases", "auto-remove", "cap-add", "certificate", "components", "config", "cpu", "cpu-set",
	"credentials", "devices", "dns", "enforce-startup-config", "env-files", "extras", "healthcheck",
	"image-pull-policy", "kernel", "license", "memory", "mgmt-ipv4", "mgmt-ipv6", "network-mode", "ports", "position",
	"publish", "restart-policy", "runtime", "sandbox", "security-opt", "shm-size", "stages", "startup-delay",
	"suppress-startup-config", "tmpfs", "ulimits", "wait-for"}

// single are the fields with one value, where the nearest level wins.
var single = []string{"kind", "group", "type", "image", "entrypoint", "cmd", "user", "startup-config", "provider"}

const minMTU, maxMTU = 68, 65535

func (r *reader) definition(v *value, what string) *definition {
	d := &definition{line: v.line, column: v.column, set: map[string]*value{}}
	served := map[string]func(field){
		"env":     func(f field) { d.env = r.strMap(f.value, what+": env") },
		"labels":  func(f field) { d.labels = r.strMap(f.value, what+": labels") },
		"sysctls": func(f field) { d.sysctls = r.strMap(f.value, what+": sysctls") },
		"exec":    func(f field) { d.exec = r.strs(f.value, what+": exec") },
		"binds":   func(f field) { d.binds = r.binds(f.value, what+": binds") },
		"mtu":     func(f field) { d.mtu = r.integer(f.value, what+": mtu", minMTU, maxMTU) },
	}
	for _, name := range single {
		served[name] = func(f field) {
			r.str(f.value, what+": "+name)
			if f.value.form == formScalar {
				d.set[name] = f.value
			}
		}
	}
	r.fields(v, what, served, notServed)
	return d
}

// binds checks the form of each bind; their host paths are made absolute once
// the node's name is known.
func (r *reader) binds(v *value, what string) []string {
	out := r.strs(v, what)
	for i, b := range out {
		parts := strings.Split(b, ":")
		place := v
		if i < len(v.items) {
			place = v.items[i]
		}
		switch {
		case len(parts) == 1 && strings.HasPrefix(b, "/"): // an empty folder of the node's own
		case len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/"):
			r.errorAt(place.line, place.column, "write host-path:/path/in/the/node or host-path:/path:ro", "%s: %q is not a bind", what, b)
		case len(parts) == 3:
			for _, o := range strings.Split(parts[2], ",") {
				if !slices.Contains([]string{"ro", "rw", "z", "Z"}, o) {
					r.errorAt(place.line, place.column, "the options are ro and rw", "%s: %q has the unknown option %q", what, b, o)
				}
			}
		}
	}
	return out
}

// levels are the definitions a node inherits from, the farthest first, as
// containerlab has it: defaults, kind, group, node.
type levels []*definition

func (l levels) value(name string) *value {
	for _, d := range slices.Backward(l) {
		if v := d.set[name]; v != nil {
			return v
		}
	}
	return nil
}

func (l levels) text(name string) string {
	if v := l.value(name); v != nil {
		return v.text
	}
	return ""
}

func (l levels) merged(pick func(*definition) map[string]string) map[string]string {
	var out map[string]string
	for _, d := range l {
		if m := pick(d); len(m) > 0 {
			if out == nil {
				out = map[string]string{}
			}
			maps.Copy(out, m)
		}
	}
	return out
}

func (r *reader) node(name string, f field, base *sections) (lab.Node, bool) {
	what := fmt.Sprintf("node %q", name)
	v := f.value
	own := r.definition(v, what)
	own.line, own.column = f.line, f.column
	ls := levels{base.defaults, own}
	groupName := ls.text("group")
	group, hasGroup := base.groups[groupName]
	if hasGroup {
		ls = levels{base.defaults, group, own}
	}
	kind := ls.value("kind")
	if kind == nil {
		r.errorAt(f.line, f.column, "", "%s has no kind", what)
		return lab.Node{}, false
	}
	kindName := kind.text
	if r.opt.Kinds != nil {
		canonical, ok := r.opt.Kinds.Canonical(kindName)
		if !ok {
			names := r.opt.Kinds.Names()
			hint := didYouMean(lab.Closest(kindName, names))
			if hint == "" {
				hint = "known kinds: " + strings.Join(names, ", ")
			}
			r.errorAt(kind.line, kind.column, hint, "%s: unknown kind %q", what, kindName)
			return lab.Node{}, false
		}
		kindName = canonical
	}
	ls = levels{base.defaults}
	if k, ok := base.kinds[kindName]; ok {
		ls = append(ls, k)
	} else if k, ok := base.kinds[kind.text]; ok {
		ls = append(ls, k)
	}
	if hasGroup {
		ls = append(ls, group)
	}
	ls = append(ls, own)
	n := lab.Node{Name: name, Kind: kindName, Type: ls.text("type"), Group: groupName, Provider: ls.text("provider"),
		Image: ls.text("image"), Entrypoint: ls.text("entrypoint"), Cmd: ls.text("cmd"), User: ls.text("user"),
		Env:     ls.merged(func(d *definition) map[string]string { return d.env }),
		Labels:  ls.merged(func(d *definition) map[string]string { return d.labels }),
		Sysctls: ls.merged(func(d *definition) map[string]string { return d.sysctls })}
	targets := map[string]int{}
	for _, d := range ls {
		n.Exec = append(n.Exec, d.exec...)
		if d.mtu != 0 {
			n.MTU = d.mtu
		}
		for _, b := range d.binds {
			b = r.bindPath(b, name, base.lab)
			target := strings.Split(b, ":")[min(1, strings.Count(b, ":"))]
			if i, ok := targets[target]; ok { // the nearer level takes the place
				n.Binds[i] = b
				continue
			}
			targets[target] = len(n.Binds)
			n.Binds = append(n.Binds, b)
		}
	}
	if v := ls.value("startup-config"); v != nil {
		r.startupConfig(&n, v, base.lab)
	}
	return n, true
}

// magic replaces containerlab's own variables in a path.
func (r *reader) magic(s, node, labName string) string {
	dir := filepath.Join(filepath.Dir(r.abs), "clab-"+labName)
	return strings.NewReplacer("__clabNodeDir__", filepath.Join(dir, node), "__clabDir__", dir,
		"__clabNodeName__", node, "__clabLabName__", labName).Replace(s)
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

func (r *reader) bindPath(b, node, labName string) string {
	host, rest, ok := strings.Cut(r.magic(b, node, labName), ":")
	if !ok {
		return b
	}
	return r.absolute(host) + ":" + rest
}

func (r *reader) startupConfig(n *lab.Node, v *value, labName string) {
	if strings.Contains(v.text, "\n") {
		n.ConfigText = v.text
		return
	}
	if strings.HasPrefix(v.text, "http://") || strings.HasPrefix(v.text, "https://") {
		r.errorAt(v.line, v.column, "fetch it and give its path", "node %q: a startup-config from the network is not served yet", n.Name)
		return
	}
	path := r.absolute(r.magic(v.text, n.Name, labName))
	st, err := os.Stat(path)
	switch {
	case err != nil:
		r.errorAt(v.line, v.column, "paths start at the topology file's folder", "node %q: startup-config %q: no such file", n.Name, v.text)
	case st.IsDir():
		r.errorAt(v.line, v.column, "", "node %q: startup-config %q is a folder", n.Name, v.text)
	default:
		n.StartupConfig = path
	}
}
