package ui

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/topology"
)

// newLab asks for the shape of a lab that is to be made.
func (m *Model) newLab() tea.Cmd {
	shapes := topology.Shapes()
	var items []pickItem
	for _, s := range shapes {
		items = append(items, pickItem{name: s.Name, about: s.About})
	}
	m.push(newPicker("a new lab of which shape?", items, func(m *Model, i int) tea.Cmd {
		m.push(newLabForm(shapes[i], m.topologiesDir()))
		return nil
	}))
	return nil
}

// newLabForm asks for the numbers of a shape, what its nodes are, and where it
// is written to.
func newLabForm(s topology.Shape, dir string) *form {
	f := &form{title: "a new " + s.Name}
	place := func(name string) string { return tilde(filepath.Join(dir, name+fileEnd)) }
	for _, n := range s.Numbers {
		f.fields = append(f.fields, newField(n.Name, strconv.Itoa(n.Default), fmt.Sprintf("How many: from %d to %d.", n.Least, n.Most)))
	}
	kind := len(f.fields)
	name, file := kind+1, kind+2
	f.fields = append(f.fields,
		newField("kind", "linux", "What kind of device its nodes are, as a topology file calls it, such as linux or frr."),
		newField("name", s.Name, "What the lab is called."),
		newField("file", place(s.Name), "The topology file that is written; it must not be there yet."))
	was := s.Name
	f.follow = func(f *form) { // the file is called as the lab is until somebody says otherwise
		now := f.value(name)
		if now != was && f.value(file) == place(was) {
			f.set(file, place(now))
		}
		was = now
	}
	f.done = func(m *Model, f *form) tea.Cmd {
		var numbers []int
		for i, n := range s.Numbers {
			v, err := strconv.Atoi(f.value(i))
			if err != nil {
				f.at, f.err = i, fmt.Sprintf("%s: %q is no number", n.Name, f.value(i))
				return nil
			}
			numbers = append(numbers, v)
		}
		text, err := s.File(f.value(name), f.value(kind), numbers)
		path := expand(f.value(file))
		switch {
		case err != nil:
			f.err = err.Error()
		case m.snapLab(f.value(name)) != nil:
			f.at, f.err = name, "there is a lab "+f.value(name)+" already"
		case !strings.HasSuffix(path, ".yml") && !strings.HasSuffix(path, ".yaml"):
			f.at, f.err = file, "a topology file's name ends in .yml or .yaml"
		default:
			return m.makeLab(f, path, text)
		}
		return nil
	}
	return f
}

const fileEnd = ".clab.yml"

// makeLab writes a new topology file and deploys it. A file that is no good is
// taken away again.
func (m *Model) makeLab(f *form, path string, text []byte) tea.Cmd {
	env := m.opt.Env
	return m.ask("new lab", func(ctx context.Context, e api.Engine) resultMsg {
		path, err := filepath.Abs(path)
		if err == nil {
			err = writeNew(path, text)
		}
		if err != nil {
			return resultMsg{pick: func(*Model) { f.err = err.Error() }}
		}
		d, err := e.Deploy(ctx, api.DeployRequest{File: path, Env: env})
		if err != nil {
			_ = os.Remove(path)
			return resultMsg{pick: func(*Model) { f.err = briefly(err) }}
		}
		return resultMsg{open: d.Plan.Lab, job: d.Job, say: warned(d.Warnings), pick: f.close}
	})
}

// writeNew writes a file that is not there yet.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
