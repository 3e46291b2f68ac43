package nsnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends"
)

// Two interfaces of a namespace are patched when each frame that comes in at
// one of them leaves by the other, untouched: nothing is learnt, and nothing
// is kept back.

// Patch patches two interfaces, given by their numbers, whatever else they
// were patched to before.
func (b *Batch) Patch(n *NS, x, y int) error {
	for range 3 {
		errs, err := b.Send(IngressRequest(x), IngressRequest(y), RedirectRequest(x, y), RedirectRequest(y, x))
		if err != nil {
			return err
		}
		failed := false
		for _, err := range errs {
			switch {
			case err == nil:
			case errors.Is(err, unix.EEXIST):
				failed = true
			default:
				return without(err, "sch_ingress cls_u32 act_mirred")
			}
		}
		if !failed {
			return nil
		}
		if done, err := n.Patched(x, y); done || err != nil {
			return err
		}
		for _, i := range []int{x, y} {
			if err := n.Unpatch(i); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("somebody else has a hand in the traffic of the far ends (%w)", backends.ErrConflict)
}

// Patched reports whether two interfaces are.
func (n *NS) Patched(x, y int) (bool, error) {
	for from, to := range map[int]int{x: y, y: x} {
		have, err := n.patchedTo(from)
		if have != to || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Unpatch undoes it, at the other one too.
func (n *NS) Unpatch(x int) error {
	y, err := n.patchedTo(x)
	if err != nil {
		return err
	}
	if y != 0 {
		if back, err := n.patchedTo(y); err != nil {
			return err
		} else if back == x {
			if err := n.closeIngress(y); err != nil {
				return err
			}
		}
	}
	return n.closeIngress(x)
}

func (n *NS) closeIngress(index int) error {
	q := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: ingress, Parent: netlink.HANDLE_INGRESS}}
	err := n.QdiscDel(q)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil // there is none
	}
	return err
}

// patchedTo is the number of the interface that one hands its frames to, and
// 0 where there is none.
func (n *NS) patchedTo(index int) (int, error) {
	l := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	filters, err := n.FilterList(l, ingress)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, nil // nobody looks at what comes in
	}
	if err != nil {
		return 0, err
	}
	for _, f := range filters {
		if u, ok := f.(*netlink.U32); ok && len(u.Actions) == 1 {
			if m, ok := u.Actions[0].(*netlink.MirredAction); ok {
				return m.Ifindex, nil
			}
		}
	}
	return 0, nil
}

func without(err error, modules string) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("this kernel cannot hand frames on (modprobe -a %s): %w", modules, backends.ErrUnsupported)
	}
	return err
}
