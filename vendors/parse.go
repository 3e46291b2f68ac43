package vendors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"archetype/lab"
)

// providers are the names a kind may give: the seam's providers, as the
// program's users write them.
var providers = []string{"netns", "docker", "podman", "libvirt"}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$`)

// Parse reads one vendor file. The kind is nil when the file cannot be used;
// the diagnostics then say all that is wrong with it, each with its place.
func Parse(file string, data []byte) (k *Kind, diags []lab.Diagnostic) {
	p := &checker{file: file}
	defer func() {
		// The YAML library has panicked on odd input before; a user's file
		// must not take the program down.
		if r := recover(); r != nil {
			p.diags = append(p.diags, lab.Diagnostic{Severity: lab.SeverityError, File: file, Line: 1,
				Column: 1, Message: fmt.Sprintf("the file cannot be read as YAML: %v", r)})
			k, diags = nil, p.diags
		}
	}()
	if len(data) > maxFile {
		p.at("$", "%d bytes: a vendor file has at most %d", len(data), maxFile)
		return nil, p.diags
	}
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		p.yaml(err)
		return nil, p.diags
	}
	p.root = f
	k = &Kind{}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(k); err != nil {
		if errors.Is(err, io.EOF) {
			p.at("$", "the file is empty")
		} else {
			p.yaml(err)
		}
		return nil, p.diags
	}
	p.kind(k)
	if len(p.diags) > 0 {
		return nil, p.diags
	}
	return k, nil
}

type checker struct {
	file  string
	root  *ast.File
	diags []lab.Diagnostic
}

// at records an error at the place of a YAML path.
func (p *checker) at(path, format string, a ...any) {
	d := lab.Diagnostic{Severity: lab.SeverityError, File: p.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, a...)}
	if yp, err := yaml.PathString(path); err == nil && p.root != nil {
		if n, err := yp.FilterFile(p.root); err == nil && n != nil && n.GetToken() != nil {
			pos := n.GetToken().Position
			d.Line, d.Column = pos.Line, pos.Column
		}
	}
	p.diags = append(p.diags, d)
}

// yaml records an error of the YAML library, with its place.
func (p *checker) yaml(err error) {
	d := lab.Diagnostic{Severity: lab.SeverityError, File: p.file, Line: 1, Column: 1}
	var ye yaml.Error
	if errors.As(err, &ye) {
		d.Message = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			d.Line, d.Column = t.Position.Line, t.Position.Column
			if strings.Contains(d.Message, "unknown field") {
				d.Message = fmt.Sprintf("unknown field %q", t.Value)
				if s := lab.Closest(t.Value, slices.Concat(fieldNames, vmFields)); s != "" {
					d.Hint = fmt.Sprintf("did you mean %q?", s)
				}
			}
		}
	} else {
		// An error of a value's own reader, such as a time span, comes without
		// its place: look for the value it quotes.
		d.Message = strings.TrimSpace(yaml.FormatError(err, false, false))
		if m := quoted.FindStringSubmatch(d.Message); m != nil && p.root != nil {
			find := &finder{value: m[1]}
			for _, doc := range p.root.Docs {
				ast.Walk(find, doc)
			}
			if find.at != nil {
				d.Line, d.Column = find.at.Line, find.at.Column
			}
		}
	}
	p.diags = append(p.diags, d)
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// finder looks for the first scalar of a value.
type finder struct {
	value string
	at    *token.Position
}

func (f *finder) Visit(n ast.Node) ast.Visitor {
	if s, ok := n.(ast.ScalarNode); ok && f.at == nil && s.GetToken() != nil && s.GetToken().Value == f.value {
		f.at = s.GetToken().Position
	}
	return f
}

func (p *checker) regexp(path, expr string) {
	if _, err := regexp.Compile(expr); err != nil {
		p.at(path, "bad regular expression %q: %v", expr, err)
	}
}

func (p *checker) oneOf(path, what, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.at(path, "%s %q: it can be %s", what, value, strings.Join(allowed, ", "))
	}
}

func (p *checker) absolute(path, what, value string) {
	if !strings.HasPrefix(value, "/") {
		p.at(path, "%s %q must be an absolute path", what, value)
	}
}

func (p *checker) kind(k *Kind) {
	if !nameForm.MatchString(k.Name) {
		p.at("$.name", "name %q: use lower-case letters, digits, '-', '_' and '.'", k.Name)
	}
	for i, a := range k.Aliases {
		if !nameForm.MatchString(a) {
			p.at(fmt.Sprintf("$.aliases[%d]", i), "alias %q: use lower-case letters, digits, '-', '_' and '.'", a)
		}
	}
	if k.Outside != "" {
		p.oneOf("$.outside", "outside", k.Outside, "host", "bridge", "ovs-bridge")
	}
	if len(k.Providers) == 0 && k.Outside != "host" {
		p.at("$.name", "no providers: say what can run the kind (%s)", strings.Join(providers, ", "))
	}
	for i, name := range k.Providers {
		p.oneOf(fmt.Sprintf("$.providers[%d]", i), "provider", name, providers...)
	}
	if k.Console.Method != "" {
		p.oneOf("$.console.method", "console method", k.Console.Method, "shell", "attach", "serial", "ssh")
	}
	p.interfaces("$.interfaces", k.Interfaces)
	for i, m := range k.Mounts {
		p.absolute(fmt.Sprintf("$.mounts[%d].target", i), "mount target", m.Target)
		if m.Source == "" {
			p.at(fmt.Sprintf("$.mounts[%d]", i), "mount without a source")
		}
	}
	p.files(k)
	p.readiness("$.readiness", k.Readiness)
	if k.Readiness.Probe == "dialogue" || k.Embedded.Readiness.Probe == "dialogue" {
		p.at("$.readiness.probe", "only a virtual machine has a dialogue: put it under vm")
	}
	p.progress("$.progress", k.Progress)
	p.readiness("$.embedded.readiness", k.Embedded.Readiness)
	p.progress("$.embedded.progress", k.Embedded.Progress)
	if k.StartupConfig.Path != "" {
		p.absolute("$.startup_config.path", "startup configuration", k.StartupConfig.Path)
	}
	if k.License.Path != "" {
		p.absolute("$.license.path", "licence", k.License.Path)
	} else if k.License.Tell != "" {
		p.at("$.license.tell", "a licence without a path")
	}
	p.extract("$.config_extract", k.ConfigExtract)
	p.vm(k.VM)
	p.embedded(k.Embedded)
}

// files are tried with a node of which nothing is known.
func (p *checker) files(k *Kind) {
	try := func(path, text string) {
		if _, err := (&Vars{}).Render("template", text); err != nil {
			p.at(path, "%v", err)
		}
	}
	for i, f := range k.Files {
		at := fmt.Sprintf("$.files[%d]", i)
		p.absolute(at+".path", "file", f.Path)
		try(at+".path", f.Path)
		try(at+".text", f.Text)
	}
	for name, value := range k.Env {
		try("$.env."+name, value)
	}
	if s := k.StartupConfig; s.Template {
		try("$.startup_config.default", s.Default)
	} else if s.Partial {
		p.at("$.startup_config.partial", "a partial configuration needs a default that is a template")
	} else if len(s.Forms) > 0 {
		p.at("$.startup_config.forms", "other forms need a configuration that is a template")
	}
	for i, f := range k.StartupConfig.Forms {
		at := fmt.Sprintf("$.startup_config.forms[%d]", i)
		p.regexp(at+".match", f.Match)
		p.absolute(at+".path", "startup configuration", f.Path)
		if f.Match == "" || f.Path == "" || f.Apply == "" {
			p.at(at, "a form needs match, path and apply")
		}
	}
	if len(k.Files) > 0 && !slices.Contains(k.Providers, "docker") && !slices.Contains(k.Providers, "podman") {
		p.at("$.files", "only docker and podman place files")
	}
}

func (p *checker) extract(at string, c ConfigExtract) {
	switch c.Method {
	case "":
	case "command":
		if len(c.Command) == 0 {
			p.at(at+".method", "config_extract by command needs a command")
		}
	case "file":
		p.absolute(at+".path", "config_extract path", c.Path)
	default:
		p.oneOf(at+".method", "config_extract method", c.Method, "command", "file")
	}
	for i, expr := range c.Clean {
		p.regexp(fmt.Sprintf("%s.clean[%d]", at, i), expr)
	}
}

func (p *checker) interfaces(base string, i Interfaces) {
	for path, v := range map[string]string{"pattern": i.Pattern, "alias": i.Alias} {
		if v != "" && strings.Count(v, "{n}") != 1 {
			p.at(base+"."+path, "interface %s %q needs {n} once, where the number goes", path, v)
		}
	}
	if i.Alias != "" && i.Pattern == "" {
		p.at(base+".alias", "an interface alias needs a pattern to map to")
	}
	if i.First < 0 || i.Max < 0 || (i.Max > 0 && i.Max < i.First) {
		p.at(base, "interfaces %d to %d: first must not be above max", i.First, i.Max)
	}
	for n, name := range i.Names {
		at := fmt.Sprintf("%s.names[%d]", base, n)
		p.regexp(at+".match", name.Match)
		if name.Match == "" || name.Kernel == "" {
			p.at(at, "a name needs match and kernel")
		}
	}
	if i.KernelNames != "" {
		p.regexp(base+".kernel", i.KernelNames)
	}
	if (i.Env.Name == "") != (i.Env.Each == "") {
		p.at(base+".env", "interfaces.env needs name and each")
	}
	if i.MTU != 0 && (i.MTU < 68 || i.MTU > 65535) {
		p.at(base+".mtu", "mtu %d is not within 68 to 65535", i.MTU)
	}
}

func (p *checker) progress(path string, list []Progress) {
	for i, g := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if (g.Text == "") == (g.Regexp == "") {
			p.at(at, "progress needs either text or regexp, and not both")
		}
		if g.Regexp != "" {
			p.regexp(at+".regexp", g.Regexp)
		}
		if g.Percent < 1 || g.Percent > 100 {
			p.at(at+".percent", "percent %d is not within 1 to 100", g.Percent)
		}
	}
}

func (p *checker) readiness(path string, r Readiness) {
	p.oneOf(path+".probe", "readiness probe", r.Probe, "", "none", "log", "command", "tcp", "ssh", "dialogue", "health")
	switch r.Probe {
	case "log":
		if r.Pattern == "" {
			p.at(path+".probe", "a log probe needs a pattern")
		}
	case "command":
		if len(r.Command) == 0 {
			p.at(path+".probe", "a command probe needs a command")
		}
	case "tcp":
		if r.Port == 0 {
			p.at(path+".probe", "a tcp probe needs a port")
		}
	}
	if r.Port < 0 || r.Port > 65535 {
		p.at(path+".port", "port %d is not within 1 to 65535", r.Port)
	}
	if r.After != "" {
		p.regexp(path+".after", r.After)
	}
	if r.Pattern != "" {
		p.regexp(path+".pattern", r.Pattern)
	}
	for name, d := range map[string]Duration{"interval": r.Interval, "timeout": r.Timeout} {
		if time.Duration(d) < 0 {
			p.at(path+"."+name, "%s cannot be negative", name)
		}
	}
}

func (p *checker) embedded(e Embedded) {
	for i, n := range e.Needs {
		if n.Path == "" || n.Package == "" {
			p.at(fmt.Sprintf("$.embedded.needs[%d]", i), "a need names the program's path and the package that brings it")
		}
	}
	seen := map[string]bool{}
	for i, c := range e.Processes {
		at := fmt.Sprintf("$.embedded.processes[%d]", i)
		switch {
		case c.Name == "" || len(c.Command) == 0:
			p.at(at, "a process needs a name and a command")
		case seen[c.Name]:
			p.at(at+".name", "two processes are called %q", c.Name)
		}
		seen[c.Name] = true
		if c.When != "" {
			p.regexp(at+".when", "(?m)"+c.When)
		}
	}
	for i, f := range e.Folders {
		p.absolute(fmt.Sprintf("$.embedded.folders[%d]", i), "folder", f)
	}
	for f := range e.Files {
		p.absolute("$.embedded.files", "file", f)
	}
}

// fieldNames are the keys of a vendor file, for suggestions.
var fieldNames = []string{"name", "aliases", "description", "vendor", "source", "providers", "images", "console",
	"method", "shell", "user", "interfaces", "pattern", "first", "max", "alias", "management", "mtu", "any", "env",
	"capabilities", "privileged", "mounts", "target", "read_only", "sysctls", "entrypoint", "command", "resources",
	"memory_mb", "cpu", "stop_grace", "readiness", "probe", "interval", "timeout", "progress", "text", "regexp",
	"percent", "message", "interface_wait", "platform_detection_race", "interface_wait_env_var",
	"interface_wait_script", "interface_wait_script_text", "startup_config", "path", "default", "config_extract",
	"clean", "vendor_options", "file", "embedded", "bridge", "needs", "package", "processes", "when", "ready",
	"restart", "groups", "folders", "files", "keep", "types", "template", "partial", "forms", "apply", "devices", "shm_size", "foreign", "names", "match", "kernel", "accepts", "each", "separator", "outside"}
