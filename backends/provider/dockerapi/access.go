package dockerapi

import (
	"context"

	"archetype/internal/iptables"
)

// Firewall makes what Config.Access is, by rules in a chain of the machine's
// firewall: it has the machine forward to the nodes of a bridge what comes from
// elsewhere, or not. Whether it would by itself depends on the engine and on
// what that found when it started. Where there is no such chain, the engine
// keeps out of the firewall, and so do we.
func Firewall(chain string) func(ctx context.Context, bridge string, allowed *bool) error {
	return func(ctx context.Context, bridge string, allowed *bool) error {
		return access(ctx, chain, bridge, allowed)
	}
}

func access(ctx context.Context, chain, bridge string, allowed *bool) error {
	mark := []string{"-m", "comment", "--comment", "archetype: external-access"}
	accept := append([]string{chain, "-o", bridge, "-j", "ACCEPT"}, mark...)
	drop := append([]string{chain, "-o", bridge, "!", "-i", bridge, "-m", "conntrack", "--ctstate", "NEW",
		"-m", "conntrack", "!", "--ctstate", "DNAT", "-j", "DROP"}, mark...)
	for _, program := range iptables.Programs() {
		if _, err := iptables.Look(ctx, program, "-S", chain); err != nil {
			continue
		}
		err := ensure(ctx, program, allowed != nil && *allowed, accept)
		if err == nil {
			err = ensure(ctx, program, allowed != nil && !*allowed, drop)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ensure has the firewall have a rule, or not.
func ensure(ctx context.Context, program string, wanted bool, rule []string) error {
	_, no := iptables.Look(ctx, program, append([]string{"-C"}, rule...)...)
	if has := no == nil; has == wanted {
		return nil
	}
	change := "-D"
	if wanted {
		change = "-I"
	}
	return iptables.Change(ctx, program, append([]string{change}, rule...)...)
}
