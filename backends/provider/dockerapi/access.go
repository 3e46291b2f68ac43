package docker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// chain is where Docker lets others have their rules of the firewall.
const chain = "DOCKER-USER"

// access has the machine forward to the nodes of a bridge what comes from
// elsewhere, or not, or (nil) forgets the bridge. Whether Docker by itself
// forwards more than published ports depends on what it found when it started.
// Where it has no such chain, it keeps out of the firewall, and so do we.
func access(ctx context.Context, bridge string, allowed *bool) error {
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
	switch {
	case has == wanted:
		return nil
	case wanted:
		return run(ctx, program, append([]string{"-I"}, rule...)...)
	default:
		return run(ctx, program, append([]string{"-D"}, rule...)...)
	}
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
