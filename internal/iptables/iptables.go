// Package iptables looks at rules of the machine's firewall, and changes them.
package iptables

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"archetype/internal/fail"
)

// Programs are those for IPv4 and IPv6, as far as this machine has them.
func Programs() []string {
	var out []string
	for _, name := range []string{"iptables", "ip6tables"} {
		if path, err := exec.LookPath(name); err == nil {
			out = append(out, path)
		} else if path := "/usr/sbin/" + name; exists(path) {
			out = append(out, path)
		}
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Look runs one of them to see something. It waits for whoever else changes
// rules at the moment.
func Look(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, append([]string{"-w"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Change runs one of them to change something.
func Change(ctx context.Context, program string, args ...string) error {
	return fail.Around("firewall.rule", func() error {
		_, err := Look(ctx, program, args...)
		return err
	})
}
