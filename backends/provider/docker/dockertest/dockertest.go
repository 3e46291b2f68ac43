// Package dockertest gives tests a Docker engine of their own, with an image
// made on the spot: nothing of the machine's Docker is touched.
package dockertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"archetype/backends/provider/docker"
	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/internal/fetched"
)

// Image is a busybox that runs a shell.
const Image = enginetest.Image

// Kind is Docker.
var Kind = enginetest.Kind{
	Name: "docker", Missing: missing, Command: command, Ended: unmount,
	New: func(host, run, labs string) enginetest.Provider {
		return docker.New(docker.Config{Host: host, Run: run, Labs: labs})
	},
}

// Newest is Docker as Debian's next release has it, which scripts/test-setup
// fetches.
var Newest = enginetest.Kind{
	Name: "docker", Missing: missingNewest, Command: commandNewest, Ended: unmount, New: Kind.New,
}

// Shared is the engine that all tests of a binary share.
var Shared = enginetest.Shared{Kind: Kind}

// Main runs a package's tests and stops the engine that they shared. Call it
// from TestMain.
func Main(m interface{ Run() int }) int { return Shared.Main(m) }

// New is a provider with folders of its own on the shared engine. What it made
// is removed with the test.
func New(t testing.TB) *docker.Provider {
	t.Helper()
	return Shared.Get(t).Provider(t).(*docker.Provider)
}

func missing() string {
	if !enginetest.Installed("dockerd") {
		return "needs dockerd (package docker.io)"
	}
	return missingHere()
}

func missingNewest() string {
	dir, err := fetched.Dir("docker")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "usr/sbin/dockerd"))
	}
	if err != nil {
		return "needs today's Docker (scripts/test-setup fetches it): " + err.Error()
	}
	return missingHere()
}

func missingHere() string {
	switch {
	case os.Geteuid() != 0:
		return "needs root"
	case enginetest.StaticBusybox() == "":
		return "needs a static busybox (package busybox-static)"
	}
	return ""
}

// filters says whether the engine may set the rules of a firewall: only where
// the tests have a network namespace of their own.
var filters = "false"

// Alone says that the tests have a network namespace of their own, so that the
// engine may do there what it does on a machine.
func Alone() { filters = "true" }

func command(dir, host string) *exec.Cmd {
	path, err := exec.LookPath("dockerd")
	if err != nil {
		path = "/usr/sbin/dockerd"
	}
	return exec.Command(path, arguments(dir, host)...)
}

func arguments(dir, host string) []string {
	return []string{"-H", host, "--data-root", dir + "/data", "--exec-root", dir + "/exec",
		"--pidfile", dir + "/pid", "--bridge=none", "--iptables=" + filters, "--ip6tables=false", "--ip-masq=" + filters}
}

// commandNewest has the engine see its own programs and their C library in the
// place of this machine's.
func commandNewest(dir, host string) *exec.Cmd {
	from, _ := fetched.Dir("docker") // it is not missing
	const over = `mount -t overlay none -o "lowerdir=$1/usr:/usr" /usr && shift && exec dockerd "$@"`
	cmd := exec.Command("sh", append([]string{"-c", over, "sh", from}, arguments(dir, host)...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// unmount lets go of what a killed engine leaves mounted: it must not keep
// the folder.
func unmount(e *enginetest.Engine) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], e.Dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}
