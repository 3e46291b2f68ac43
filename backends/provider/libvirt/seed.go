package libvirt

import (
	"fmt"

	"archetype/backends"
	"archetype/vendors"
)

func seed(string, vendors.Seed, backends.NodeConfig) error {
	return fmt.Errorf("not built: %w", backends.ErrUnsupported)
}
