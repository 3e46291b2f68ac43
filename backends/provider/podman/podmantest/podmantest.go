// Package podmantest gives tests a Podman service of their own, with an image
// made on the spot: nothing of the machine's Podman is touched.
package podmantest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/podman"
)

// Image is a busybox that runs a shell.
const Image = enginetest.Image

// Kind is Podman.
var Kind = enginetest.Kind{
	Name: "podman", Missing: missing, Command: command, Dissolve: clear, Ended: killLeftovers,
	New: func(host, run, labs string) enginetest.Provider {
		return podman.New(podman.Config{Host: host, Run: run, Labs: labs})
	},
}

// Nobody is an ordinary user.
const Nobody = 65534

// Rootless is an ordinary user's own Podman. Its containers are in that user's
// namespace, and so must be who uses them.
var Rootless = enginetest.Kind{
	Name: "podman", Missing: missing, Command: asUser, Dissolve: clear, Ended: dissolve,
	New: func(host, run, labs string) enginetest.Provider {
		return podman.New(podman.Config{Host: host, Run: run, Labs: labs, Rootless: true})
	},
}

// Shared is the service that all tests of a binary share.
var Shared = enginetest.Shared{Kind: Kind}

// Main runs a package's tests and stops the service that they shared. Call it
// from TestMain.
func Main(m interface{ Run() int }) int { return Shared.Main(m) }

// New is a provider with folders of its own on the shared service. What it
// made is removed with the test.
func New(t testing.TB) *podman.Provider {
	t.Helper()
	return Shared.Get(t).Provider(t).(*podman.Provider)
}

func missing() string {
	switch {
	case os.Geteuid() != 0:
		return "needs root"
	case !enginetest.Installed("podman"):
		return "needs podman"
	case !enginetest.Installed("runc") && !enginetest.Installed("crun"):
		return "needs crun or runc"
	case enginetest.StaticBusybox() == "":
		return "needs a static busybox (package busybox-static)"
	}
	return ""
}

// apart are the folders that Podman shares with the machine, whatever it is
// told: the service gets its own. Some are made where they lack.
const apart = `mkdir -p /run/netns
for d in /run/netns /run/libpod /run/containers /etc/containers/networks /var/lib/cni; do
	[ -d $d ] && mount -t tmpfs none $d
done
exec "$@"`

// command has the service in a mount namespace, where what it mounts is
// nobody else's.
func command(dir, host string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", apart, "sh", "podman", "--root", dir+"/root", "--runroot", dir+"/runroot",
		"--tmpdir", dir+"/tmp", "--network-config-dir", dir+"/networks", "--cgroup-manager", "cgroupfs",
		"--events-backend", "file", "system", "service", "--time=0", host)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	registries := dir + "/registries.conf"
	if os.WriteFile(registries, []byte("[[registry]]\nlocation = \""+enginetest.RegistryAddress+"\"\ninsecure = true\n"), 0o600) == nil {
		cmd.Env = []string{"CONTAINERS_REGISTRIES_CONF=" + registries}
	}
	return cmd
}

// asUser has the service be an ordinary user's, with a home in the folder.
func asUser(dir, host string) *exec.Cmd {
	_ = os.Chown(dir, Nobody, Nobody) // what fails shows in the service itself
	cmd := exec.Command("podman", "system", "service", "--time=0", host)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "XDG_CONFIG_HOME=", "XDG_DATA_HOME="}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}
	return cmd
}

// dissolve ends what a user's Podman leaves, and the process that holds the
// user's namespaces.
func dissolve(e *enginetest.Engine) {
	killLeftovers(e)
	text, err := os.ReadFile(filepath.Join(e.Dir, "libpod", "tmp", "pause.pid"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	p, err := os.FindProcess(pid) // a handle, so that it is the very process that is looked at
	if err != nil {
		return
	}
	if st, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil && st.Sys().(*syscall.Stat_t).Uid == Nobody {
		_ = p.Kill()
	}
	_ = p.Release()
}

// clear ends the containers that are left, each of which has a process of
// Podman's own beside it.
func clear(e *enginetest.Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cli, err := e.Connect()
	if err != nil {
		return
	}
	defer cli.Close()
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return
	}
	for _, c := range list.Items {
		_, _ = cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
}

// killLeftovers ends what Podman leaves for minutes beside every command that
// was run.
func killLeftovers(e *enginetest.Engine) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// The handle first: it stays the process's own when its number has
		// become another's.
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if line, err := os.ReadFile(f); err == nil && strings.Contains(string(line), e.Dir+"/") {
			_ = p.Kill()
		}
		_ = p.Release()
	}
}
