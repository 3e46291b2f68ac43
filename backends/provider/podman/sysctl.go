package podman

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"archetype/internal/fail"
	"archetype/internal/osthread"
)

// freeNetworkSettings lets a node write its own network's settings: Podman
// mounts all of /proc/sys read-only, and can only be told to protect nothing
// of it. A node in the machine's own network may not.
func freeNetworkSettings(pid int) error {
	if err := fail.Around("node.settings", func() error { return osthread.Discard(func() error { return freeIn(pid) }) }); err != nil {
		return fmt.Errorf("make /proc/sys/net the node's own: %w", err)
	}
	return nil
}

func freeIn(pid int) error {
	const settings = "/proc/sys/net"
	machine, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer network.Close()
	mounts, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer mounts.Close()
	if node, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || node == machine {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	// The network first: the settings that are found there are those of
	// whoever looks.
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(settings, &fs); err != nil || fs.Flags&unix.ST_RDONLY == 0 {
		return err // it is free already
	}
	if err := unix.Mount(settings, settings, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", settings, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}
