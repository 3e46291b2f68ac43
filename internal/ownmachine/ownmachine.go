// Package ownmachine gives a test binary a machine of its own, as far as
// networks and mounts go: nothing changes there but by the tests, and nothing
// of theirs gets out.
package ownmachine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/internal/osthread"
)

// Mark is in the environment of the process that runs the tests and of all
// that come from it, with a value that no other has.
const Mark = "ARCHETYPE_OWN_MACHINE"

// Main runs the tests: in namespaces of their own as root, else here. Its
// result is the test binary's exit code.
func Main(tests func() int) int {
	if os.Getenv(Mark) == "" {
		return again()
	}
	if os.Geteuid() == 0 {
		if err := Furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "a network namespace for the tests:", err)
			return 1
		}
	}
	return tests()
}

// again runs the test binary once more, in namespaces of its own where it may.
func again() int {
	run := func(flags uintptr) error {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", Mark, os.Getpid()))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: unix.SIGKILL}
		if err := osthread.Start(cmd); err != nil {
			return err
		}
		return cmd.Wait()
	}
	var flags uintptr
	if os.Geteuid() == 0 {
		flags = unix.CLONE_NEWNET | unix.CLONE_NEWNS
	}
	err := run(flags)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	case err != nil && flags != 0: // this root may not make namespaces: the tests will say so
		err = run(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Furnish makes new network and mount namespaces look like a machine: a loopback, a
// /sys that shows its own interfaces but the machine's control groups, and shared
// memory of its own: all Podmans of one user keep their locks there under one name.
func Furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	const groups = "/sys/fs/cgroup"
	keep, err := os.MkdirTemp("", "cgroup")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(keep) }()
	if err := unix.Mount(groups, keep, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return unix.Mount(keep, groups, "", unix.MS_MOVE, "")
}
