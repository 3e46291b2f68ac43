package applets

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/internal/whole"
)

// words are the arguments not yet read.
type words []string

func (w *words) next() string {
	if len(*w) == 0 {
		return ""
	}
	s := (*w)[0]
	*w = (*w)[1:]
	return s
}

// is takes an argument that may be shortened, as iproute2 allows.
func is(arg, full string) bool { return arg != "" && strings.HasPrefix(full, arg) }

type ipTool struct {
	out    io.Writer
	family int
	brief  bool
}

func ipMain(args []string, out, errOut io.Writer) int {
	t := &ipTool{out: out, family: netlink.FAMILY_ALL}
	w := words(args)
	for len(w) > 0 && strings.HasPrefix(w[0], "-") {
		switch o := w.next(); o {
		case "-4":
			t.family = netlink.FAMILY_V4
		case "-6":
			t.family = netlink.FAMILY_V6
		case "-br", "-brief", "--brief":
			t.brief = true
		case "-o", "-c", "-color", "-d":
		default:
			printf(errOut, "ip: option %s is not known to this small ip\n", o)
			return 255
		}
	}
	var err error
	switch object := w.next(); {
	case is(object, "address"):
		err = t.address(w)
	case is(object, "link"):
		err = t.link(w)
	case is(object, "route"):
		err = t.route(w)
	case is(object, "neighbour"), is(object, "neighbor"):
		err = t.neigh()
	default:
		err = usage("ip [-4|-6] [-br] address|link|route|neigh ...")
	}
	var u usage
	switch {
	case err == nil:
		return 0
	case errors.As(err, &u):
		printf(errOut, "Usage: %s\n", string(u))
		return 255
	default:
		printf(errOut, "ip: %v\n", err)
		return 2
	}
}

type usage string

func (u usage) Error() string { return string(u) }

func find(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("Cannot find device %q", name) //nolint:staticcheck // as iproute2 says it
	}
	return l, err
}

func (t *ipTool) address(w words) error {
	verb := w.next()
	switch {
	case verb == "" || is(verb, "show") || is(verb, "list"):
		name := w.next()
		if name == "dev" {
			name = w.next()
		}
		return t.show(name, true)
	case is(verb, "add"), is(verb, "replace"), is(verb, "delete"):
		a, dev, err := parseAddress(w)
		if err != nil {
			return err
		}
		l, err := find(dev)
		if err != nil {
			return err
		}
		switch {
		case is(verb, "add"):
			return netlink.AddrAdd(l, a)
		case is(verb, "replace"):
			return netlink.AddrReplace(l, a)
		}
		return netlink.AddrDel(l, a)
	case is(verb, "flush"):
		if w.next() == "dev" {
			return flush(w.next(), t.family)
		}
	}
	return usage("ip address [ show [ DEV ] | add|replace|del ADDR/LEN dev DEV | flush dev DEV ]")
}

func flush(dev string, family int) error {
	l, err := find(dev)
	if err != nil {
		return err
	}
	addrs, err := whole.List(func() ([]netlink.Addr, error) { return netlink.AddrList(l, family) })
	for _, a := range addrs {
		err = errors.Join(err, netlink.AddrDel(l, &a))
	}
	return err
}

func parseAddress(w words) (*netlink.Addr, string, error) {
	text := w.next()
	if !strings.Contains(text, "/") {
		bits := "32"
		if strings.Contains(text, ":") {
			bits = "128"
		}
		text += "/" + bits
	}
	a, err := netlink.ParseAddr(text)
	if err != nil {
		return nil, "", fmt.Errorf("%q is not an address", text)
	}
	dev := ""
	for len(w) > 0 {
		switch k := w.next(); k {
		case "dev":
			dev = w.next()
		case "nodad":
			a.Flags |= unix.IFA_F_NODAD
		case "brd", "broadcast", "scope", "label":
			w.next()
		default:
			return nil, "", fmt.Errorf("%q is not known to this small ip", k)
		}
	}
	if dev == "" {
		return nil, "", errors.New("an address needs: dev NAME")
	}
	return a, dev, nil
}

