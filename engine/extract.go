package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/vendors"
)

// Config implements api.Caretaker.
func (e *Engine) Config(ctx context.Context, req api.ConfigRequest) (*api.Config, error) {
	p, ref, err := e.reach(ctx, req.Lab, req.Node, true)
	if err != nil {
		return nil, err
	}
	c, err := e.controller(req.Lab)
	if err != nil {
		return nil, err
	}
	var kind *vendors.Kind
	if err := c.call(ctx, func(c *controller) error { kind = c.m.nodes[req.Node].kind; return nil }); err != nil {
		return nil, err
	}
	x, command := kind.ConfigExtract, []string(nil)
	switch x.Method {
	case "command":
		command = x.Command
	case "file":
		command = []string{"cat", x.Path}
	default:
		err := api.Errorf(api.CodeUsage, "%s: kind %s does not say how its configuration is read", req.Node, kind.Name)
		err.Hint = "config_extract in its vendor file does"
		return nil, err
	}
	var res backends.ExecResult
	err = e.owned(ctx, lab.JobSave, req.Lab, req.Node, func(ctx context.Context) error {
		res, err = p.Exec(ctx, ref, backends.ExecRequest{Command: command})
		return err
	})
	if err != nil {
		return nil, err
	}
	if res.Code != 0 {
		return nil, api.Errorf(api.CodeFailed, "%s: %s: exit code %d: %s", req.Node, strings.Join(command, " "), res.Code,
			lastLine(string(res.Stdout)+"\n"+string(res.Stderr)))
	}
	text, err := cleaned(string(res.Stdout), x.Clean)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.Node, err)
	}
	return &api.Config{Lab: req.Lab, Node: req.Node, Kind: kind.Name, Text: text}, nil
}

// cleaned is a configuration without the lines that are none of it.
func cleaned(text string, clean []string) (string, error) {
	var drop []*regexp.Regexp
	for _, expr := range clean {
		re, err := regexp.Compile(expr)
		if err != nil {
			return "", err
		}
		drop = append(drop, re)
	}
	var out strings.Builder
next:
	for line := range strings.Lines(strings.TrimLeft(strings.ReplaceAll(text, "\r\n", "\n"), "\n")) {
		for _, re := range drop {
			if re.MatchString(strings.TrimRight(line, "\n")) {
				continue next
			}
		}
		out.WriteString(line)
	}
	text = strings.TrimLeft(out.String(), "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text, nil
}
