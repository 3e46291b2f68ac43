package e2e

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"archetype/internal/whole"
)

// bridgesIn counts the bridges in a network namespace.
func bridgesIn(path string) (int, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, 0)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	links, err := whole.List(h.LinkList)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, l := range links {
		if l.Type() == "bridge" {
			n++
		}
	}
	return n, nil
}
