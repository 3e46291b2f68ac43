package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"archetype/backends"
	"archetype/backends/mark"
	failpoint "archetype/internal/fail"
	"archetype/internal/whole"
)

// A network sets a tap up when its cable is put in and down when it is taken
// out; what the node sees as carrier is the machine's business, and follows.

func (p *Provider) tapName(ref backends.NodeRef, iface string) string {
	return p.tapPrefix() + digits(ref.String()+":"+iface, 8)
}

// tapPrefix is common to all our taps.
func (p *Provider) tapPrefix() string { return "v" + p.owner }

// useTap is that of a tap, in its mark.
const useTap = "tap"

func (p *Provider) tapAlias(ref backends.NodeRef, iface string) string {
	return mark.Mark{Use: useTap, Owner: p.owner, Lab: ref.Lab, ID: ref.Node + ":" + iface}.String()
}

// ourTap says which node's tap an interface is, when it is one of ours: by its
// mark, and by its name, which says whose it is also where the mark does not.
func (p *Provider) ourTap(a *netlink.LinkAttrs) (ref backends.NodeRef, ok bool) {
	m, ok := mark.Parse(a.Alias)
	if !ok || m.Use != useTap || !m.Admits(p.owner) || !strings.HasPrefix(a.Name, p.tapPrefix()) {
		return ref, false
	}
	node, _, ok := strings.Cut(m.ID, ":")
	return backends.NodeRef{Lab: m.Lab, Node: node}, ok
}

// makeTap makes a tap that stays when nobody has it open. It is down: its
// cable is not in.
func makeTap(name, alias string) error {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		t := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
		t.Name = name
		if err := failpoint.Around("tap.add", func() error { return netlink.LinkAdd(t) }); err != nil && !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("tap %s: %w", name, err)
		}
		for _, fd := range t.Fds {
			_ = fd.Close()
		}
		l, err = netlink.LinkByName(name)
	}
	if err != nil {
		return fmt.Errorf("tap %s: %w", name, err)
	}
	if l.Type() != "tuntap" && l.Type() != "tun" {
		return fmt.Errorf("the interface %s is no tap of ours (%w)", name, backends.ErrConflict)
	}
	if l.Attrs().Alias == alias {
		return nil
	}
	return failpoint.Around("tap.alias", func() error { return netlink.LinkSetAlias(l, alias) })
}

// dropTaps removes the taps of a node but for those to keep.
func (p *Provider) dropTaps(ref backends.NodeRef, keep map[string]bool) error {
	all, err := whole.List(netlink.LinkList)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range all {
		a := l.Attrs()
		if of, ok := p.ourTap(a); !ok || of != ref || keep[a.Name] {
			continue
		}
		if err := failpoint.Around("tap.delete", func() error { return netlink.LinkDel(l) }); err != nil && !errors.Is(err, syscall.ENODEV) {
			errs = append(errs, fmt.Errorf("tap %s: %w", a.Name, err))
		}
	}
	return errors.Join(errs...)
}

// plugged reports whether a tap's cable is in.
func plugged(tap string) bool {
	l, err := netlink.LinkByName(tap)
	return err == nil && l.Attrs().RawFlags&unix.IFF_UP != 0
}

func linkState(up bool) *libvirtxml.DomainInterfaceLink {
	if up {
		return &libvirtxml.DomainInterfaceLink{State: "up"}
	}
	return &libvirtxml.DomainInterfaceLink{State: "down"}
}

// watchTaps has the nodes see the carrier that their taps have.
func (p *Provider) watchTaps(ctx context.Context) {
	for ctx.Err() == nil {
		updates := make(chan netlink.LinkUpdate, 256)
		lost := make(chan struct{}, 1)
		err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{ReceiveBufferSize: 1 << 20,
			ErrorCallback: func(error) {
				select {
				case lost <- struct{}{}:
				default:
				}
			}})
		if err == nil {
			p.followTaps(ctx, updates, lost)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (p *Provider) followTaps(ctx context.Context, updates <-chan netlink.LinkUpdate, lost <-chan struct{}) {
	was := map[string]bool{}
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return
			}
			a := u.Attrs()
			ref, ok := p.ourTap(a)
			if !ok {
				continue
			}
			up := u.Link.Attrs().RawFlags&unix.IFF_UP != 0
			if before, known := was[a.Name]; known && before == up {
				continue
			}
			was[a.Name] = up
			if u.Header.Type == unix.RTM_DELLINK {
				delete(was, a.Name)
				continue
			}
			go p.syncTap(ctx, ref, a.Name)
		case <-lost:
			return
		case <-ctx.Done():
			return
		}
	}
}

// syncTap shows a running node the carrier that a tap has now; with no name,
// all of its taps'. The order of two calls does not matter: each looks anew.
func (p *Provider) syncTap(ctx context.Context, ref backends.NodeRef, name string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	p.conn.carriers.Lock()
	defer p.conn.carriers.Unlock()
	_ = p.conn.do(ctx, func(lv *golibvirt.Libvirt) error {
		dom, err := p.lookup(lv, ref)
		if err != nil {
			return err
		}
		text, err := lv.DomainGetXMLDesc(dom, 0)
		if err != nil {
			return err
		}
		var d libvirtxml.Domain
		if err := d.Unmarshal(text); err != nil || d.ID == nil || d.Devices == nil {
			return err // it does not run: what its start finds is right
		}
		for _, i := range d.Devices.Interfaces {
			if i.Target == nil || !strings.HasPrefix(i.Target.Dev, p.tapPrefix()) || name != "" && i.Target.Dev != name {
				continue
			}
			up := plugged(i.Target.Dev)
			if i.Link != nil && (i.Link.State == "up") == up {
				continue
			}
			i.Link = linkState(up)
			change, err := i.Marshal()
			if err != nil {
				return err
			}
			err = failpoint.Around("domain.update", func() error {
				return lv.DomainUpdateDeviceFlags(dom, change, golibvirt.DomainDeviceModifyLive)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// mac is an interface's address: the topology's, or one that stays.
func mac(labName, endpoint, given string) (string, error) {
	if given != "" {
		hw, err := net.ParseMAC(given)
		return hw.String(), err
	}
	sum := digits("mac\x00"+labName+"\x00"+endpoint, 10)
	return fmt.Sprintf("02:%s:%s:%s:%s:%s", sum[0:2], sum[2:4], sum[4:6], sum[6:8], sum[8:10]), nil
}

// managementMAC is the address of the interface through which this machine reaches a node.
func managementMAC(ref backends.NodeRef) string {
	hw, _ := mac(ref.Lab, ref.Node+":management", "")
	return hw
}
