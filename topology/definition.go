package topology

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"archetype/lab"
)

// definition is what one level (defaults, a kind, a group or a node) says,
// each field checked and read once, with its place.
type definition struct {
	single map[string]single            // one value: the nearest level's counts
	maps   map[string]map[string]string // merged, key by key
	lists  map[string][]*value          // all levels' items, each text once
	stages map[lab.Stage]lab.StagePlan
	waits  []wait
}

// single is a field's value as Go has it, and where it stands.
type single struct {
	at    *value
	value any
}

// wait is a wait-for with its place, to be checked once all nodes are known.
type wait struct {
	lab.WaitFor
	at *value
}

const minMTU, maxMTU = 68, 65535

// readers turn a field's value into what nodes get of it; nil means that the
// value has no effect (it is empty, or an error was recorded).
var readers = map[string]func(r *reader, v *value, what string) any{
	"kind": text, "group": text, "type": text, "image": text, "entrypoint": text, "cmd": text, "user": text,
	"startup-config": text, "license": text, "provider": text, "hostname": hostname, "cpu-set": text, "cgroup-parent": text,
	"image-pull-policy": oneOf("IfNotPresent", "Always", "Never"),
	"restart-policy":    restartPolicy,
	"runtime":           oneOf("docker", "podman", "libvirt"),
	"network-mode":      mode("bridge", "host", "none"),
	"pid-mode":          mode("host", "private"),
	"cgroupns-mode":     oneOf("host", "private"),
	"privileged":        truth, "auto-remove": truth, "enforce-startup-config": truth, "suppress-startup-config": truth,
	"shm-size": size, "memory": size, "cpu": cores,
	"mtu":           number(minMTU, maxMTU),
	"startup-delay": seconds,
	"mgmt-ipv4":     ip(false), "mgmt-ipv6": ip(true),
	"ports":       list(portForm, "[[address:]host-port:]node-port[/protocol]"),
	"aliases":     list(hostName, "a host name"),
	"ulimits":     list(ulimitForm, "name=soft[:hard]"),
	"dns":         dns,
	"healthcheck": healthcheck,
}

var mergedMaps = []string{"env", "labels", "sysctls"}
var mergedLists = []string{"exec", "binds", "volumes", "env-files", "devices", "cap-add", "security-opts"}

func (r *reader) definition(v *value, what string) *definition {
	d := &definition{single: map[string]single{}, maps: map[string]map[string]string{}, lists: map[string][]*value{},
		stages: map[lab.Stage]lab.StagePlan{}}
	handle := map[string]func(field){
		"tmpfs":        func(f field) { d.maps["tmpfs"] = r.tmpfs(f.value, what+": tmpfs") },
		"security-opt": func(f field) { d.lists["security-opts"] = r.items(f.value, what+": security-opt") },
		"stages":       func(f field) { r.stages(d, f, what+": stages") },
	}
	for name, read := range readers {
		handle[name] = func(f field) {
			if x := read(r, f.value, what+": "+name); x != nil {
				d.single[name] = single{f.value, x}
			}
		}
	}
	for _, name := range mergedMaps {
		handle[name] = func(f field) { d.maps[name] = r.strMap(f.value, what+": "+name) }
	}
	for _, name := range mergedLists {
		handle[name] = func(f field) { d.lists[name] = r.items(f.value, what+": "+name) }
	}
	r.fields(v, what, nodeConstructs, handle)
	for _, item := range d.lists["binds"] {
		r.checkBind(item, what+": binds")
	}
	for _, item := range d.lists["volumes"] {
		r.checkVolume(item, what+": volumes")
	}
	return d
}

// Readers of single values.

func text(r *reader, v *value, what string) any {
	if s := strings.TrimSpace(r.str(v, what)); s != "" {
		return r.str(v, what)
	}
	return nil
}

func hostname(r *reader, v *value, what string) any {
	s := r.str(v, what)
	if s == "" {
		return nil
	}
	if len(s) > maxHostName || !hostName.MatchString(s) {
		r.errorAt(v.line, v.column, "", "%s: %q is no host name", what, s)
		return nil
	}
	return s
}

