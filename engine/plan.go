package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"archetype/engine/api"
	"archetype/internal/bounded"
	"archetype/internal/download"
	"archetype/lab"
	"archetype/topology"
)

// wanted is a file, read and resolved: what a deploy asks for.
type wanted struct {
	top      *lab.Topology
	configs  map[string]string // startup configuration by node
	fetched  map[string]bool   // paths of what came from the web
	warnings []lab.Diagnostic
	provider string
	network  string
	policy   lab.Policy // for drift; empty: as it is
}

// load reads a topology file with the environment of whoever asks.
func (e *Engine) load(req api.DeployRequest) (w *wanted, err error) {
	if req.Policy != "" && !req.Policy.Valid() {
		return nil, badPolicy(req.Policy)
	}
	diags := append(e.reloadVendors(), e.reloadDefaults()...)
	ctx, cancel := context.WithTimeout(e.ctx, fetching)
	defer cancel()
	fetched, of := map[string]bool{}, ""
	defer func() {
		if err != nil {
			e.unfetch(of)
		}
	}()
	fetch := e.fetcher(ctx, func(labName, path string, err error) {
		of = labName
		if err == nil {
			fetched[path] = true
		}
	})
	top, warnings, err := topology.Load(req.File, topology.Options{Env: lookup(req.Env), Environ: all(req.Env),
		Kinds: e.vendors.Load(), Vars: req.Vars, Fetch: fetch})
	if err != nil {
		return nil, fileError(req.File, err, diags...)
	}
	warnings = append(diags, warnings...)
	w = &wanted{top: top, warnings: warnings, configs: map[string]string{},
		provider: req.Provider, network: req.Network, policy: req.Policy, fetched: fetched}
	for _, n := range top.Nodes {
		text, err := configText(n)
		if err != nil {
			return nil, fileError(req.File, &lab.FileError{Diagnostics: []lab.Diagnostic{{
				Severity: lab.SeverityError, File: req.File,
				Message: fmt.Sprintf("node %s: startup-config: %v", n.Name, err)}}})
		}
		w.configs[n.Name] = text
	}
	return w, nil
}

// all is an environment as a topology's reader takes all of it.
func all(env map[string]string) func() map[string]string {
	return func() map[string]string { return env }
}

// lookup is an environment as a topology's reader asks for it.
func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

// fetcher gets files of the web for a topology's reader; told hears of each.
func (e *Engine) fetcher(ctx context.Context, told func(labName, path string, err error)) func(labName, address string) (string, error, error) {
	return func(labName, address string) (string, error, error) {
		path, old, err := e.fetched(labName).Get(ctx, address, maxConfig)
		told(labName, path, err)
		return path, old, err
	}
}

// fetched is where a lab's files of the web are kept. They go with its folder.
func (e *Engine) fetched(labName string) download.Keep {
	return download.Keep{Dir: filepath.Join(e.opt.Labs, labName, ".fetched")}
}

// unfetch removes what was fetched for a lab that came to nothing.
func (e *Engine) unfetch(labName string) {
	if labName == "" {
		return
	}
	dir := e.fetched(labName).Dir
	if _, err := e.controller(labName); err == nil || os.RemoveAll(dir) != nil {
		return
	}
	if os.Remove(filepath.Dir(dir)) == nil { // nothing else of it was there
		_ = os.Remove(e.opt.Labs)
	}
}

