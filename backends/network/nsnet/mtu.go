package nsnet

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// cableMTU is what every cable carries, in bytes, as containerlab's links do.
const cableMTU = 9500

// usualMTU is what interfaces have that nobody gave another, in bytes.
const usualMTU = 1500

// CableMTU is the MTU between the ends of a link, in bytes: far ends, bridges
// and taps. It has nothing to do with what the nodes' interfaces begin with,
// unless that is more: many systems raise the MTU of their own interface, and
// what they send then must not vanish on the way.
func CableMTU(ends ...int) int {
	mtu := cableMTU
	for _, end := range ends {
		mtu = max(mtu, end)
	}
	return mtu
}

// Resize sets the MTU of an interface, in bytes; 0 leaves it as it is.
func (n *NS) Resize(l netlink.Link, mtu int) error {
	if mtu <= 0 || l.Attrs().MTU == mtu {
		return nil
	}
	if err := n.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("MTU %d: %w", mtu, err)
	}
	return nil
}
