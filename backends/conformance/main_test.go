package conformance_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"archetype/backends/conformance"
	"archetype/backends/provider/docker/dockertest"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/netns/nodeinit"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/ownmachine"
)

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
		case userVerb:
			if err := asUser(os.Args[2], os.Args[3], os.Args[4]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	if isInside() {
		os.Exit(m.Run())
	}
	os.Exit(ownmachine.Main(func() int { return tests(m) }))
}

// enginesOf runs the tests and ends the Docker engines that they shared.
type enginesOf struct{ m *testing.M }

func (e enginesOf) Run() int { return dockertest.Main(newestOf(e)) }

type newestOf struct{ m *testing.M }

func (e newestOf) Run() int { return newestDocker.Main(userPodmanOf(e)) }

type userPodmanOf struct{ m *testing.M }

func (e userPodmanOf) Run() int { return userPodman.Main(e.m) }

func tests(m *testing.M) int {
	if err := tapsForAll(); err != nil {
		fmt.Fprintln(os.Stderr, "taps for everybody:", err)
	}
	before := machine()
	code := podmantest.Main(enginesOf{m})
	conformance.Clean()
	left := func() []string {
		return slices.DeleteFunc(machine(), func(thing string) bool { return slices.Contains(before, thing) })
	}
	// What was told to end may take a moment.
	for end := time.Now().Add(30 * time.Second); len(left()) > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	for _, thing := range left() {
		fmt.Println("left on the machine:", thing)
		code = max(code, 1)
	}
	return code
}

// tapsForAll gives everybody the device that taps are made by, as it is on a
// machine with udev. This one's own stays as it is.
func tapsForAll() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Mount("none", "/dev/net", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	return errors.Join(unix.Mknod("/dev/net/tun", unix.S_IFCHR, int(unix.Mkdev(10, 200))), os.Chmod("/dev/net/tun", 0o666))
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
	ours := []byte(ownmachine.Mark + "=" + os.Getenv(ownmachine.Mark) + "\x00")
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
