package api

import (
	"cmp"
	"fmt"
	"time"
)

// About says why a node is not as it should be: what went wrong, how often it
// was tried and when next, or that it is left alone. Empty: there is nothing
// to say.
func (n *Node) About(now time.Time) string {
	return about(n.Error, n.Drift, n.Retries, n.RetryAt, now)
}

// About says the same of a link.
func (l *Link) About(now time.Time) string {
	return about(l.Error, l.Drift, l.Retries, l.RetryAt, now)
}

func about(failed string, d Drift, tries int, at, now time.Time) string {
	why := cmp.Or(failed, d.What)
	switch {
	case d.Left && d.Held:
		return why + "; left so"
	case d.Held:
		return why + "; left alone"
	case tries == 0 || !at.After(now) || why == "":
		return why
	}
	return fmt.Sprintf("tried %s, next in %s: %s", Times(tries), at.Sub(now).Round(time.Second), why)
}

// Times is how often, in words.
func Times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// ManagementAddress is where the node is reached in the management network,
// IPv4 before IPv6; empty where it is not.
func (n *Node) ManagementAddress() string { return cmp.Or(n.ManagementIPv4, n.ManagementIPv6) }
