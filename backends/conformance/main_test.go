package conformance_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"archetype/backends/conformance"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
)

// mark is in the environment of this process and of all that come from it.
const mark = "ARCHETYPE_CONFORMANCE"

// The test binary is also the holder and the nodes' init, as the program is.
//
// As root the tests run in a network and mount namespace of their own: to
// them it is the machine, where nothing changes but by them, and from which
// nothing of theirs gets out.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case holder.Verb:
			os.Exit(holder.Main(os.Args[2:]))
		case holder.InitVerb:
			os.Exit(nodeinit.Main())
		}
	}
	if os.Getenv(mark) == "" {
		os.Exit(apart())
	}
	if os.Geteuid() == 0 {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "a network namespace for the tests:", err)
			os.Exit(1)
		}
	}
	before := machine()
	code := dockertest.Main(m)
	conformance.Clean()
	for _, thing := range machine() {
		if !slices.Contains(before, thing) {
			fmt.Println("left on the machine:", thing)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// apart runs the test binary again, in namespaces of its own where it may.
func apart() int {
	run := func(flags uintptr) error {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mark, os.Getpid()))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: unix.SIGKILL}
		return cmd.Run()
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
	case err != nil && flags != 0: // this root may not make namespaces: the pairs will say so
		err = run(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// furnish makes the new namespaces look like a machine: a loopback, and a
// /sys that shows its own interfaces but the machine's control groups.
func furnish() error {
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

// machine lists what could be left behind: interfaces, mounts, and processes
// that come from this one.
func machine() []string {
	var out []string
	interfaces, err := net.Interfaces()
	if err != nil {
		return []string{err.Error()}
	}
	for _, i := range interfaces {
		out = append(out, "interface "+i.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return []string{err.Error()}
	}
	for m := range strings.Lines(string(mounts)) {
		out = append(out, "mount "+strings.TrimSpace(m))
	}
	ours := []byte(mark + "=" + os.Getenv(mark) + "\x00")
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		pid := filepath.Base(filepath.Dir(f))
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append(env, 0), ours) || pid == fmt.Sprint(os.Getpid()) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		out = append(out, "process "+string(bytes.ReplaceAll(bytes.TrimRight(command, "\x00"), []byte{0}, []byte{' '})))
	}
	slices.Sort(out)
	return out
}
