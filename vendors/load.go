package vendors

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"archetype/internal/bounded"
	"archetype/lab"
)

//go:embed kinds/*.yaml
var builtin embed.FS

//go:embed elsewhere.yaml
var elsewhere []byte

// BuiltIn is the origin of the kinds that come with the program.
const BuiltIn = "built-in"

// maxFile bounds a vendor file, in bytes. A kind is a page or two of text.
const maxFile = 1 << 20

// Registry knows all kinds. Built-in ones are read when they are first asked
// for: there are many of them, and a lab has few.
type Registry struct {
	kinds   map[string]*entry // by name
	aliases map[string]string
	names   []string
	// elsewhere are containerlab's kinds that have no file, with the reason.
	elsewhere func() map[string]string
}

// entry is a kind, or the file it is still to be read from.
type entry struct {
	kind   func() *Kind
	origin string
}

// Load reads the built-in kinds and those of the user's folder, which add to
// them or take their place. The diagnostics speak of the user's files only: a
// broken one is an error among them and leaves the other kinds in place. A
// folder that does not exist holds nothing.
func Load(userDir string) (*Registry, []lab.Diagnostic, error) {
	r := &Registry{kinds: map[string]*entry{}, aliases: map[string]string{}, elsewhere: sync.OnceValue(readElsewhere)}
	files, err := fs.Glob(builtin, "kinds/*.yaml")
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		data, err := builtin.ReadFile(f)
		if err != nil {
			return nil, nil, err
		}
		name, aliases := head(data)
		r.kinds[name] = &entry{origin: BuiltIn, kind: sync.OnceValue(func() *Kind {
			k, _ := Parse(path.Base(f), data) // that it parses is tested
			if k != nil {
				k.Origin = BuiltIn
			}
			return k
		})}
		for _, a := range aliases {
			r.aliases[a] = name
		}
	}
	diags, err := r.loadUser(userDir)
	r.names = r.names[:0]
	for name := range r.kinds {
		r.names = append(r.names, name)
	}
	slices.Sort(r.names)
	return r, diags, err
}

// head reads a built-in file's name and aliases, which stand in lines of
// their own at its beginning.
func head(data []byte) (name string, aliases []string) {
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "name":
			name = value
		case "aliases":
			return name, strings.Split(strings.Trim(value, "[]"), ", ")
		case "description":
			return name, nil
		}
	}
	return name, nil
}

func readElsewhere() map[string]string {
	var reasons map[string][]string
	_ = yaml.Unmarshal(elsewhere, &reasons) // that it parses is tested
	out := map[string]string{}
	for why, names := range reasons {
		for _, name := range names {
			out[name] = why
		}
	}
	return out
}

func (r *Registry) loadUser(dir string) ([]lab.Diagnostic, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vendor files: %w", err)
	}
	var diags []lab.Diagnostic
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || (ext != ".yaml" && ext != ".yml") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		data, err := bounded.ReadFile(file, maxFile)
		if err != nil {
			diags = append(diags, lab.Diagnostic{Severity: lab.SeverityError, File: file, Message: err.Error()})
			continue
		}
		k, d := Parse(file, data)
		diags = append(diags, d...)
		if k != nil {
			k.Origin = file
			diags = append(diags, r.add(k, file)...)
		}
	}
	return diags, nil
}

