package enginetest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"archetype/backends"
)

// missingImage: what is not there and cannot be had is said by its name.
func missingImage(b *bench) {
	for policy, want := range map[string]string{"": "cannot be pulled", "Never": "image-pull-policy is Never"} {
		c := b.config("a", func(c *backends.NodeConfig) {
			c.Node.Image, c.Node.Container.PullPolicy = "127.0.0.1:1/none:1", policy
		})
		err := b.Create(b.Context(), c)
		if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "127.0.0.1:1/none:1") {
			b.Errorf("policy %q: %v", policy, err)
		}
	}
}

// pullPolicies: an image is pulled from a registry when it is missing, always,
// or never, as the node says; how far that has come is told.
func pullPolicies(b *bench) {
	r := newRegistry(b)
	name := r.address + "/stand-in:1"
	r.publish("stand-in", "1", map[string]string{"/version": "first"})
	var told atomic.Int64
	node := func(name, image, policy string) backends.NodeConfig {
		return b.config(name, func(c *backends.NodeConfig) {
			cmd("exec sleep 1000")(c)
			c.Node.Image, c.Node.Container.PullPolicy = image, policy
			c.Progress = func(percent int, text string) {
				if percent < 0 || percent > 100 || !strings.Contains(text, image) {
					b.Errorf("progress: %d %q", percent, text)
				}
				told.Add(1)
			}
		})
	}
	version := func(ref backends.NodeRef) string { return b.must(ref, "cat /version") }
	if err := b.Create(b.Context(), node("a", name, "Never")); err == nil {
		b.Fatal("it was pulled against the policy")
	}
	if got := version(b.run(node("a", name, ""))); got != "first" {
		b.Errorf("the node is of %q", got)
	}
	if told.Load() == 0 {
		b.Error("the pull told nothing of itself")
	}
	r.publish("stand-in", "1", map[string]string{"/version": "second"})
	asked := r.asked.Load()
	for _, policy := range []string{"", "IfNotPresent", "Never"} {
		if got := version(b.run(node("b"+strings.ToLower(policy), name, policy))); got != "first" {
			b.Errorf("policy %q: the node is of %q", policy, got)
		}
	}
	if r.asked.Load() != asked {
		b.Error("the registry was asked for what is there")
	}
	if got := version(b.run(node("c", name, "Always"))); got != "second" {
		b.Errorf("policy Always: the node is of %q", got)
	}
	err := b.Create(b.Context(), node("d", r.address+"/nothing:1", ""))
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "cannot be pulled") {
		b.Error("an image that the registry lacks: ", err)
	}
}

// imageFiles: images come from files, are listed, saved and removed.
func imageFiles(b *bench) {
	name := "imported-" + b.lab + ":1"
	root, err := Root(map[string]string{"/version": "imported"})
	if err != nil {
		b.Fatal(err)
	}
	if err := b.Import(b.Context(), name, root); err != nil {
		b.Fatal(err)
	}
	if !b.has(name) {
		b.Fatal("it is not in the list")
	}
	ref := b.run(b.config("a", func(c *backends.NodeConfig) {
		cmd("exec sleep 1000")(c)
		c.Node.Image, c.Node.Env = name, map[string]string{"PATH": "/bin"}
	}))
	if got := b.must(ref, "cat /version"); got != "imported" {
		b.Errorf("the node is of %q", got)
	}
	saved, err := b.cli.ImageSave(b.Context(), []string{name})
	if err != nil {
		b.Fatal(err)
	}
	archive, err := io.ReadAll(saved)
	if err := errors.Join(err, saved.Close()); err != nil {
		b.Fatal(err)
	}
	if err := b.RemoveImage(b.Context(), name); !errors.Is(err, backends.ErrConflict) {
		b.Error("removal of one that is in use: ", err)
	}
	if err := b.Remove(b.Context(), ref); err != nil {
		b.Fatal(err)
	}
	for range 2 { // one that is gone is no error
		if err := b.RemoveImage(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	}
	if b.has(name) {
		b.Error("it is still in the list")
	}
	names, err := b.Load(b.Context(), bytes.NewReader(archive))
	if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], name) {
		b.Fatalf("loaded %q, %v", names, err)
	}
	if !b.has(name) {
		b.Error("loaded, it is not in the list")
	}
	if _, err := b.Load(b.Context(), strings.NewReader("no archive")); err == nil {
		b.Error("what is no archive was loaded")
	}
	if err := b.RemoveImage(b.Context(), name); err != nil {
		b.Error(err)
	}
}

// has reports whether an image is listed, under the name given or the
// engine's own form of it.
func (b *bench) has(name string) bool {
	b.Helper()
	list, err := b.Images(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return slices.ContainsFunc(list, func(i backends.Image) bool {
		return (i.Name == name || strings.HasSuffix(i.Name, "/"+name)) && i.Size > 0 && i.ID != ""
	})
}
