// Package power has the interfaces of a node that does not run be as those of a
// device that is switched off: down, so that whoever is at the other end of a
// cable sees no carrier.
//
// It is the provider's part, because the provider knows when a node ends,
// whoever ended it, and when it is about to start; and it is done to the node's
// own interfaces, so that it is true also while nobody watches, and a network
// needs no more than to have each end's carrier follow the other's interface.
package power

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends/mark"
	"archetype/internal/fail"
	"archetype/internal/osthread"
	"archetype/internal/whole"
)

// Has reports whether an interface of that alias goes down and up with its node:
// one that a network has made for a cable.
func Has(alias string) bool {
	m, ok := mark.Parse(alias)
	return ok && m.Use == ""
}

// Off sets the interfaces of the network namespace down, and takes their
// addresses: a device forgets them.
func Off(ns int) error {
	return fail.Around("power.off", func() error { return each(ns, off) })
}

func off(h *netlink.Handle, l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		if err := h.LinkSetDown(l); err != nil {
			return err
		}
	}
	have, err := whole.List(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range have {
		if err := h.AddrDel(l, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("address %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// Forget removes what the node itself has made in its namespace, such as a VLAN
// or a bridge, where that outlives the node. What cannot be removed is the
// kernel's own, or hardware.
func Forget(ns int) error {
	return inside(ns, func(h *netlink.Handle, l netlink.Link) error {
		a := l.Attrs()
		if _, ours := mark.Parse(a.Alias); !ours && a.Flags&net.FlagLoopback == 0 && l.Type() != "device" {
			_ = fail.Around("power.forget", func() error { return h.LinkDel(l) })
		}
		return nil
	})
}

// On sets them up, with the addresses that they are to have by their names.
func On(ns int, addresses map[string][]netip.Prefix) error {
	return each(ns, func(h *netlink.Handle, l netlink.Link) error {
		if err := h.LinkSetUp(l); err != nil {
			return err
		}
		return Address(h, l, addresses[l.Attrs().Name])
	})
}

// Address gives an interface addresses that it may have already.
func Address(h *netlink.Handle, l netlink.Link, addresses []netip.Prefix) error {
	for _, p := range addresses {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // nobody else is on the cable
		}
		if err := h.AddrAdd(l, a); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

// each does something to every interface that goes down and up with its node.
func each(ns int, f func(*netlink.Handle, netlink.Link) error) error {
	return inside(ns, func(h *netlink.Handle, l netlink.Link) error {
		if !Has(l.Attrs().Alias) {
			return nil
		}
		return f(h, l)
	})
}

func inside(ns int, f func(*netlink.Handle, netlink.Link) error) error {
	return osthread.InNetwork(ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		links, err := whole.List(h.LinkList)
		if err != nil {
			return err
		}
		var errs []error
		for _, l := range links {
			if err := f(h, l); err != nil && !errors.Is(err, syscall.ENODEV) { // it has just been removed
				errs = append(errs, fmt.Errorf("interface %s: %w", l.Attrs().Name, err))
			}
		}
		return errors.Join(errs...)
	})
}
