package backends

import (
	"context"
	"io"
	"time"
)

// ImageLister is implemented by providers whose nodes are made from images. An
// error that wraps ErrNoImage means that a node's is not there.
type ImageLister interface {
	// Images lists what is on this machine, by name.
	Images(ctx context.Context) ([]Image, error)
}

// ImageManager can change what there is, too.
type ImageManager interface {
	ImageLister
	// Pull fetches an image from where its name says. Progress, where not nil,
	// is told how far it has come, in per cent. An error that wraps
	// ErrUnavailable means that trying again will not help.
	Pull(ctx context.Context, name string, progress func(percent int, text string)) error
	// Import makes an image of that name from a root file system as a tar
	// archive, which may be compressed; Load takes in the images of an archive
	// as the engine itself saves them, and returns their names.
	Import(ctx context.Context, name string, archive io.Reader) error
	Load(ctx context.Context, archive io.Reader) ([]string, error)
	// RemoveImage removes a name and, with its last one, the image. One that is
	// in use is ErrConflict, one that is gone is no error.
	RemoveImage(ctx context.Context, name string) error
}

// Image is one image on this machine.
type Image struct {
	Name    string    `json:"name"` // with its tag; empty for one that lost its name
	ID      string    `json:"id"`
	Size    int64     `json:"size"` // bytes
	Created time.Time `json:"created,omitzero"`
	Kind    string    `json:"kind,omitempty"` // of device, where that is known
}
