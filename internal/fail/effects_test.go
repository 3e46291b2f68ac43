package fail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// effects are the calls by which what is outside of the program is changed, by
// package and name; a type's methods and a package's functions alike.
var effects = map[string]*regexp.Regexp{
	"github.com/vishvananda/netlink":           regexp.MustCompile(`^(Link|Addr|Route|Qdisc|Class|Filter|Neigh|Rule|BridgeVlan|Chain)(Add|Del|Set|Replace|Change|Modify|Append)`),
	"github.com/vishvananda/netlink/nl":        regexp.MustCompile(`^(Execute|ExecuteIter|Send)$`),
	"golang.org/x/sys/unix":                    regexp.MustCompile(`^(Mount|Unmount|Unshare|PivotRoot|MoveMount|Kill|PidfdSendSignal|Renameat2?|Symlink)$`),
	"syscall":                                  regexp.MustCompile(`^(Mount|Unmount|Unshare|PivotRoot|Kill)$`),
	"os":                                       regexp.MustCompile(`^(Rename|Remove|RemoveAll|Symlink|Link|StartProcess|Kill|Signal)$`),
	"os/exec":                                  regexp.MustCompile(`^(Start|Run|Output|CombinedOutput)$`),
	"github.com/digitalocean/go-libvirt":       regexp.MustCompile(`^Domain(Create|Define|Undefine|Destroy|Suspend|Resume|Rename|Shutdown|Reboot|Reset|Attach|Detach|Update|Set|Managed|Save|Restore|Send|Abort)`),
	"github.com/moby/moby/client":              regexp.MustCompile(`^New`),              // every request goes by a place of its client's
	"github.com/ovn-kubernetes/libovsdb/ovsdb": regexp.MustCompile(`^NewTransactArgs$`), // what is to be changed; all else that is asked only looks
}

// without are functions and packages whose calls need no place, and why.
var without = map[string]string{
	"archetype/backends/privilege":              "tries things in namespaces of a thread that ends with the try",
	"archetype/backends/provider/netns/applets": "is what people run in a node: each run is a process of its own, and ends with what it did",
	"archetype/backends/provider/netns/nodeinit": "is a node's own first process: what it does is in the node's namespaces and goes with it, " +
		"and what becomes of a node that ends there is tried by holder.boot",

	"archetype/backends/diskimage.Inspect":                         "only looks",
	"archetype/backends/diskimage.Check":                           "only looks",
	"(*archetype/backends/diskimage.Store).Import":                 "takes away what a failed import has left under a name that nothing reads",
	"archetype/backends/diskimage.Run":                             "is called within image.import and machine.disk, where something of it is kept",
	"(*archetype/backends/network/nsnet.NS).inUse":                 "only looks",
	"archetype/backends/network/ovs.findSwitch":                    "asks whether a process is there",
	"archetype/backends/provider/podman.UserNamespace":             "has Podman make the namespace that it makes for its own commands, and keeps",
	"archetype/backends/provider/dockerapi.Dial":                   "puts the places into every connection to an engine: here, and nowhere else, one is made",
	"archetype/backends/provider/libvirt.overCommand":              "starts a connection, which ends with the program",
	"(*archetype/backends/provider/libvirt.commandConn).Close":     "ends that connection",
	"archetype/backends/provider/libvirt.try":                      "runs an emulator to see whether it can, and ends it",
	"archetype/backends/provider/libvirt.tryKVM":                   "takes away that emulator's disk",
	"(*archetype/backends/provider/libvirt.Provider).start":        "takes away a socket that nobody listens at",
	"(*archetype/backends/provider/nskeep.Place).Off":              "asks whether a process is there",
	"(*archetype/backends/provider/libvirt.connection).compare":    "only looks",
	"archetype/backends/provider/nskeep.bind":                      "is called within keep.mount",
	"archetype/backends/provider/nskeep.fresh":                     "makes a namespace that goes with its thread until keep.mount holds it",
	"archetype/backends/provider/netns/holder.launch":              "starts the holder, which ends by itself when nobody uses it, and is asked for nothing before it answers",
	"archetype/backends/provider/netns/holder.probe":               "tries things in namespaces of its own",
	"(*archetype/backends/provider/netns/holder.server).mayEnd":    "takes away its socket at its end; the next holder does where it could not",
	"archetype/backends/provider/netns/holder.settle":              "is about its thread alone",
	"(*archetype/backends/provider/netns/holder.spawner).newNetns": "makes a namespace that goes with the process",
}

