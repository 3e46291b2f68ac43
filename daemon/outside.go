package daemon

import (
	"fmt"
	"os"
	"runtime"

	"archetype/backends/mark"
	"archetype/backends/outside"
	"archetype/backends/overlay/vxlan"
	"archetype/backends/provider/netns/holder"
	"archetype/settings"
)

// outsideOf makes what makes links that leave a lab. The engine's own
// namespace is the machine's; an ordinary user's engine is in that of the
// holder, which is as far out as an ordinary user gets.
func outsideOf(s *settings.Settings, h *holder.Client, sw outside.Switch) (*outside.Outside, func(), error) {
	// Threads come into other namespaces for moments: this one's is pinned.
	runtime.LockOSThread()
	host, err := os.Open("/proc/thread-self/ns/net")
	runtime.UnlockOSThread()
	if err != nil {
		return nil, nil, err
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), host.Fd())
	tunnels, err := vxlan.New(path, h.Panel())
	if err != nil {
		_ = host.Close()
		return nil, nil, err
	}
	o, err := outside.New(outside.Config{Host: path, Panel: h.Panel(), Owner: mark.Owner(s.State), Rootless: s.Rootless, Tunnels: tunnels, Switch: sw})
	if err != nil {
		_, _ = tunnels.Close(), host.Close()
		return nil, nil, err
	}
	return o, func() { _, _, _ = o.Close(), tunnels.Close(), host.Close() }, nil
}
