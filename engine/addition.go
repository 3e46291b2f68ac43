package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/topology"
)

// additions is what is known beside them of nodes to add, by name.
type additions struct {
	configs  map[string]string // startup configurations
	warnings map[string][]lab.Diagnostic
}

// tell warns of what makes no difference, or may not be meant.
func (a *additions) tell(c *controller) {
	for _, name := range slices.Sorted(maps.Keys(a.warnings)) {
		for _, d := range a.warnings[name] {
			d.Severity = ""
			c.warnf(c.m.nodes[name], "%s", d)
		}
	}
}

// readAdditions turns the nodes that are described by text into nodes to add.
func (e *Engine) readAdditions(ctx context.Context, req *api.EditRequest) (additions, error) {
	out := additions{map[string]string{}, map[string][]lab.Diagnostic{}}
	if len(req.AddTexts) == 0 {
		return out, nil
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return out, err
	}
	var top lab.Topology
	if err := c.call(ctx, func(c *controller) error { top = c.m.topology; return nil }); err != nil {
		return out, err
	}
	e.reloadVendors()
	for _, text := range req.AddTexts {
		n, diags, err := e.readAddition(ctx, text, &top)
		if err != nil {
			return out, err
		}
		out.warnings[n.Name] = diags
		if out.configs[n.Name], err = configText(n); err != nil {
			return out, api.Errorf(api.CodeUsage, "node %s: startup-config: %v", n.Name, err)
		}
		req.AddNodes = append(req.AddNodes, n)
	}
	req.AddTexts = nil
	return out, nil
}

func (e *Engine) readAddition(ctx context.Context, text api.NodeText, to *lab.Topology) (n lab.Node, diags []lab.Diagnostic, err error) {
	if _, ok := to.Node(text.Name); ok {
		return n, nil, alreadyThere(to.Name, text.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, fetching)
	defer cancel()
	file := text.File
	if file == "" {
		file = filepath.Join(text.Folder, text.Name)
		if text.Text, err = topology.NodeFields(withKind(text.Fields)); err != nil {
			return n, nil, api.Errorf(api.CodeUsage, "node %s: %v", text.Name, err)
		}
	}
	n, diags, err = topology.ReadNode(text.Name, file, []byte(text.Text), to, topology.Options{Env: lookup(text.Env), Environ: all(text.Env),
		Kinds: e.vendors.Load(), Fetch: e.fetcher(ctx, func(string, string, error) {})})
	var bad *lab.FileError
	switch {
	case err == nil:
		if text.File == "" {
			diags = placeless(diags)
		}
		return n, diags, nil
	case !errors.As(err, &bad):
		return n, nil, api.Errorf(api.CodeUsage, "%v", err)
	case text.File != "":
		return n, nil, fileError(text.File, err)
	}
	out := &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf("node %s cannot be added: %s", text.Name, plural(len(bad.Diagnostics), "error")), Diagnostics: placeless(bad.Diagnostics)}
	if len(bad.Diagnostics) == 1 {
		out.Message, out.Hint, out.Diagnostics = bad.Diagnostics[0].Message, bad.Diagnostics[0].Hint, nil
	}
	return n, nil, out
}

// placeless is what is said of text that was in no file.
func placeless(diags []lab.Diagnostic) []lab.Diagnostic {
	for i := range diags {
		diags[i].File, diags[i].Line, diags[i].Column = "", 0, 0
	}
	return diags
}

// withKind gives a node the kind that it has where nobody says so.
func withKind(fields []string) []string {
	if slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, "kind=") }) {
		return fields
	}
	return append([]string{"kind=linux"}, fields...)
}

func alreadyThere(labName, node string) error {
	return api.Errorf(api.CodeConflict, "lab %s has a node %s already", labName, node)
}
