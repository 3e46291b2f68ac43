package engine_test

import (
	"context"
	"fmt"
	"testing"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// Images are those of the provider with a world of its own.
func (simElsewhere) Images(context.Context) ([]backends.Image, error) {
	return []backends.Image{{Name: "router:1"}, {Name: "router:2"}}, nil
}

// Create fails where an image is not one of them.
func (s simElsewhere) Create(ctx context.Context, cfg backends.NodeConfig) error {
	if cfg.Node.Image == "router:0" {
		return fmt.Errorf("image %s is not on this machine (%w)", cfg.Node.Image, backends.ErrNoImage)
	}
	return s.simProvider.Create(ctx, cfg)
}

const imaged = `name: imaged
topology:
  nodes:
    a: {kind: linux, image: "router:0"}
    b: {kind: linux, image: "router:1"}
`

// A node whose image is missing says so; it is made from another one that is
// chosen, which the lab keeps over a crash and the file is told to differ in.
func TestAnotherImageIsChosen(t *testing.T) {
	b := newBench(t)
	d, err := b.e.Deploy(b.Context(), api.DeployRequest{File: b.file(imaged), Provider: "podman"})
	if err != nil {
		t.Fatal(err)
	}
	b.ended(d.Job)
	b.until("a to say that its image is missing", func(s *api.Snapshot) bool {
		l := s.Lab("imaged")
		return l != nil && len(l.Nodes) == 2 && l.Nodes[0].Actual == lab.NodeError && l.Nodes[0].NoImage && !l.Nodes[1].NoImage
	})
	list, err := b.e.Images(b.Context(), api.ImagesRequest{Lab: "imaged", Node: "a"})
	if err != nil || len(list) != 2 || list[1].Name != "router:2" {
		t.Fatalf("the images are %v: %v", list, err)
	}
	b.done(b.e.Edit(b.Context(), api.EditRequest{Lab: "imaged", SetImages: map[string]string{"a": "router:2"}}))
	runs := func(s *api.Snapshot) bool {
		l := s.Lab("imaged")
		return l != nil && len(l.Nodes) == 2 && l.Nodes[0].Actual == lab.NodeRunning && l.Nodes[0].Image == "router:2" && !l.Nodes[0].NoImage
	}
	b.until("a to run", runs)
	b.crash()
	b.until("a to run after a crash", runs)
	p, err := b.e.Plan(b.Context(), api.DeployRequest{File: b.file(imaged)})
	if err != nil || len(p.NodesChanged) != 1 || p.NodesChanged[0].Name != "a" || p.NodesChanged[0].Fields[0] != "image" {
		t.Errorf("the file differs in %v: %v", p.NodesChanged, err)
	}
}

// What cannot be made from an image says so, and nothing changes.
func TestAnImageThatCannotBeChosen(t *testing.T) {
	b := newBench(t)
	b.completed(b.deploy(chain).Job)
	if _, err := b.e.Images(b.Context(), api.ImagesRequest{Lab: "chain", Node: "a"}); api.CodeOf(err) != api.CodeUsage {
		t.Errorf("images of a node that has none: %v", err)
	}
	for node, code := range map[string]api.Code{"a": api.CodeUsage, "nobody": api.CodeNotFound} {
		if _, err := b.e.Edit(b.Context(), api.EditRequest{Lab: "chain", SetImages: map[string]string{node: "router:2"}}); api.CodeOf(err) != code {
			t.Errorf("%s: %v", node, err)
		}
	}
}
