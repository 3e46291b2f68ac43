package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/topology"
)

// readAdditions turns the nodes that are described by text into nodes to add,
// and returns the startup configurations of these.
func (e *Engine) readAdditions(ctx context.Context, req *api.EditRequest) (map[string]string, error) {
	if len(req.AddTexts) == 0 {
		return nil, nil
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return nil, err
	}
	var top lab.Topology
	if err := c.call(ctx, func(c *controller) error { top = c.m.topology; return nil }); err != nil {
		return nil, err
	}
	e.reloadVendors()
	configs := map[string]string{}
	for _, text := range req.AddTexts {
		n, err := e.readAddition(ctx, text, &top)
		if err != nil {
			return nil, err
		}
		if configs[n.Name], err = configText(n); err != nil {
			return nil, api.Errorf(api.CodeUsage, "node %s: startup-config: %v", n.Name, err)
		}
		req.AddNodes = append(req.AddNodes, n)
	}
	req.AddTexts = nil
	return configs, nil
}

func (e *Engine) readAddition(ctx context.Context, text api.NodeText, to *lab.Topology) (lab.Node, error) {
	if _, ok := to.Node(text.Name); ok {
		return lab.Node{}, alreadyThere(to.Name, text.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, fetching)
	defer cancel()
	file := text.File
	if file == "" {
		file = filepath.Join(text.Folder, text.Name)
		var err error
		if text.Text, err = topology.NodeFields(withKind(text.Fields)); err != nil {
			return lab.Node{}, api.Errorf(api.CodeUsage, "node %s: %v", text.Name, err)
		}
	}
	n, _, err := topology.ReadNode(text.Name, file, []byte(text.Text), to, topology.Options{Env: lookup(text.Env), Environ: all(text.Env),
		Kinds: e.vendors.Load(), Fetch: e.fetcher(ctx, func(string, string, error) {})})
	var bad *lab.FileError
	switch {
	case err == nil:
		return n, nil
	case !errors.As(err, &bad):
		return n, api.Errorf(api.CodeUsage, "%v", err)
	case text.File != "":
		return n, fileError(text.File, err)
	}
	for i := range bad.Diagnostics { // what was not in a file has no place
		d := &bad.Diagnostics[i]
		d.File, d.Line, d.Column = "", 0, 0
	}
	out := &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf("node %s cannot be added: %s", text.Name, plural(len(bad.Diagnostics), "error")), Diagnostics: bad.Diagnostics}
	if len(bad.Diagnostics) == 1 {
		out.Message, out.Hint, out.Diagnostics = bad.Diagnostics[0].Message, bad.Diagnostics[0].Hint, nil
	}
	return n, out
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
