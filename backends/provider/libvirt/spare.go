package libvirt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	failpoint "archetype/internal/fail"
	"archetype/internal/whole"
)

var _ backends.Sweeper = (*Provider)(nil)

// Unused implements backends.Sweeper: taps of nodes that have no domain.
func (p *Provider) Unused(ctx context.Context, labName string) (out []backends.Spare, _ error) {
	all, err := whole.List(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	taps := map[string]backends.NodeRef{}
	for _, l := range all {
		if ref, ok := p.ourTap(l.Attrs()); ok && (labName == "" || ref.Lab == labName) {
			taps[l.Attrs().Name] = ref
		}
	}
	if len(taps) == 0 {
		return nil, nil
	}
	nodes, err := p.List(ctx, labName)
	if err != nil {
		return nil, err
	}
	have := map[backends.NodeRef]bool{}
	for _, st := range nodes {
		have[st.Ref] = true
	}
	for _, name := range slices.Sorted(maps.Keys(taps)) {
		if !have[taps[name]] {
			out = append(out, backends.Spare{Type: "tap", Name: name, Lab: taps[name].Lab, Node: taps[name].Node})
		}
	}
	return out, nil
}

// Sweep implements backends.Sweeper.
func (p *Provider) Sweep(ctx context.Context, s backends.Spare) error {
	still, err := p.Unused(ctx, s.Lab)
	if err != nil {
		return err
	}
	for _, one := range still {
		if one != s {
			continue
		}
		l, err := netlink.LinkByName(s.Name)
		if err == nil {
			err = failpoint.Around("tap.delete", func() error { return netlink.LinkDel(l) })
		}
		var missing netlink.LinkNotFoundError
		if err != nil && !errors.As(err, &missing) && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("tap %s: %w", s.Name, err)
		}
	}
	return nil
}