// add takes a kind in. A kind of the same name is replaced with a warning; a
// name that another kind goes by is an error and the kind is left out.
func (r *Registry) add(k *Kind, file string) []lab.Diagnostic {
	refuse := func(format string, a ...any) []lab.Diagnostic {
		return []lab.Diagnostic{{Severity: lab.SeverityError, File: file, Line: 1, Column: 1, Message: fmt.Sprintf(format, a...)}}
	}
	if owner, ok := r.aliases[k.Name]; ok && owner != k.Name {
		return refuse("kind %q: the name is an alias of kind %q (%s)", k.Name, owner, r.kinds[owner].origin)
	}
	for _, a := range k.Aliases {
		if other, ok := r.kinds[a]; ok && a != k.Name {
			return refuse("alias %q is the name of another kind (%s)", a, other.origin)
		}
		if owner, ok := r.aliases[a]; ok && owner != k.Name {
			return refuse("alias %q belongs to kind %q already (%s)", a, owner, r.kinds[owner].origin)
		}
	}
	var diags []lab.Diagnostic
	if old := r.kinds[k.Name]; old != nil {
		diags = append(diags, lab.Diagnostic{Severity: lab.SeverityWarning, File: file, Line: 1, Column: 1,
			Message: fmt.Sprintf("kind %q takes the place of the one from %s", k.Name, old.origin)})
		for a, owner := range r.aliases {
			if owner == k.Name {
				delete(r.aliases, a)
			}
		}
	}
	r.kinds[k.Name] = &entry{origin: k.Origin, kind: func() *Kind { return k }}
	for _, a := range k.Aliases {
		r.aliases[a] = k.Name
	}
	return diags
}

// Kind returns the kind of a name or alias.
func (r *Registry) Kind(name string) (*Kind, bool) {
	if owner, ok := r.aliases[name]; ok {
		name = owner
	}
	e, ok := r.kinds[name]
	if !ok {
		return nil, false
	}
	k := e.kind()
	return k, k != nil
}

// Canonical returns the name of the kind that goes by the name or alias.
func (r *Registry) Canonical(name string) (string, bool) {
	if owner, ok := r.aliases[name]; ok {
		return owner, true
	}
	_, ok := r.kinds[name]
	return name, ok
}

// Outside says what part of the machine a node of the kind is, see
// Kind.Outside; empty for every other kind.
func (r *Registry) Outside(kind string) lab.OutsideType {
	k, ok := r.Kind(kind)
	if !ok {
		return ""
	}
	return lab.OutsideType(k.Outside)
}

// License says where in a node of a kind its licence goes, and what tells the
// device of it; both are empty where it takes none.
func (r *Registry) License(kind string) (path, tell string) {
	k, ok := r.Kind(kind)
	if !ok {
		return "", ""
	}
	return k.License.Path, k.License.Tell
}

// StartupConfig says what of a startup configuration does not come true on nodes
// of a kind; name is that of its file, if it has one.
func (r *Registry) StartupConfig(kind, name string) string {
	k, ok := r.Kind(kind)
	s := StartupConfig{}
	if ok {
		s = k.StartupConfig
	}
	uses := func(f File) bool { return strings.Contains(f.Text, ".StartupConfig") }
	switch {
	case !ok:
	case s.Path == "" && !slices.ContainsFunc(k.Files, uses):
		return fmt.Sprintf("nodes of kind %q take none: its vendor file does not say where one goes", kind)
	case partialName(name) && !s.Partial && len(s.Forms) == 0:
		return fmt.Sprintf("%q is taken for a whole one: nodes of kind %q are given nothing beside it", name, kind)
	}
	return ""
}

// Elsewhere says why a kind that containerlab has is none of these; ok is
// false for one that nobody knows.
func (r *Registry) Elsewhere(kind string) (why string, ok bool) {
	why, ok = r.elsewhere()[kind]
	return why, ok
}

// Names returns the names of all kinds, sorted, without aliases.
func (r *Registry) Names() []string { return slices.Clone(r.names) }

// Kinds returns all kinds by name.
func (r *Registry) Kinds() []*Kind {
	out := make([]*Kind, len(r.names))
	for i, n := range r.names {
		out[i] = r.kinds[n].kind()
	}
	return out
}

// Under returns the same kinds as they would be if the provider named, and no
// other, could run each of them.
func (r *Registry) Under(provider string) *Registry {
	out := *r
	out.kinds = make(map[string]*entry, len(r.kinds))
	for name, e := range r.kinds {
		out.kinds[name] = &entry{origin: e.origin, kind: sync.OnceValue(func() *Kind {
			k := e.kind()
			if k == nil {
				return nil
			}
			under := *k
			under.Providers = []string{provider}
			return &under
		})}
	}
	return &out
}