func (t *ipTool) link(w words) error {
	verb := w.next()
	switch {
	case verb == "" || is(verb, "show") || is(verb, "list"):
		name := w.next()
		if name == "dev" {
			name = w.next()
		}
		return t.show(name, false)
	case is(verb, "set"):
		return linkSet(w)
	case is(verb, "add"):
		return linkAdd(w)
	case is(verb, "delete"):
		name := w.next()
		if name == "dev" {
			name = w.next()
		}
		l, err := find(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	}
	return usage("ip link [ show [ DEV ] | set DEV ... | add NAME type bridge|veth|dummy | del DEV ]")
}

func linkSet(w words) error {
	name := w.next()
	if name == "dev" {
		name = w.next()
	}
	l, err := find(name)
	if err != nil {
		return err
	}
	for err == nil && len(w) > 0 {
		switch k := w.next(); k {
		case "up":
			err = netlink.LinkSetUp(l)
		case "down":
			err = netlink.LinkSetDown(l)
		case "mtu":
			var n int
			if n, err = strconv.Atoi(w.next()); err == nil {
				err = netlink.LinkSetMTU(l, n)
			}
		case "address":
			var mac net.HardwareAddr
			if mac, err = net.ParseMAC(w.next()); err == nil {
				err = netlink.LinkSetHardwareAddr(l, mac)
			}
		case "alias":
			err = netlink.LinkSetAlias(l, w.next())
		case "name":
			err = netlink.LinkSetName(l, w.next())
		case "nomaster":
			err = netlink.LinkSetNoMaster(l)
		case "master":
			var m netlink.Link
			if m, err = find(w.next()); err == nil {
				err = netlink.LinkSetMasterByIndex(l, m.Attrs().Index)
			}
		default:
			err = fmt.Errorf("%q is not known to this small ip", k)
		}
	}
	return err
}

func linkAdd(w words) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = w.next()
	if attrs.Name == "name" {
		attrs.Name = w.next()
	}
	if w.next() != "type" {
		return usage("ip link add NAME type bridge|veth|dummy")
	}
	switch kind := w.next(); kind {
	case "bridge":
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	case "dummy":
		return netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	case "veth":
		v := &netlink.Veth{LinkAttrs: attrs, PeerName: attrs.Name + "p"}
		if w.next() == "peer" {
			if v.PeerName = w.next(); v.PeerName == "name" {
				v.PeerName = w.next()
			}
		}
		return netlink.LinkAdd(v)
	default:
		return fmt.Errorf("type %q is not known to this small ip", kind)
	}
}

func (t *ipTool) show(name string, addresses bool) error {
	var links []netlink.Link
	var err error
	if name != "" {
		l, ferr := find(name)
		links, err = []netlink.Link{l}, ferr
	} else {
		links, err = whole.List(netlink.LinkList)
	}
	if err != nil {
		return err
	}
	sort.Slice(links, func(i, j int) bool { return links[i].Attrs().Index < links[j].Attrs().Index })
	for _, l := range links {
		a := l.Attrs()
		addrs, err := whole.List(func() ([]netlink.Addr, error) { return netlink.AddrList(l, t.family) })
		if err != nil {
			return err
		}
		state := strings.ToUpper(a.OperState.String())
		if t.brief {
			printf(t.out, "%-16s %-14s ", a.Name, state)
			if !addresses {
				printf(t.out, "%s <%s>", a.HardwareAddr, flags(l))
			}
			for _, x := range addrs {
				if addresses {
					printf(t.out, "%s ", x.IPNet)
				}
			}
			printf(t.out, "\n")
			continue
		}
		printf(t.out, "%d: %s: <%s> mtu %d state %s\n", a.Index, a.Name, flags(l), a.MTU, state)
		printf(t.out, "    link/%s %s\n", a.EncapType, a.HardwareAddr)
		if a.Alias != "" {
			printf(t.out, "    alias %s\n", a.Alias)
		}
		for _, x := range addrs {
			if addresses {
				family := "inet6"
				if x.IP.To4() != nil {
					family = "inet"
				}
				printf(t.out, "    %s %s scope %s\n", family, x.IPNet, netlink.Scope(x.Scope))
			}
		}
	}
	return nil
}

func flags(l netlink.Link) string {
	a := l.Attrs()
	var out []string
	if a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING == 0 {
		out = append(out, "NO-CARRIER")
	}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_MULTICAST, "MULTICAST"},
		{unix.IFF_NOARP, "NOARP"}, {unix.IFF_UP, "UP"}, {unix.IFF_LOWER_UP, "LOWER_UP"}} {
		if a.RawFlags&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, ",")
}

