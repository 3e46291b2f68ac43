package dockerapi

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"archetype/internal/fail"
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
	for _, name := range []string{"iptables", "ip6tables"} {
		program := firewall(name)
		if program == "" || run(ctx, program, "-S", chain) != nil {
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
	has := run(ctx, program, append([]string{"-C"}, rule...)...) == nil
	if has == wanted {
		return nil
	}
	change := "-D"
	if wanted {
		change = "-I"
	}
	return fail.Around("firewall.rule", func() error { return run(ctx, program, append([]string{change}, rule...)...) })
}

func firewall(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path := "/usr/sbin/" + name; fileExists(path) {
		return path
	}
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run waits for whoever else changes rules at the moment.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, append([]string{"-w"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
