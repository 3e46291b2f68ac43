package engine

import (
	"context"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/lab"
)

// Images implements api.Engine.
func (e *Engine) Images(ctx context.Context, req api.ImagesRequest) ([]api.Image, error) {
	p, _, err := e.reach(ctx, req.Lab, req.Node, false)
	if err != nil {
		return nil, err
	}
	l, ok := p.(backends.ImageLister)
	if !ok {
		return nil, withoutImages(p.Name(), req.Node)
	}
	return l.Images(ctx)
}

func withoutImages(provider, node string) error {
	return api.Errorf(api.CodeUsage, "%s is made without an image: provider %s has none", node, provider)
}

// withImages has nodes made from other images.
func (c *controller) withImages(top *lab.Topology, req api.EditRequest) error {
	for name, image := range req.SetImages {
		targets, err := c.named([]string{name})
		if err != nil {
			return err
		}
		p, err := c.provider(targets[0])
		if err != nil {
			return err
		}
		if _, ok := p.(backends.ImageLister); !ok {
			return withoutImages(p.Name(), name)
		}
		if image == "" {
			return api.Errorf(api.CodeUsage, "no image is named for %s", name)
		}
		for i := range top.Nodes {
			if top.Nodes[i].Name == name {
				top.Nodes[i].Image = image
			}
		}
	}
	return nil
}