// fileError says what is wrong with a file; before are diagnostics of others
// that may be the reason, such as a kind that could not be read.
func fileError(file string, err error, before ...lab.Diagnostic) error {
	out := &api.Error{Code: api.CodeBadFile, Message: err.Error()}
	if fe, ok := errorAs[*lab.FileError](err); ok {
		out.Diagnostics = slices.Concat(before, fe.Diagnostics)
		bad := 0
		for _, d := range fe.Diagnostics {
			if d.Severity == lab.SeverityError {
				bad++
			}
		}
		out.Message = fmt.Sprintf("%s cannot be used: %s", file, plural(bad, "error"))
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const maxConfig = 8 << 20 // bytes of one startup configuration

// fetching is how long all files of the web may take, so that servers which do
// not answer hold a deploy up but once.
const fetching = time.Minute

func configText(n lab.Node) (string, error) {
	if n.StartupConfig == "" {
		return n.ConfigText, nil
	}
	b, err := bounded.ReadFile(n.StartupConfig, maxConfig)
	return string(b), err
}

// hashNode identifies what a node is made from.
func hashNode(spec lab.Node, config string) string {
	b, _ := json.Marshal(spec)
	h := sha256.New()
	h.Write(b)
	h.Write([]byte{0})
	h.Write([]byte(config))
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// plan compares what is wanted with what the lab is made from. c is nil when
// the lab is not deployed.
func (w *wanted) plan(c *controller) *api.Plan {
	p := &api.Plan{Lab: w.top.Name, Warnings: w.warnings}
	if c == nil {
		p.New = true
		for _, n := range w.top.Nodes {
			p.NodesAdded = append(p.NodesAdded, n.Name)
		}
		for _, l := range w.top.AllLinks() {
			p.LinksAdded = append(p.LinksAdded, linkName(l))
		}
		return p
	}
	for _, spec := range w.top.Nodes {
		have := c.m.nodes[spec.Name]
		switch {
		case have == nil || have.remove:
			p.NodesAdded = append(p.NodesAdded, spec.Name)
		case have.hash == hashNode(spec, w.configs[spec.Name]):
			p.NodesUnchanged++
		default:
			fields := changedFields(have.spec, spec)
			if have.config != w.configs[spec.Name] && !slices.Contains(fields, "startup_config") {
				fields = append(fields, "startup_config")
			}
			p.NodesChanged = append(p.NodesChanged, api.Change{Name: spec.Name, Fields: fields})
		}
	}
	for _, n := range c.m.nodeOrder {
		if _, ok := w.top.Node(n.spec.Name); !ok && !n.remove {
			p.NodesRemoved = append(p.NodesRemoved, n.spec.Name)
		}
	}
	want := map[string]bool{}
	for _, spec := range w.top.AllLinks() {
		want[spec.ID()] = true
		have := c.m.links[spec.ID()]
		switch {
		case have == nil || have.remove:
			p.LinksAdded = append(p.LinksAdded, linkName(spec))
		case sameLink(have.spec, spec):
			p.LinksUnchanged++
		default:
			p.LinksChanged = append(p.LinksChanged, api.Change{Name: linkName(spec), Fields: changedLink(have.spec, spec)})
		}
	}
	for _, l := range c.m.linkOrder {
		if !want[l.id] && !l.remove {
			p.LinksRemoved = append(p.LinksRemoved, l.name())
		}
	}
	return p
}

func linkName(l lab.Link) string { return l.A.String() + " -- " + l.B.String() }

// sameLink compares two statements of one link, whichever way round.
func sameLink(a, b lab.Link) bool {
	if a.A.Endpoint != b.A.Endpoint {
		b.A, b.B = b.B, b.A
	}
	return len(changedFields(a, b)) == 0
}

// sameWiring is sameLink but for impairments, which need no wiring anew.
func sameWiring(a, b lab.Link) bool {
	a.A.Impair, a.B.Impair, b.A.Impair, b.B.Impair = lab.Impairment{}, lab.Impairment{}, lab.Impairment{}, lab.Impairment{}
	return sameLink(a, b)
}

// changedLink names what differs between two statements of one link.
func changedLink(a, b lab.Link) []string {
	if a.A.Endpoint != b.A.Endpoint {
		b.A, b.B = b.B, b.A
	}
	if sameWiring(a, b) {
		return []string{"impair"}
	}
	return changedFields(a, b)
}

// changedFields names the fields, as JSON calls them, in which two values of
// one struct type differ once written down.
func changedFields[T any](a, b T) []string {
	var out []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		x, _ := json.Marshal(va.Field(i).Interface())
		y, _ := json.Marshal(vb.Field(i).Interface())
		if string(x) != string(y) {
			name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, name)
		}
	}
	return out
}