func (t *ipTool) route(w words) error {
	verb := w.next()
	switch {
	case verb == "" || is(verb, "show") || is(verb, "list"):
		return t.routes()
	case is(verb, "add"), is(verb, "replace"), is(verb, "delete"), is(verb, "append"):
		r, err := t.parseRoute(w)
		if err != nil {
			return err
		}
		if r.Gw == nil {
			r.Scope = netlink.SCOPE_LINK
		}
		switch {
		case is(verb, "delete"):
			if r.Gw == nil {
				r.Scope = netlink.SCOPE_NOWHERE // whichever it has
			}
			return netlink.RouteDel(r)
		case is(verb, "replace"):
			return netlink.RouteReplace(r)
		}
		return netlink.RouteAdd(r)
	}
	return usage("ip route [ show | add|replace|del PREFIX|default [ via ADDR ] [ dev DEV ] [ metric N ] ]")
}

func (t *ipTool) parseRoute(w words) (*netlink.Route, error) {
	r := &netlink.Route{}
	dst := w.next()
	family := t.family
	if dst != "default" {
		if !strings.Contains(dst, "/") {
			if strings.Contains(dst, ":") {
				dst += "/128"
			} else {
				dst += "/32"
			}
		}
		_, n, err := net.ParseCIDR(dst)
		if err != nil {
			return nil, fmt.Errorf("%q is not a prefix", dst)
		}
		r.Dst = n
	}
	for len(w) > 0 {
		switch k := w.next(); k {
		case "via":
			v := w.next()
			if v == "inet6" || v == "inet" {
				v = w.next()
			}
			if r.Gw = net.ParseIP(v); r.Gw == nil {
				return nil, fmt.Errorf("%q is not an address", v)
			}
			if r.Gw.To4() == nil {
				family = netlink.FAMILY_V6
			}
		case "dev":
			l, err := find(w.next())
			if err != nil {
				return nil, err
			}
			r.LinkIndex = l.Attrs().Index
		case "src":
			r.Src = net.ParseIP(w.next())
		case "metric":
			n, err := strconv.Atoi(w.next())
			if err != nil {
				return nil, err
			}
			r.Priority = n
		case "scope", "proto", "table":
			w.next()
		case "onlink":
			r.Flags |= int(netlink.FLAG_ONLINK)
		default:
			return nil, fmt.Errorf("%q is not known to this small ip", k)
		}
	}
	if r.Dst == nil {
		r.Dst = &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
		if family == netlink.FAMILY_V6 {
			r.Dst = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		}
	}
	return r, nil
}

func (t *ipTool) routes() error {
	family := t.family
	if family == netlink.FAMILY_ALL {
		family = netlink.FAMILY_V4
	}
	list, err := whole.List(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
	if err != nil {
		return err
	}
	for _, r := range list {
		dst := "default"
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				dst = r.Dst.String()
			}
		}
		printf(t.out, "%s", dst)
		if r.Gw != nil {
			printf(t.out, " via %s", r.Gw)
		}
		for _, h := range r.MultiPath {
			printf(t.out, " nexthop via %s", h.Gw)
		}
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			printf(t.out, " dev %s", l.Attrs().Name)
		}
		printf(t.out, " proto %s", r.Protocol)
		if r.Scope != netlink.SCOPE_UNIVERSE {
			printf(t.out, " scope %s", r.Scope)
		}
		if r.Src != nil {
			printf(t.out, " src %s", r.Src)
		}
		if r.Priority > 0 {
			printf(t.out, " metric %d", r.Priority)
		}
		if r.Flags&unix.RTNH_F_LINKDOWN != 0 {
			printf(t.out, " linkdown")
		}
		printf(t.out, "\n")
	}
	return nil
}

func (t *ipTool) neigh() error {
	links, err := whole.List(netlink.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		list, err := netlink.NeighList(l.Attrs().Index, t.family)
		if err != nil {
			return err
		}
		for _, n := range list {
			if n.State&unix.NUD_NOARP == 0 {
				printf(t.out, "%s dev %s lladdr %s\n", n.IP, l.Attrs().Name, n.HardwareAddr)
			}
		}
	}
	return nil
}
