package api

import (
	"fmt"
	"time"

	"archetype/lab"
)

// Left says in words how long a booting node will probably take, by what boots
// of its kind took on this machine; empty where nothing is known of that.
func (n *Node) Left(now time.Time) string {
	if n.Actual != lab.NodeStarting || n.Typical <= 0 || n.Since.IsZero() {
		return ""
	}
	if left := n.Typical - now.Sub(n.Since); left > 0 {
		return "about " + rough(left) + " left"
	}
	return "longer than usual (" + rough(n.Typical) + ")"
}

// rough is a time as a person would say it.
func rough(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second).Seconds())))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
