package libvirt

import (
	"context"

	"archetype/backends"
	"archetype/backends/diskimage"
)

var _ backends.ImageLister = (*Provider)(nil)

// Images lists the disk images that have been imported.
func (p *Provider) Images(ctx context.Context) ([]backends.Image, error) {
	s := diskimage.Store{Dir: p.cfg.Images, Labs: p.cfg.Labs}
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []backends.Image
	for _, im := range list {
		if im.Problem == "" {
			out = append(out, backends.Image{Name: im.Name, ID: im.Name, Size: im.Size, Created: im.Imported, Kind: im.Kind})
		}
	}
	return out, nil
}