// oneOf takes any spelling of the words, large or small.
func oneOf(words ...string) func(*reader, *value, string) any {
	return func(r *reader, v *value, what string) any {
		s := r.str(v, what)
		if s == "" {
			return nil
		}
		for _, w := range words {
			if strings.EqualFold(strings.TrimSpace(s), w) {
				return w
			}
		}
		hint := didYouMean(lab.Closest(s, words))
		if hint == "" {
			hint = "it can be " + strings.Join(words, ", ")
		}
		r.errorAt(v.line, v.column, hint, "%s: unknown value %q", what, s)
		return nil
	}
}

// mode is one of the words, or container: and a name.
func mode(words ...string) func(*reader, *value, string) any {
	plain := oneOf(append(slices.Clone(words), "container:NAME")...)
	return func(r *reader, v *value, what string) any {
		if name, ok := strings.CutPrefix(v.text, "container:"); ok && v.form == formScalar {
			if name == "" {
				r.errorAt(v.line, v.column, "write container:NAME", "%s: no container is named", what)
				return nil
			}
			return v.text
		}
		return plain(r, v, what)
	}
}

var onFailure = regexp.MustCompile(`^on-failure:[0-9]{1,6}$`)

func restartPolicy(r *reader, v *value, what string) any {
	if v.form == formScalar && onFailure.MatchString(v.text) {
		return v.text
	}
	if v.form == formScalar && v.text == "false" { // an unquoted no
		return "no"
	}
	return oneOf("no", "on-failure", "always", "unless-stopped")(r, v, what)
}

func truth(r *reader, v *value, what string) any {
	s := r.str(v, what)
	switch strings.ToLower(s) {
	case "":
		return nil
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
		return false
	}
	r.errorAt(v.line, v.column, "", "%s must be true or false, this is %q", what, s)
	return nil
}

func number(low, high int) func(*reader, *value, string) any {
	return func(r *reader, v *value, what string) any {
		if n := r.integer(v, what, low, high); n != 0 {
			return n
		}
		return nil
	}
}

func seconds(r *reader, v *value, what string) any {
	if n := r.integer(v, what, 0, 7*24*3600); n != 0 {
		return time.Duration(n) * time.Second
	}
	return nil
}

func cores(r *reader, v *value, what string) any {
	s := r.str(v, what)
	if s == "" {
		return nil
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n <= 4096) {
		r.errorAt(v.line, v.column, "", "%s: %q must be a number of cores within 0 to 4096", what, s)
		return nil
	}
	if n == 0 {
		return nil
	}
	return n
}

func list(form *regexp.Regexp, like string) func(*reader, *value, string) any {
	return func(r *reader, v *value, what string) any {
		var out []string
		for _, item := range r.items(v, what) {
			if !form.MatchString(item.text) {
				r.errorAt(item.line, item.column, "write "+like, "%s: cannot read %q", what, item.text)
				continue
			}
			out = append(out, item.text)
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
}

// levels are the definitions a node inherits from, the farthest first, as
// containerlab has it: defaults, kind, group, node.
type levels []*definition

func (l levels) single(name string) (single, bool) {
	for _, d := range slices.Backward(l) {
		if s, ok := d.single[name]; ok {
			return s, true
		}
	}
	return single{}, false
}

// get is the nearest level's value of a field, or nothing.
func get[T any](l levels, name string) T {
	s, _ := l.single(name)
	x, _ := s.value.(T)
	return x
}

// pointer is get where nothing said differs from the type's zero.
func pointer[T any](l levels, name string) *T {
	if s, ok := l.single(name); ok {
		if x, ok := s.value.(T); ok {
			return &x
		}
	}
	return nil
}

// merged is a map's union, where the nearest level wins.
func (l levels) merged(name string) map[string]string {
	var out map[string]string
	for _, d := range l {
		for k, v := range d.maps[name] {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// items are a list's from all levels, each text once.
func (l levels) items(name string) []*value {
	var out []*value
	seen := map[string]bool{}
	for _, d := range l {
		for _, v := range d.lists[name] {
			if !seen[v.text] {
				seen[v.text] = true
				out = append(out, v)
			}
		}
	}
	return out
}

func (l levels) texts(name string) []string {
	var out []string
	for _, v := range l.items(name) {
		out = append(out, v.text)
	}
	return out
}
