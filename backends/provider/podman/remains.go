package podman

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/shlex"
	"github.com/vishvananda/netlink"

	"archetype/backends/provider/dockerapi"
	"archetype/internal/fail"
	"archetype/internal/iptables"
)

// Podman (its netavark) takes a network's bridge and rules down with the last
// container in it, but only where nothing else is on the bridge: a link of the
// lab to it is enough for both to stay, and removing the network does not make
// up for that.

// remains removes them once the network is gone.
func remains(ctx context.Context, n dockerapi.Network) error {
	errs := []error{removeBridge(n)}
	for _, program := range iptables.Programs() {
		errs = append(errs, removeRules(ctx, program, n))
	}
	return errors.Join(errs...)
}

// removeBridge removes the bridge if it is still that network's: with an address
// of one of its subnets.
func removeBridge(n dockerapi.Network) error {
	l, err := netlink.LinkByName(n.Bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil || l.Type() != "bridge" {
		return err
	}
	on, err := net.InterfaceByIndex(l.Attrs().Index)
	if err != nil {
		return nil //nolint:nilerr // it has just gone
	}
	addresses, err := on.Addrs()
	if err != nil || !slices.ContainsFunc(addresses, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && slices.Contains(n.Subnets, p.Masked())
	}) {
		return err
	}
	return fail.Around("network.bridge", func() error { return netlink.LinkDel(l) })
}

// removeRules removes the network's rules of one family: in chains that are
// called by the network's name, those that lead to them, and those in the chain
// of all networks.
func removeRules(ctx context.Context, program string, n dockerapi.Network) error {
	masquerade, forward := chains(n.Name)
	mine := func(rule []string) bool {
		for i, word := range rule[:max(0, len(rule)-1)] {
			if word == "-s" || word == "-d" {
				p, err := netip.ParsePrefix(rule[i+1])
				return err == nil && slices.Contains(n.Subnets, p)
			}
		}
		return false
	}
	if err := removeFrom(ctx, program, "filter", "NETAVARK_FORWARD", mine); err != nil {
		return err
	}
	// There where the network was kept apart from others.
	through := func(rule []string) bool {
		for i, word := range rule[:max(0, len(rule)-1)] {
			if (word == "-i" || word == "-o") && rule[i+1] == n.Bridge {
				return true
			}
		}
		return false
	}
	for _, chain := range []string{"NETAVARK_ISOLATION_1", "NETAVARK_ISOLATION_2", "NETAVARK_ISOLATION_3"} {
		if err := removeFrom(ctx, program, "filter", chain, through); err != nil {
			return err
		}
	}
	// Another Podman on the machine may have a network of that name.
	leads := func(rule []string) bool { return mine(rule) && rule[len(rule)-1] == masquerade }
	if err := removeFrom(ctx, program, "nat", "POSTROUTING", leads); err != nil {
		return err
	}
	for _, chain := range []string{masquerade, forward} {
		rules, err := listed(ctx, program, "nat", "")
		if err != nil {
			return nil //nolint:nilerr // there is no such table
		}
		has := func(r []string) bool { return slices.Equal(r, []string{"-N", chain}) }
		used := func(r []string) bool { return r[0] == "-A" && r[len(r)-1] == chain }
		if !slices.ContainsFunc(rules, has) || slices.ContainsFunc(rules, used) {
			continue
		}
		for _, change := range []string{"-F", "-X"} {
			if err := iptables.Change(ctx, program, "-t", "nat", change, chain); err != nil {
				return err
			}
		}
	}
	return nil
}

// chains are what netavark calls those of a network: of what leaves it, and of
// its published ports (its source, firewall/varktables).
func chains(network string) (masquerade, forward string) {
	sum := sha512.Sum512([]byte(network))
	name := strings.ToUpper(hex.EncodeToString(sum[:]))[:13]
	return "NETAVARK-" + name, "NETAVARK-DN-" + name
}

// removeFrom removes those rules of a chain that which chooses.
func removeFrom(ctx context.Context, program, table, chain string, which func(rule []string) bool) error {
	rules, err := listed(ctx, program, table, chain)
	if err != nil {
		return nil //nolint:nilerr // there is no such chain
	}
	for _, r := range rules {
		if r[0] != "-A" || !which(r) {
			continue
		}
		if err := iptables.Change(ctx, program, append([]string{"-t", table, "-D"}, r[1:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// listed are the rules of a chain or, with "", of a table, each in words.
func listed(ctx context.Context, program, table, chain string) ([][]string, error) {
	args := []string{"-t", table, "-S"}
	if chain != "" {
		args = append(args, chain)
	}
	out, err := iptables.Look(ctx, program, args...)
	if err != nil {
		return nil, err
	}
	var rules [][]string
	for line := range strings.Lines(out) {
		if words, err := shlex.Split(line); err == nil && len(words) > 0 {
			rules = append(rules, words)
		}
	}
	return rules, nil
}