// excepted is the reason for which a function needs no place.
func excepted(fn string) (key string, ok bool) {
	if _, ok := without[fn]; ok {
		return fn, true
	}
	pkg := strings.TrimLeft(fn, "(*")
	slash := strings.LastIndex(pkg, "/")
	pkg, _, _ = strings.Cut(pkg[slash+1:], ".")
	key = strings.TrimLeft(fn, "(*")[:slash+1] + pkg
	_, ok = without[key]
	return key, ok
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// program is the source of some packages, with types.
type program struct {
	fset  *token.FileSet
	info  *types.Info
	files []*ast.File
}

// backends is where the packages are that change something outside.
const backends = "archetype/backends/"

// load checks those that the program is made of against the compiler's own data
// of all that they import. The flags are those by which the tests build it.
func load(t *testing.T) *program {
	t.Helper()
	cmd := exec.Command("go", "list", "-trimpath", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", ".")
	cmd.Dir = filepath.Join("..", "..")
	errs := &strings.Builder{}
	cmd.Stderr = errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	exports := map[string]string{}
	var ours []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, backends) {
			ours = append(ours, p)
		}
	}
	p := &program{fset: token.NewFileSet(), info: &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}}
	imp := importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, pkg := range ours {
		var files []*ast.File
		for _, name := range pkg.GoFiles {
			f, err := parser.ParseFile(p.fset, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if _, err := (&types.Config{Importer: imp}).Check(pkg.ImportPath, p.fset, files, p.info); err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, files...)
	}
	return p
}

// site is a call, and whether a place is before and after it.
type site struct {
	in     string // function
	at     token.Pos
	what   string
	pkg    string // where it is an effect
	placed bool
}

// sites finds the calls of effects and of functions of the packages themselves.
func (p *program) sites() (calls []site, values map[string]bool) {
	values = map[string]bool{}
	for _, f := range p.files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			in := p.info.Defs[fn.Name].(*types.Func).FullName()
			p.walk(in, fn.Body, false, &calls, values)
		}
	}
	return calls, values
}

// callee is what is called, nil where that is known only at run time.
func (p *program) callee(call *ast.CallExpr) (*types.Func, *ast.Ident) {
	id, _ := call.Fun.(*ast.Ident)
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		id = sel.Sel
	}
	if id == nil {
		return nil, nil
	}
	fn, _ := p.info.Uses[id].(*types.Func)
	return fn, id
}

// walk looks through a function: placed says that a place is around all of it.
func (p *program) walk(in string, body ast.Node, placed bool, calls *[]site, values map[string]bool) {
	var points []token.Pos
	deferred := false
	ast.Inspect(body, func(n ast.Node) bool {
		if d, ok := n.(*ast.DeferStmt); ok {
			if fn, _ := p.callee(d.Call); fn != nil && fn.FullName() == "archetype/internal/fail.Point" {
				deferred = true
				return false
			}
		}
		if c, ok := n.(*ast.CallExpr); ok {
			if fn, _ := p.callee(c); fn != nil && fn.FullName() == "archetype/internal/fail.Point" {
				points = append(points, c.Pos())
			}
		}
		return true
	})
	between := func(at token.Pos) bool {
		before := slices.ContainsFunc(points, func(x token.Pos) bool { return x < at })
		return before && (deferred || slices.ContainsFunc(points, func(x token.Pos) bool { return x > at }))
	}
	called := map[*ast.Ident]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			fn, id := p.callee(n)
			if fn == nil {
				return true
			}
			called[id] = true
			name := fn.FullName()
			if name == "archetype/internal/fail.Around" {
				p.walk(in, n.Args[1], true, calls, values)
				return false
			}
			pkg := ""
			if fn.Pkg() != nil {
				pkg = fn.Pkg().Path()
			}
			c := site{in: in, at: n.Pos(), what: name, placed: placed || between(n.Pos())}
			if e := effects[pkg]; e != nil && e.MatchString(fn.Name()) {
				c.pkg = pkg
			}
			if c.pkg != "" || strings.HasPrefix(pkg+"/", backends) {
				*calls = append(*calls, c)
			}
		case *ast.Ident:
			fn, ok := p.info.Uses[n].(*types.Func)
			switch {
			case !ok || called[n]:
			case placed: // handed on, and called within
				*calls = append(*calls, site{in: in, at: n.Pos(), what: fn.FullName(), placed: true})
			default:
				values[fn.FullName()] = true
			}
		}
		return true
	})
}

// TestEveryEffectHasItsPlaces: whatever a backend changes outside, a test can
// end the program before and after it.
func TestEveryEffectHasItsPlaces(t *testing.T) {
	p := load(t)
	calls, values := p.sites()
	// What a function does has its places also where each of its callers has.
	callers := map[string][]site{}
	for _, c := range calls {
		callers[c.what] = append(callers[c.what], c)
	}
	covered := map[string]bool{}
	for again := true; again; {
		again = false
		for fn, from := range callers {
			if !covered[fn] && !values[fn] && !slices.ContainsFunc(from, func(c site) bool { return !c.placed && !covered[c.in] }) {
				covered[fn], again = true, true
			}
		}
	}
	used, found := map[string]bool{}, map[string]bool{"syscall": true} // package unix is used for that
	for _, c := range calls {
		if c.pkg == "" {
			continue
		}
		found[c.pkg] = true
		if c.placed || covered[c.in] {
			continue
		}
		if key, ok := excepted(c.in); ok {
			used[key] = true
			continue
		}
		t.Errorf("%s: %s calls %s, and no test can end the program there: put it in fail.Around, or say in this test why it needs no place", p.fset.Position(c.at), c.in, c.what)
	}
	for _, fn := range slices.Sorted(maps.Keys(without)) {
		if !used[fn] {
			t.Errorf("%s needs no exception", fn)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(effects)) {
		if !found[pkg] {
			t.Errorf("no call of %s is found any more: how else is it done?", pkg)
		}
	}
}
