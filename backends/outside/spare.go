package outside

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"

	"archetype/backends"
	"archetype/backends/mark"
	"archetype/internal/whole"
)

const (
	spareInterface = "interface"
	spareTunnel    = "tunnel"
)

var _ backends.Sweeper = (*Outside)(nil)

// Unused implements backends.Sweeper: far ends in the machine's namespace, and
// tunnels.
func (o *Outside) Unused(ctx context.Context, labName string) (out []backends.Spare, _ error) {
	links, err := whole.List(o.host.LinkList)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if s, ok := o.spare(l); ok && (labName == "" || s.Lab == labName) {
			out = append(out, s)
		}
	}
	tunnels, err := o.cfg.Tunnels.List(ctx, labName)
	for _, t := range tunnels {
		out = append(out, backends.Spare{Type: spareTunnel, Name: t.ID(), Lab: t.Lab})
	}
	return out, err
}

// spare says what an interface of the machine's is, when it may be a far end of
// ours.
func (o *Outside) spare(l netlink.Link) (s backends.Spare, ok bool) {
	m, ok := mark.Parse(l.Attrs().Alias)
	if !ok || m.Use != "" || !m.Admits(o.cfg.Owner) || l.Type() != "veth" {
		return s, false
	}
	s = backends.Spare{Type: spareInterface, Name: l.Attrs().Name, Lab: m.Lab}
	if m.Owner == "" && !o.panelled(l) {
		s.Doubt = fmt.Sprintf("an earlier version made it, which did not note whose it is; if no other Archetype on this machine has a lab %s: ip link delete %s", m.Lab, s.Name)
	}
	return s, true
}

// panelled reports whether the other end of a pair is in the panel, which is
// ours alone.
func (o *Outside) panelled(l netlink.Link) bool {
	far, err := o.panel.LinkByIndex(l.Attrs().ParentIndex)
	return err == nil && far.Type() == "veth" && far.Attrs().ParentIndex == l.Attrs().Index
}

// Sweep implements backends.Sweeper.
func (o *Outside) Sweep(ctx context.Context, s backends.Spare) error {
	if s.Type == spareTunnel {
		tunnels, err := o.cfg.Tunnels.List(ctx, s.Lab)
		for _, t := range tunnels {
			if t.ID() == s.Name {
				err = o.cfg.Tunnels.Delete(ctx, t.Tunnel)
			}
		}
		return err
	}
	l, err := o.host.Find(s.Name)
	if l == nil || err != nil {
		return err
	}
	if now, ok := o.spare(l); !ok || now != s {
		return nil // another's, by now
	}
	return o.host.Delete(s.Name)
}
